"""A result as a Parquet table: one row per utterance, typed columns, and where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from erc_cli.result import speaker_summary, to_dict
from erc_cli.types import Modality, Result, Status

_SURROGATE = re.compile("[\ud800-\udfff]")


def write(result: Result, path: Path) -> None:
    """Columns: those of the CSV, and `MODALITY_p_LABEL`, null where a modality has nothing to say.

    `index` is int64, times and probabilities are double, `label` and `MODALITY_status` are
    dictionaries, `speaker` is null for nobody. The file's metadata has, under `erc`, what the JSON
    has beside the utterances.
    """
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    table = arrow.table(_columns(result, arrow))
    about = {**to_dict(replace(result, utterances=(), predictions=())), "speakers": speaker_summary(result)}
    del about["utterances"]
    meta = json.dumps(about, ensure_ascii=False, default=str)
    parquet.write_table(table.replace_schema_metadata({"erc": _utf8(meta)}), path, compression="zstd")


def _columns(result: Result, arrow: Any) -> dict[str, Any]:
    labels, said, found = result.labels, result.utterances, result.predictions
    real = arrow.float64()
    columns: dict[str, Any] = {
        "index": arrow.array(range(len(said)), arrow.int64()),
        "start": arrow.array([float(one.start) for one in said], real),
        "end": arrow.array([float(one.end) for one in said], real),
        "speaker": arrow.array([_utf8(one.speaker) if one.speaker else None for one in said], arrow.string()),
        "text": arrow.array([_utf8(one.text) for one in said], arrow.string()),
        "label": arrow.array([labels[one.best] for one in found], arrow.string()).dictionary_encode(),
        "confidence": arrow.array([float(one.confidence) for one in found], real),
    }
    columns |= _shares("p_", [one.probabilities for one in found], labels, arrow)
    for modality in Modality:
        if any(modality in one.opinions for one in found):
            columns |= _modality(result, modality, arrow)
    return columns


def _modality(result: Result, modality: Modality, arrow: Any) -> dict[str, Any]:
    """Status, label, contribution and probabilities of one modality."""
    labels = result.labels
    opinions = [one.opinions.get(modality) for one in result.predictions]
    told = [one.probabilities if one is not None and one.status is Status.OK else () for one in opinions]
    best = [labels[max(range(len(labels)), key=one.__getitem__)] if one else None for one in told]
    states = [None if one is None else one.status.value for one in opinions]
    parts = [None if one is None else float(one.contribution) for one in opinions]
    return {
        f"{modality}_status": arrow.array(states, arrow.string()).dictionary_encode(),
        f"{modality}_label": arrow.array(best, arrow.string()).dictionary_encode(),
        f"{modality}_contribution": arrow.array(parts, arrow.float64()),
        **_shares(f"{modality}_p_", told, labels, arrow),
    }


def _shares(
    prefix: str, rows: Sequence[Sequence[float]], labels: Sequence[str], arrow: Any
) -> dict[str, Any]:
    """A column per label; null in rows without probabilities."""
    nothing = [None] * len(labels)
    columns = zip(*(map(float, row) if row else nothing for row in rows), strict=True)
    filled = list(columns) or [()] * len(labels)
    return {prefix + label: arrow.array(c, arrow.float64()) for label, c in zip(labels, filled, strict=True)}


def _utf8(text: str) -> str:
    """Text without lone surrogates, which UTF-8 cannot hold."""
    return _SURROGATE.sub("\ufffd", text)
