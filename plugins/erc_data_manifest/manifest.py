"""Reads a table of utterances as a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from erc_cli.datafile import SEVEN, check_split, digest, label_indices, missing_media, number, seconds
from erc_cli.errors import UsageError, nearest
from erc_cli.learning import Source, Split
from erc_cli.types import Conversation, Encoded, Notice, Utterance
from erc_data_manifest.columns import feature_names, feature_rows, find_columns
from erc_data_manifest.tables import Table, read_any

SAME = {
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("valid", "validation", "val", "development"), "dev"),
    **dict.fromkeys(("testing", "eval"), "test"),
}
USUAL = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, as in `open_manifest`."""

    columns: Mapping[str, str]
    labels: Mapping[str, str | None]
    classes: tuple[str, ...]
    audio: tuple[str, ...]
    visual: tuple[str, ...]


class Manifest:
    """A table on disk, read at once.

    Raises:
        UsageError: a column is missing, a cell does not fit, a label is unknown.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self._table = table = read_any(path)
        self._columns = find_columns(table, settings.columns)
        self._emotions = [self._renamed(word, settings.labels) for word in self._cells("emotion")]
        self._labels = _classes(self._emotions, settings)
        self._targets = label_indices(path, self._emotions, self._labels, ("",))
        self._notes = _unused(self._cells("emotion"), settings.labels, table)
        self._dialogues = self._ordered()
        self._ready = {
            f"columns-{name}": feature_rows(table, feature_names(table, wanted, name))
            for name, wanted in (("audio", settings.audio), ("visual", settings.visual))
            if wanted
        }
        self._media = {name: self._file(name) for name in set(self._cells("media"))}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits in the table: train, dev, test, then others."""
        found = {split for split, _ in self._dialogues}
        return tuple(s for s in (*USUAL, *sorted(found - set(USUAL))) if s in found)

    def read(self, split: str) -> Split:
        """One split; `ready["columns-audio"]` and `["columns-visual"]` are the numeric columns named."""
        check_split("manifest", split, self.splits)
        groups = {name: rows for (where, name), rows in self._dialogues.items() if where == split}
        rows_of = tuple(groups.values())
        sources, notes = self._sources(rows_of)
        return Split(
            name=split,
            labels=self._labels,
            sha256=digest([self._table.path]),
            conversations=tuple(
                Conversation(tuple(self._utterance(i) for i in rows), id=name)
                for name, rows in groups.items()
            ),
            targets=tuple(tuple(self._targets[i] for i in rows) for rows in rows_of),
            ready={name: _picked(values, rows_of) for name, values in self._ready.items()},
            sources=sources,
            warnings=(*self._notes, *notes),
        )

    def _cells(self, column: str) -> list[str]:
        """A column's texts, empty ones where the table does not have it."""
        name = self._columns.get(column)
        return ["" if name is None else row[name].strip() for row in self._table.rows]

    def _renamed(self, word: str, labels: Mapping[str, str | None]) -> str:
        return (labels[word] or "") if word in labels else word

    def _ordered(self) -> dict[tuple[str, str], list[int]]:
        """Rows of every dialogue, by split and name, in the order of their turns (or starts)."""
        column = "turn" if "turn" in self._columns else "start"
        place: dict[int, float] = {}
        groups: dict[tuple[str, str], list[int]] = {}
        cells = zip(self._cells("split"), self._cells("dialogue"), self._cells(column), strict=True)
        for i, (split, dialogue, order) in enumerate(cells):
            where = self._table.where(i)
            if not split or not dialogue or not order:
                raise UsageError(f"{where}: split, dialogue or {column} is empty.", hint="Fill it.")
            read = number if column == "turn" else seconds
            place[i] = read(order, f"{where}: {column}")
            if math.isnan(place[i]):
                raise UsageError(f"{where}: {column} is {order!r}.", hint="Give it a number.")
            groups.setdefault((SAME.get(split.lower(), split.lower()), dialogue), []).append(i)
        for (_, dialogue), rows in groups.items():
            rows.sort(key=place.__getitem__)
            whole = all(place[i].is_integer() for i in rows)  # else they are times, which may be equal
            twice = [j for i, j in pairwise(rows) if place[i] == place[j]]
            if twice and whole and column == "turn":
                raise UsageError(
                    f"{self._table.where(twice[0])}: dialogue {dialogue!r} has a turn twice.",
                    hint="Number the turns of each dialogue, or name another column for the order:"
                    " --set data.manifest.columns.turn=start",
                )
        return groups

    def _utterance(self, i: int) -> Utterance:
        row = self._table.rows[i]
        start, end = (self._time(i, name) for name in ("start", "end"))
        speaker = row[self._columns["speaker"]].strip()
        return Utterance(start or 0.0, end or start or 0.0, row[self._columns["text"]], speaker or None)

    def _time(self, i: int, column: str) -> float | None:
        name = self._columns.get(column)
        text = "" if name is None else self._table.rows[i][name].strip()
        return seconds(text, f"{self._table.where(i)}: {column}") if text else None

    def _file(self, name: str) -> Path | None:
        path = self._table.path.parent / name
        return path if name and path.is_file() else None

    def _sources(
        self, groups: Sequence[Sequence[int]]
    ) -> tuple[tuple[tuple[Source | None, ...], ...], tuple[Notice, ...]]:
        if "media" not in self._columns:
            return (), ()
        media = self._cells("media")
        found = tuple(tuple(self._source(i, self._media[media[i]]) for i in rows) for rows in groups)
        lost, total = sum(one is None for row in found for one in row), sum(map(len, found))
        return found, missing_media(lost, total, self._table.path.parent)

    def _source(self, i: int, path: Path | None) -> Source | None:
        return None if path is None else Source(path, self._time(i, "start") or 0.0, self._time(i, "end"))


def _picked(rows: Sequence[Encoded], groups: Sequence[Sequence[int]]) -> tuple[tuple[Encoded, ...], ...]:
    return tuple(tuple(rows[i] for i in group) for group in groups)


def _classes(emotions: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """The labels in the order asked for, else MELD's first and the others by the alphabet."""
    if settings.classes:
        return tuple(dict.fromkeys(settings.classes))
    found = set(emotions) - {""}
    return tuple(label for label in (*SEVEN, *sorted(found - set(SEVEN))) if label in found)


def _unused(emotions: Sequence[str], labels: Mapping[str, str | None], table: Table) -> tuple[Notice, ...]:
    """Words of the map of labels that the table does not have: likely a slip."""
    there = set(emotions)
    return tuple(
        Notice("unused_label", f"labels.{word}: {table.path.name} has no {word!r}.{nearest(word, there)}")
        for word in labels
        if word not in there
    )
