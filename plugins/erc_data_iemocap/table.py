"""IEMOCAP's utterances as one table, with audio figures beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erc_cli.datafile import WHOLE, Row, label_indices, number, read_table
from erc_cli.errors import UsageError
from erc_cli.types import Encoded
from erc_data_iemocap.turns import LABELS, OTHERS, SESSIONS, Turn, session

COLUMNS = ("wav_id", "dialogue", "speaker", "emotion", "text", "start", "end")
#: the first eight are those of the extractor `prosody`, in its order
FIGURES = (
    "duration",
    "avg_intensity",
    "intensity_variation",
    "avg_pitch",
    "pitch_std",
    "pitch_range",
    "articulation_rate",
    "mean_hnr",
    "sig_mean",
    "sig_std",
    "rmse_mean",
    "rmse_std",
    "silence",
    "harmonic",
    "auto_corr_max",
    "auto_corr_std",
)


def find_table(path: Path) -> Path | None:
    """The table that `path` is, or the only CSV in the folder; None where there is none.

    Raises:
        UsageError: there are several.
    """
    if path.is_file():
        return path
    tables = sorted(path.glob("*.csv"))
    if len(tables) > 1:
        raise UsageError(f"{path} holds several tables.", hint=f"Name one: --data iemocap:{tables[0]}")
    return tables[0] if tables else None


def read_turns(path: Path) -> list[Turn]:
    """Every turn, with its figures (NaN: undefined) if the table has them.

    Raises:
        UsageError: it is not such a table.
    """
    rows = read_table(path, COLUMNS, filled=("wav_id", "dialogue", "start", "end"))
    label_indices(path, [row["emotion"] for row in rows], tuple(LABELS), OTHERS)
    figures = bool(rows) and all(name in rows[0] for name in FIGURES)
    turns = []
    for line, row in enumerate(rows, start=1):
        where = f"{path}: row {line}"
        if session(row["dialogue"]) not in SESSIONS:
            raise UsageError(f"{where}: {row['dialogue']!r} is no dialogue of IEMOCAP.", hint=WHOLE)
        turns.append(
            Turn(
                id=row["wav_id"],
                dialogue=row["dialogue"],
                start=number(row["start"], f"{where}: start"),
                end=number(row["end"], f"{where}: end"),
                text=row["text"],
                speaker=row["speaker"],
                emotion=row["emotion"],
                figures=_figures(row, where) if figures else None,
            )
        )
    return turns


def _figures(row: Row, where: str) -> Encoded:
    values = [number(row[name] or "", f"{where}: {name}") for name in FIGURES]
    return Encoded(np.array(values, np.float32))
