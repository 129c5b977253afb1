"""Reads MELD's annotation tables, and what lies beside them: clips, prosodic figures, corrected times."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.datafile import (
    ABSENT,
    SEVEN,
    Row,
    another_version,
    check_split,
    digest,
    filled_rows,
    label_indices,
    medians,
    missing_media,
    number,
    read_table,
    seconds,
)
from erc_cli.errors import UsageError
from erc_cli.learning import Source, Split
from erc_cli.types import Conversation, Encoded, Notice, Utterance
from erc_data_meld.clips import CORRUPT, FOLDERS, clip_name, find_clips, names_in
from erc_data_meld.realignment import Key, Span, longest, read_realignment

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

LABELS = SEVEN
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
UTTERANCES = {"train": 9989, "dev": 1109, "test": 2610}
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
        UsageError: the folder does not hold the three annotation tables, or the clips or the
            corrected times that were named are not there.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path, clips: Path | None = None, realignment: Path | None = None) -> None:
        self.folder = folder
        missing = [name for name in self.splits if not self._table(name).is_file()]
        if missing:
            names = ", ".join(self._table(name).name for name in missing)
            raise UsageError(
                f"{folder}: not MELD's annotation folder, {names} not found.",
                hint="Give the folder that holds train_sent_emo.csv, e.g. --data meld:MELD/data/MELD",
            )
        self._clips = find_clips(folder, clips)
        self._clips_named = clips is not None
        self._realignment = realignment
        self._typical: FloatArray | None = None  # medians of the train split's figures, once known
        self._spans = read_realignment(realignment) if realignment is not None else {}

    def _table(self, split: str) -> Path:
        return self.folder / f"{split}_sent_emo.csv"

    def _prosody_table(self, split: str) -> Path:
        return self.folder / "prosody" / f"meld_{split}_audio_features.csv"

    def read(self, split: str) -> Split:
        """One split.

        `ready["prosody"]` holds the eight figures where the table lists them, and
        `ready["columns-audio"]` the same with the median of the train split for undefined ones.
        `sources` are the clips; with corrected times, the span of the clip that holds most words.
        """
        check_split("meld", split, self.splits)
        table = self._table(split)
        rows = read_table(table, COLUMNS, filled=("Dialogue_ID", "Utterance_ID"))
        keys = [_key(row, table, i) for i, row in enumerate(rows, start=1)]
        labels = label_indices(table, [row["Emotion"] for row in rows], LABELS)
        utterances = {key: _utterance(row, table) for key, row in zip(keys, rows, strict=True)}
        spans, notes = self._corrected(split, utterances)
        groups = _dialogues(keys)
        targets = dict(zip(keys, labels, strict=True))
        timed = {key: _moved(utterances, key, spans.get(key)) for key in keys}
        ready, prosody_notes = self._ready(split, groups)
        sources, clip_notes = self._sources(split, groups, spans)
        files = [table, *(p for p in (self._prosody_table(split), self._realignment) if p and p.is_file())]
        return Split(
            name=split,
            labels=LABELS,
            sha256=digest(files),
            conversations=tuple(
                Conversation(tuple(timed[key] for key in group), id=f"dia{group[0][0]}") for group in groups
            ),
            targets=tuple(tuple(targets[key] for key in group) for group in groups),
            ready=ready,
            sources=sources,
            ids=tuple(tuple(f"dia{d}_utt{u}" for d, u in group) for group in groups),
            warnings=(
                *another_version(len(rows), UTTERANCES[split], "utterances"),
                *prosody_notes,
                *notes,
                *clip_notes,
            ),
        )

    def _ready(
        self, split: str, groups: Sequence[Sequence[Key]]
    ) -> tuple[dict[str, tuple[tuple[Encoded, ...], ...]], tuple[Notice, ...]]:
        """The prosodic figures, as they are and filled, and how many are lacking."""
        if not self._prosody_table(split).is_file():
            return {}, ()
        found = _prosody(self._prosody_table(split))
        rows = tuple(tuple(found.get(clip_name(*key), ABSENT) for key in group) for group in groups)
        lost = sum(row.values is None for group in rows for row in group)
        notes = (Notice("no_prosody", f"{lost} utterances without prosodic figures"),) if lost else ()
        if self._typical is None:
            train = self._prosody_table("train")
            known = found if split == "train" or not train.is_file() else _prosody(train)
            values = [row.values for row in known.values() if row.values is not None]
            self._typical = medians(np.stack(values)) if values else np.zeros(len(PROSODY), np.float32)
        filled = tuple(filled_rows(group, self._typical) for group in rows)
        return {"prosody": rows, "columns-audio": filled}, notes

    def _corrected(
        self, split: str, utterances: Mapping[Key, Utterance]
    ) -> tuple[dict[Key, Span], tuple[Notice, ...]]:
        """Where each utterance's words are, and what moved."""
        spans = self._spans.get(split, {})
        if not spans:
            return {}, ()
        known = {key: s for key, s in spans.items() if key in utterances and s[0].clip in utterances}
        chosen = {key: longest(s) for key, s in known.items()}
        partly = sum(len({s.clip for s in known[key]}) > 1 for key in known)
        wholly = sum(all(s.clip != key for s in known[key]) for key in known)
        said = (
            f"{len(known)} utterances have corrected times; {partly} of them are spread over several clips, "
            f"of which the one with most of the words is taken, and {wholly} lie wholly in the clip of "
            f"another utterance; {len(utterances) - len(known)} are not listed and keep their clip"
        )
        return chosen, (Notice("realigned", said),)

    def _sources(
        self, split: str, groups: Sequence[Sequence[Key]], spans: Mapping[Key, Span]
    ) -> tuple[tuple[tuple[Source | None, ...], ...], tuple[Notice, ...]]:
        """Each utterance's clip, None for what is missing or known to be corrupt."""
        folder = self._clips.get(split)
        total = sum(map(len, groups))
        if folder is None:
            place = self.folder / FOLDERS[split]
            return (), missing_media(total, total, place) if self._clips_named or self._clips else ()
        files = names_in(folder)
        corrupt = {clip_name(*key) for key in CORRUPT[split]}

        def source(key: Key) -> Source | None:
            span = spans.get(key, Span(key, 0.0, math.inf))
            name = clip_name(*span.clip)
            if name not in files or name in corrupt:
                return None
            return Source(files[name], span.start, None if math.isinf(span.end) else span.end)

        found = tuple(tuple(source(key) for key in group) for group in groups)
        lost = [
            clip_name(*key)
            for group, row in zip(groups, found, strict=True)
            for key, one in zip(group, row, strict=True)
            if one is None and key not in CORRUPT[split]
        ]
        known = sorted(corrupt & set(files))
        return found, (
            *missing_media(len(lost), total, folder),
            *(Notice("corrupt_media", f"{n} is known to be corrupt and is left out") for n in known),
        )


