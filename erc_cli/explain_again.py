"""The model asked again about a conversation in which one utterance is another one.

Only what the change can reach is computed. A text extractor or a fusion may say how far that is:

    reach -> (past, future) | None

so many utterances before and after one are read for it. Without it, or with None, all are. A text extractor
with `gather_rows(asked)` computes single rows of many conversations at once, the same as `gather` would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from erc_cli.types import Conversation, Extractor, Features, Modality, Status, Utterance

if TYPE_CHECKING:
    from erc_cli.pipeline import Model
    from erc_cli.types import FloatArray

Reach = tuple[int, int] | None
Asked = Sequence[tuple[Conversation, int]]
HERE = (0, 0)


@runtime_checkable
class GathersRows(Protocol):
    """A text extractor that computes single rows of many conversations at once."""

    def gather_rows(self, asked: Asked) -> Features:
        """Row i of what `gather` gives for the conversation, for each (conversation, i)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What would be the answer for `target`, were `instead` said at `place`? `word`: the one that is gone."""

    target: int
    place: int
    instead: Utterance
    word: tuple[int, int] | None = None


def reach_of(part: object) -> Reach:
    """How far an extractor or a fusion says that it reads."""
    reach: Reach = getattr(part, "reach", None)
    return reach


class Again:
    """A model, a conversation, and the features that it was answered from."""

    def __init__(
        self, model: Model, conversation: Conversation, features: Mapping[Modality, Features]
    ) -> None:
        self.conversation = conversation
        self._count = len(conversation.utterances)
        self._model, self._features = model, features
        self._text = _rereadable(model.extractors.get(Modality.TEXT), conversation, features)
        self._reads = HERE if self._text is None else reach_of(self._text)
        self._fuses = reach_of(model.fusion)

    @property
    def reads_words(self) -> bool:
        """Whether a branch reads words, and can be asked again."""
        return self._text is not None

    def has_words(self, place: int) -> bool:
        """Whether the text branch had something to say there."""
        return self._text is not None and bool(self._features[Modality.TEXT].present[place])

    def context_of(self, target: int, most: int) -> list[int]:
        """The other utterances that the answer can depend on, at most so many before and after it."""
        if self._reads is None or self._fuses is None:
            past = future = most
        else:
            past, future = (min(a + b, most) for a, b in zip(self._reads, self._fuses, strict=True))
        return [i for i in self._places(target - past, target + future) if i != target]

    def answers(self, changes: Sequence[Change]) -> list[FloatArray]:
        """Probabilities [classes] of each change's target."""
        asked = [(change, self._stale(change)) for change in changes]
        fresh = self._gathered(asked)
        if self._fuses == HERE:
            return self._fused_here(changes, fresh)
        return [self._fused(change, rows) for change, rows in zip(changes, fresh, strict=True)]

    def _places(self, first: int, last: int) -> range:
        return range(max(first, 0), min(last, self._count - 1) + 1)

    def _seen(self, target: int) -> range:
        """The rows that the fusion reads for an utterance."""
        if self._fuses is None:
            return range(self._count)
        past, future = self._fuses
        return self._places(target - past, target + future)

    def _stale(self, change: Change) -> range:
        """The rows of the text that are others now, and that the fusion reads."""
        if self._text is None:
            return range(0)
        seen = self._seen(change.target)
        if self._reads is None:
            return seen
        past, future = self._reads
        first, last = max(change.place - future, seen.start), min(change.place + past, seen.stop - 1)
        return range(first, last + 1)

    def _gathered(self, asked: Sequence[tuple[Change, range]]) -> list[dict[int, Features]]:
        """The stale rows of the text for each change, computed together."""
        pairs: list[tuple[Conversation, int]] = []
        for change, rows in asked:
            pairs += self._pairs(change, rows)
        if self._text is None or not pairs:
            return [{} for _ in asked]
        found = _rows(self._text, pairs)
        taken, place = [], 0
        for _, rows in asked:
            taken.append({row: _cut(found, [place + k]) for k, row in enumerate(rows)})
            place += len(rows)
        return taken

    def _pairs(self, change: Change, rows: range) -> Asked:
        """For each row a conversation that shows it with all that is read for it, and its place there."""
        if not rows:
            return []
        if self._reads is None:
            around = range(self._count)
        else:
            past, future = self._reads
            around = self._places(rows.start - past, rows.stop - 1 + future)
        said = [change.instead if i == change.place else self.conversation.utterances[i] for i in around]
        conversation = Conversation(tuple(said), self.conversation.id)
        return [(conversation, row - around.start) for row in rows]

    def _fused_here(
        self, changes: Sequence[Change], fresh: Sequence[Mapping[int, Features]]
    ) -> list[FloatArray]:
        """For a fusion that reads each row by itself: all targets as the rows of one conversation."""
        targets = [change.target for change in changes]
        said = Conversation(tuple(self.conversation.utterances[i] for i in targets))
        features = {m: _cut(given, targets) for m, given in self._features.items()}
        if Modality.TEXT in features:
            anew = {k: rows[i] for k, (i, rows) in enumerate(zip(targets, fresh, strict=True)) if i in rows}
            features[Modality.TEXT] = _replaced(features[Modality.TEXT], anew)
        return list(self._model.fusion.predict(said, features))

    def _fused(self, change: Change, fresh: Mapping[int, Features]) -> FloatArray:
        """For a fusion that reads other rows too: the changed conversation, as far as it reads."""
        seen = self._seen(change.target)
        said = [change.instead if i == change.place else self.conversation.utterances[i] for i in seen]
        gone = change.place - seen.start if change.word is None and change.place in seen else None
        features = {}
        for modality, given in self._features.items():
            rows = _cut(given, seen)
            if modality is Modality.TEXT:
                rows = _replaced(rows, {i - seen.start: row for i, row in fresh.items()})
            features[modality] = rows if gone is None else _absent(rows, gone)
        answered = self._model.fusion.predict(Conversation(tuple(said)), features)
        row: FloatArray = answered[change.target - seen.start]
        return row


