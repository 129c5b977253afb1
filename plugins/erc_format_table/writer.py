"""A result as CSV: one row per utterance."""

from __future__ import annotations

import csv
from pathlib import Path

from erc_cli.frames import columns_of
from erc_cli.types import Result
from erc_format_table.cells import guard


def write(result: Result, path: Path) -> None:
    """Columns: those of `erc_cli.frames`, without each modality's own probabilities.

    UTF-8 without a byte order mark; cells that a spreadsheet would run are guarded (`cells`).
    """
    columns = columns_of(result, shares=False)
    cells = [
        [guard(value or "") for value in column.values] if column.kind == "text" else column.values
        for column in columns.values()
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*cells, strict=True))
