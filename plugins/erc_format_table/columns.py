"""A result as a Parquet table: one row per utterance, typed columns, and where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from erc_cli.frames import Column, columns_of
from erc_cli.result import speaker_summary, to_dict
from erc_cli.types import Result


def write(result: Result, path: Path) -> None:
    """Columns: those of `erc_cli.frames`; null where a modality has nothing to say.

    `index` is int64, times and probabilities are double, `label` and `MODALITY_status` are
    dictionaries, `speaker` is null for nobody. The file's metadata has, under `erc`, what the JSON
    has beside the utterances.
    """
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    table = arrow.table({name: _array(column, arrow) for name, column in columns_of(result).items()})
    about = {**to_dict(replace(result, utterances=(), predictions=())), "speakers": speaker_summary(result)}
    del about["utterances"]
    meta = json.dumps(about, ensure_ascii=False, default=str).encode("utf-8", errors="replace")
    with path.open("wb") as file:  # pyarrow takes no names that are not UTF-8
        parquet.write_table(table.replace_schema_metadata({"erc": meta}), file, compression="zstd")


def _array(column: Column, arrow: Any) -> Any:
    kinds = {"whole": arrow.int64(), "real": arrow.float64()}
    made = arrow.array(column.values, kinds.get(column.kind, arrow.string()))
    return made.dictionary_encode() if column.kind == "word" else made
