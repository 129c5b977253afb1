"""A result as CSV: one row per utterance."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erc_cli.types import Modality, Result, Status
from erc_format_table.cells import guard


def write(result: Result, path: Path) -> None:
    """Columns: index, start, end, speaker, text, label, confidence, `p_LABEL` for each label, and
    `MODALITY_status`, `MODALITY_label`, `MODALITY_contribution` for each modality of the preset.

    UTF-8 without a byte order mark; cells that a spreadsheet would run are guarded (`cells`).
    """
    modalities = [m for m in Modality if any(m in found.opinions for found in result.predictions)]
    names = ["index", "start", "end", "speaker", "text", "label", "confidence"]
    names += [f"p_{label}" for label in result.labels]
    names += [f"{modality}_{what}" for modality in modalities for what in ("status", "label", "contribution")]
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        table.writerows(_row(i, result, modalities) for i in range(len(result.utterances)))


def _row(index: int, result: Result, modalities: list[Modality]) -> list[Any]:
    labels, said, found = result.labels, result.utterances[index], result.predictions[index]
    shares = _shares(found.probabilities)
    cells: list[Any] = [
        index,
        float(said.start),
        float(said.end),
        guard(said.speaker or ""),
        guard(said.text),
    ]
    cells += [labels[found.best], shares[found.best], *shares]
    for modality in modalities:
        opinion = found.opinions.get(modality)
        if opinion is None or opinion.status is not Status.OK:
            cells += ["", "", ""] if opinion is None else [opinion.status.value, "", 0.0]
        else:
            best = max(range(len(labels)), key=opinion.probabilities.__getitem__)
            cells += ["ok", labels[best], float(opinion.contribution)]
    return cells


def _shares(values: Sequence[float]) -> list[float]:
    """Probabilities that sum to 1 in double precision, as in the JSON."""
    total = math.fsum(values)
    return [float(value) / total for value in values]
