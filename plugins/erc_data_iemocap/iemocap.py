"""Reads IEMOCAP, whichever way it lies on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from erc_cli.datafile import another_version, check_split, digest, filled_rows, medians, missing_media
from erc_cli.errors import UsageError
from erc_cli.learning import Source, Split
from erc_cli.types import Conversation, Encoded, Notice, Utterance
from erc_data_iemocap.release import is_release, read_release
from erc_data_iemocap.table import find_table, read_turns
from erc_data_iemocap.turns import LABELS, PUBLISHED, Turn, sessions_for, split_dialogues

NAMES = tuple(LABELS.values())
INDEX = {short: i for i, short in enumerate(LABELS)}
_PROSODY = 8  # the first figures of the table are those of the extractor of that name


class Iemocap:
    """IEMOCAP on disk; everything but the media is read at once.

    Raises:
        UsageError: it is neither the released folder nor a table, or not whole.
    """

    def __init__(
        self, path: Path, *, test: str, unused: Collection[str], media: str, unlabelled: str
    ) -> None:
        if test != "session5" and test in unused:
            others = ", ".join(one for one in unused if one != test)
            raise UsageError(
                f"data.iemocap: {test} is the test split, and unused.",
                hint=f"Type: --set 'data.iemocap.unused=[{others}]'",
            )
        self.path = path
        self._test, self._keep = test, unlabelled == "keep"
        self._released = path.is_dir() and is_release(path)
        table = None if self._released else find_table(path)
        self._notes: tuple[Notice, ...] = ()
        if self._released:
            turns, self._files, self._notes = read_release(path, media, sessions_for(test, unused))
        elif table is not None:
            turns = read_turns(table)
            self._files = {turn.dialogue: (table,) for turn in turns}
        else:
            raise UsageError(
                f"{path}: neither IEMOCAP's released folder nor a table, Session1 not found.",
                hint="Give the folder that holds Session1 to Session5: --data iemocap:IEMOCAP_full_release",
            )
        self._dialogues: dict[str, list[Turn]] = defaultdict(list)
        for turn in sorted(turns, key=lambda t: (t.dialogue, t.start, t.id)):
            self._dialogues[turn.dialogue].append(turn)
        self._splits = split_dialogues(self._dialogues, test, unused)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; a table without the test session has no test split."""
        return tuple(self._splits)

    def read(self, split: str) -> Split:
        """One split; `sources` are the dialogues' files, `ready` the table's figures.

        `ready["prosody"]` holds the table's first eight figures, `ready["columns-audio"]` all, with
        the median of the train split for undefined ones.
        """
        check_split("iemocap", split, self.splits)
        dialogues = self._turns(split)
        sources, notes = self._sources(dialogues)
        files = dict.fromkeys(f for turns in dialogues for f in self._files[turns[0].dialogue])
        return Split(
            name=split,
            labels=NAMES,
            sha256=digest(files),
            conversations=tuple(
                Conversation(tuple(map(_utterance, turns)), id=turns[0].dialogue) for turns in dialogues
            ),
            targets=tuple(tuple(INDEX.get(turn.emotion, -1) for turn in turns) for turns in dialogues),
            ready=self._ready(dialogues),
            sources=sources,
            ids=tuple(tuple(turn.id for turn in turns) for turns in dialogues),
            warnings=(*self._version(split, dialogues), *self._notes, *notes),
        )

    def _turns(self, split: str) -> list[list[Turn]]:
        found = [self._dialogues[name] for name in self._splits[split]]
        if not self._keep:
            found = [[turn for turn in turns if turn.labelled] for turns in found]
        return [turns for turns in found if turns]

    def _version(self, split: str, dialogues: Sequence[Sequence[Turn]]) -> tuple[Notice, ...]:
        if self._test != "session5":
            return ()
        labelled = sum(turn.labelled for turns in dialogues for turn in turns)
        utterances, talks = PUBLISHED[split]
        notes = another_version(labelled, utterances, "labelled utterances")
        return notes or another_version(len(dialogues), talks, "dialogues")

    def _sources(
        self, dialogues: Sequence[Sequence[Turn]]
    ) -> tuple[tuple[tuple[Source | None, ...], ...], tuple[Notice, ...]]:
        if not self._released:
            return (), ()
        rows = tuple(
            tuple(None if t.media is None else Source(t.media, t.start, t.end) for t in turns)
            for turns in dialogues
        )
        lost, total = sum(one is None for row in rows for one in row), sum(map(len, rows))
        return rows if lost < total else (), missing_media(lost, total, self.path)

    def _ready(self, dialogues: Sequence[Sequence[Turn]]) -> Mapping[str, tuple[tuple[Encoded, ...], ...]]:
        rows = _figures(dialogues)
        if not rows:
            return {}
        train = _figures([self._dialogues[name] for name in self._splits.get("train", ())]) or rows
        typical = medians(
            np.stack([row.values for turns in train for row in turns if row.values is not None])
        )
        prosody = tuple(
            tuple(Encoded(None if one.values is None else one.values[:_PROSODY]) for one in row)
            for row in rows
        )
        return {"prosody": prosody, "columns-audio": tuple(filled_rows(row, typical) for row in rows)}


def _figures(dialogues: Sequence[Sequence[Turn]]) -> tuple[tuple[Encoded, ...], ...]:
    """Every turn's figures; nothing if there are none."""
    rows = tuple(tuple(t.figures for t in turns if t.figures is not None) for turns in dialogues)
    return rows if any(rows) else ()


def _utterance(turn: Turn) -> Utterance:
    return Utterance(turn.start, turn.end, turn.text, turn.speaker)
