"""A result as CSV: one row per utterance."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from erc_cli.result import utterance_dicts
from erc_cli.types import Modality, Result
from erc_format_table.cells import guard


def write(result: Result, path: Path) -> None:
    """Columns: index, start, end, speaker, text, label, confidence, `p_LABEL` for each label, and
    `MODALITY_status`, `MODALITY_label`, `MODALITY_contribution` for each modality of the preset.

    UTF-8 without a byte order mark; cells that a spreadsheet would run are guarded (`cells`).
    """
    modalities = [m.value for m in Modality if any(m in found.opinions for found in result.predictions)]
    names = ["index", "start", "end", "speaker", "text", "label", "confidence"]
    names += [f"p_{label}" for label in result.labels]
    names += [f"{modality}_{what}" for modality in modalities for what in ("status", "label", "contribution")]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        table.writerows(_row(row, result.labels, modalities) for row in utterance_dicts(result))


def _row(row: dict[str, Any], labels: tuple[str, ...], modalities: list[str]) -> list[Any]:
    cells = [row["index"], row["start"], row["end"], guard(row["speaker"] or ""), guard(row["text"])]
    cells += [row["label"], row["confidence"], *(row["probabilities"][label] for label in labels)]
    for modality in modalities:
        opinion = row["modalities"].get(modality, {})
        cells += [opinion.get("status", ""), opinion.get("label", ""), opinion.get("contribution", "")]
    return cells