def _rereadable(
    extractor: Extractor | None, conversation: Conversation, features: Mapping[Modality, Features]
) -> Extractor | None:
    """The text extractor, if it gave features and needs no media for that."""
    if extractor is None or Modality.TEXT not in features or not features[Modality.TEXT].present.any():
        return None
    wishes = map(extractor.wish, conversation.utterances)
    return None if any(wish.sound is not None or wish.frames for wish in wishes) else extractor


def _rows(extractor: Extractor, asked: Asked) -> Features:
    """The rows asked for; one conversation after another where the extractor knows no better."""
    if isinstance(extractor, GathersRows):
        return extractor.gather_rows(asked)
    found: list[Features] = []
    whole: Features | None = None
    last: Conversation | None = None
    for conversation, row in asked:
        if whole is None or conversation is not last:
            whole, last = extractor.gather(conversation, [None] * len(conversation.utterances)), conversation
        found.append(_cut(whole, [row]))
    return Features(
        np.concatenate([one.values for one in found]),
        np.concatenate([one.present for one in found]),
        tuple(status for one in found for status in one.status),
    )


def _cut(features: Features, rows: Iterable[int]) -> Features:
    """Some rows, in that order; an extractor's details do not matter here."""
    places = list(rows)
    return Features(
        features.values[places], features.present[places], tuple(features.status[i] for i in places)
    )


def _replaced(features: Features, anew: Mapping[int, Features]) -> Features:
    """The features with other rows at some places; `anew` holds one row each."""
    if not anew:
        return features
    values, present, status = features.values.copy(), features.present.copy(), list(features.status)
    for place, row in anew.items():
        values[place], present[place], status[place] = row.values[0], row.present[0], row.status[0]
    return Features(values, present, tuple(status))


def _absent(features: Features, place: int) -> Features:
    """The features with nothing at that place."""
    present = features.present.copy()
    present[place] = False
    status = (*features.status[:place], Status.DROPPED, *features.status[place + 1 :])
    return replace(features, present=present, status=status)
