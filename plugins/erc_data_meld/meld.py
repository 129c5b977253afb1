"""Reads MELD's annotation tables, and ready prosodic figures where they lie beside them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from erc_cli.errors import ErcError, UsageError
from erc_cli.types import Conversation, Encoded, Notice, Split, Status, Utterance

LABELS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
PROSODY = (
    "duration",
    "avg_intensity",
    "intensity_variation",
    "avg_pitch",
    "pitch_std",
    "pitch_range",
    "articulation_rate",
    "mean_hnr",
)


class Meld:
    """MELD on disk.

    Raises:
        UsageError: the folder does not hold the three annotation tables.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        missing = [name for name in self.splits if not self._table(name).is_file()]
        if missing:
            names = ", ".join(self._table(name).name for name in missing)
            raise UsageError(
                f"{folder}: not MELD's annotation folder, {names} not found.",
                hint="Give the folder that holds train_sent_emo.csv, e.g. --data meld:MELD/data/MELD",
            )

    def _table(self, split: str) -> Path:
        return self.folder / f"{split}_sent_emo.csv"

    def read(self, split: str) -> Split:
        """One split; `ready["prosody"]` holds the eight figures where the table lists them."""
        table = self._table(split)
        rows = _rows(table, COLUMNS)
        digest = hashlib.sha256(table.read_bytes())
        prosody_table = self.folder / "prosody" / f"meld_{split}_audio_features.csv"
        prosody: dict[str, Encoded] = {}
        if prosody_table.is_file():
            digest.update(prosody_table.read_bytes())
            prosody = _prosody(prosody_table)
        dialogues: dict[int, list[Mapping[str, str]]] = defaultdict(list)
        for row in rows:
            dialogues[int(_number(row, "Dialogue_ID", table))].append(row)
        conversations, targets, ready = [], [], []
        for number, turns in sorted(dialogues.items()):
            turns.sort(key=lambda row: _number(row, "Utterance_ID", table))
            conversations.append(
                Conversation(tuple(_utterance(row, table) for row in turns), id=f"dia{number}")
            )
            targets.append(tuple(_target(row, table) for row in turns))
            keys = [f"dia{number}_utt{row['Utterance_ID']}" for row in turns]
            ready.append(tuple(prosody.get(key, Encoded(None, Status.UNREADABLE)) for key in keys))
        lost = sum(row.values is None for rows_ in ready for row in rows_)
        notes = (Notice("no_prosody", f"{lost} utterances without prosodic figures"),) if prosody else ()
        return Split(
            name=split,
            labels=LABELS,
            sha256=digest.hexdigest(),
            conversations=tuple(conversations),
            targets=tuple(targets),
            ready={"prosody": tuple(ready)} if prosody else {},
            warnings=notes,
        )


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table with these columns, none of them cut short."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ErcError(f"{path}: {error}.", hint="Get the file anew.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise ErcError(f"{path}: no column {', '.join(missing)}.", hint="Is the file whole? Get it anew.")
    rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if any(row[name] is None or (name.endswith("_ID") and not row[name]) for name in columns):
            raise ErcError(f"{path}: row {number} is cut short.", hint="Is the file whole? Get it anew.")
    return rows


def _number(row: Mapping[str, str], name: str, table: Path) -> float:
    """A number or a time of day in a cell; an empty cell is undefined."""
    try:
        parts = [float(part or "nan") for part in row[name].replace(",", ".").split(":")]
    except ValueError:
        raise ErcError(f"{table}: {name} is {row[name]!r}.", hint="Is the file whole? Get it anew.") from None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + part
    return seconds


def _target(row: Mapping[str, str], table: Path) -> int:
    if row["Emotion"] not in LABELS:
        raise ErcError(
            f"{table}: unknown emotion {row['Emotion']!r} in dialogue {row['Dialogue_ID']},"
            f" utterance {row['Utterance_ID']}.",
            hint=f"MELD's labels are {', '.join(LABELS)}.",
        )
    return LABELS.index(row["Emotion"])


def _utterance(row: Mapping[str, str], table: Path) -> Utterance:
    start, end = _number(row, "StartTime", table), _number(row, "EndTime", table)
    return Utterance(start, end, row["Utterance"], row["Speaker"])


def _prosody(path: Path) -> dict[str, Encoded]:
    found = {}
    for row in _rows(path, ("filename", *PROSODY)):
        values = np.array([_number(row, name, path) for name in PROSODY], dtype=np.float32)
        found[row["filename"].removesuffix(".wav")] = Encoded(values)
    return found