def _key(row: Row, table: Path, line: int) -> Key:
    where = f"{table}: row {line}"
    return int(number(row["Dialogue_ID"], where)), int(number(row["Utterance_ID"], where))


def _dialogues(keys: Sequence[Key]) -> list[list[Key]]:
    """The utterances of each dialogue, both in the order of their numbers."""
    groups: dict[int, list[Key]] = defaultdict(list)
    for key in sorted(keys):
        groups[key[0]].append(key)
    return list(groups.values())


def _utterance(row: Row, table: Path) -> Utterance:
    where = f"{table}: dialogue {row['Dialogue_ID']}, utterance {row['Utterance_ID']}"
    start, end = (seconds(row[name], f"{where}: {name}") for name in ("StartTime", "EndTime"))
    return Utterance(start, end, row["Utterance"], row["Speaker"])


def _moved(utterances: Mapping[Key, Utterance], key: Key, span: Span | None) -> Utterance:
    """The utterance at its corrected time in the episode."""
    if span is None or math.isnan(utterances[span.clip].start):
        return utterances[key]
    begin = utterances[span.clip].start
    return replace(utterances[key], start=round(begin + span.start, 4), end=round(begin + span.end, 4))


def _prosody(path: Path) -> dict[str, Encoded]:
    """Each clip's figures, by the clip's name."""
    found = {}
    for line, row in enumerate(read_table(path, ("filename", *PROSODY)), start=1):
        values = [number(row[name], f"{path}: row {line}: {name}") for name in PROSODY]
        name = row["filename"].removesuffix(".wav") + ".mp4"
        found[name] = Encoded(np.array(values, dtype=np.float32))
    return found
