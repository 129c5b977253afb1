"""Answers in the order of the conversation, each as soon as nothing that comes later can change it.

An extractor or a fusion may have the property `reach`: how many utterances before and after one are read
for its features or its answer, or None for the whole conversation, which is also meant when it is silent.
Where all parts of a model say so, features are gathered and fused in pieces of the conversation, with what
is in reach around them; every row is encoded once, and rows that nobody can need any more are forgotten.

The answers are those of `pipeline.extract` and `pipeline.fuse` but for rounding in the last digits of
float32: products of matrices add up in another order when other rows stand beside one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from erc_cli.device import FUSION
from erc_cli.learning import Progress, Report
from erc_cli.pipeline import Model, fuse
from erc_cli.reading import Branch, branches_of, check_any, read_media
from erc_cli.types import Conversation, Features, MediaInfo, Notice, Prediction, Status

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

PIECE = 64  # rows: so many words are encoded together, and so many answers come at once at most
Reach = tuple[int, int]


@runtime_checkable
class GathersRows(Protocol):
    """An extractor that needs no media and gives single rows of `gather`, each encoded once."""

    def gather_rows(self, asked: Sequence[tuple[Conversation, int]]) -> Features:
        """Row i of what `gather` gives for the conversation, for each (conversation, i)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Answers for the utterances from number `first` on, which will not change."""

    first: int
    predictions: tuple[Prediction, ...]


def reach_of(part: object) -> Reach | None:
    """(before, after), or None where the part reads the whole conversation or says nothing."""
    reach: Reach | None = getattr(part, "reach", None)
    return reach


def whole_readers(model: Model) -> list[str]:
    """The parts that read the whole conversation: no answer settles before its end."""
    parts: dict[str, object] = {**{str(m): e for m, e in model.extractors.items()}, FUSION: model.fusion}
    return [name for name, part in parts.items() if reach_of(part) is None]


def settle(
    model: Model,
    conversation: Conversation,
    media: MediaInfo | None,
    *,
    report: Report = lambda progress: None,
    warn: Callable[[Notice], None] = lambda notice: None,
) -> Iterator[Settled]:
    """All answers, in order; at the end at once where a part of the model reads the whole conversation.

    Raises:
        ErcError: every branch failed.
    """
    count = len(conversation.utterances)
    branches = branches_of(model.extractors, count)
    stream = _Stream(model, conversation, [_Strip(branch, count) for branch in branches.values()])
    for _ in read_media(branches, conversation, media, report, warn):
        yield from stream.settled(report)
    for strip in stream.strips:
        strip.read = count
    yield from stream.settled(report)
    for branch in branches.values():
        for notice in branch.notices():
            warn(notice)


@dataclass(slots=True)
class _Strip:
    """A branch's features, from row `start` to before row `ready`; `read` rows are encoded."""

    branch: Branch
    count: int
    read: int = 0
    start: int = 0
    ready: int = 0
    forgotten: int = 0
    values: list[FloatArray] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)
    detail: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def reach(self) -> Reach:
        """The extractor's; `count` stands for the whole conversation."""
        return reach_of(self.branch.extractor) or (self.count, self.count)

    def within_reach(self) -> int:
        """Before which row features can be gathered now."""
        rows, asked = self.branch.rows, self.branch.asked
        while self.read < self.count and (rows[self.read] is not None or self.read not in asked):
            self.read += 1
        return self.count if self.read == self.count else max(self.read - self.reach[1], 0)

    def gather(self, conversation: Conversation, until: int) -> None:
        """Have the features of all rows before `until`; words are encoded some way ahead."""
        if until <= self.ready:
            return
        if not self.branch.asked:
            until = min(-(-until // PIECE) * PIECE, self.count)
        made = self.branch.attempt(lambda: self._gathered(conversation, until), until - self.ready)
        self.values += list(made.values)
        self.status += made.status
        self.detail += made.detail or ({},) * (until - self.ready)
        self.ready = until

    def _gathered(self, conversation: Conversation, until: int) -> Features:
        """Rows `ready` to `until`, from what is in reach of them."""
        extractor = self.branch.extractor
        if isinstance(extractor, GathersRows) and not self.branch.asked and self.reach[1] < self.count:
            return extractor.gather_rows([(conversation, i) for i in range(self.ready, until)])
        before, after = self.reach
        begin, end = max(self.ready - before, 0), min(until + after, self.count)
        part = extractor.gather(_part(conversation, begin, end), self.branch.rows[begin:end])
        first, last = self.ready - begin, until - begin
        detail = part.detail[first:last] if part.detail else ()
        return Features(part.values[first:last], part.present[first:last], part.status[first:last], detail)

    def features(self, begin: int, end: int) -> Features:
        """Of the rows from `begin` to before `end`."""
        a, b = begin - self.start, end - self.start
        status = tuple(self.status[a:b])
        present = np.array([one is Status.OK for one in status], np.bool_)
        return Features(np.stack(self.values[a:b]), present, status, tuple(self.detail[a:b]))

    def forget(self, before: int) -> None:
        """Rows that no answer is read from any more."""
        done = min(before, self.ready) - self.start
        if done > 0:
            del self.values[:done], self.status[:done], self.detail[:done]
            self.start += done
        kept = max(self.ready - self.reach[0], self.forgotten)
        for i in range(self.forgotten, kept):
            self.branch.rows[i] = None
        self.forgotten = kept


@dataclass(slots=True)
class _Stream:
    model: Model
    conversation: Conversation
    strips: list[_Strip]
    done: int = 0

    @property
    def count(self) -> int:
        return len(self.conversation.utterances)

    def settled(self, report: Report) -> Iterator[Settled]:
        """What can be answered with what is read."""
        before, after = reach_of(self.model.fusion) or (self.count, self.count)
        known = min((strip.within_reach() for strip in self.strips), default=self.count)
        last = self.count if known == self.count else known - after
        whole = bool(whole_readers(self.model))
        while self.done < last:
            until = last if whole else min(self.done + PIECE, last)
            begin, end = max(self.done - before, 0), min(until + after, self.count)
            for strip in self.strips:
                strip.gather(self.conversation, end)
            check_any({strip.branch.modality: strip.branch for strip in self.strips})
            features = {s.branch.modality: s.features(begin, end) for s in self.strips}
            said = fuse(self.model, _part(self.conversation, begin, end), features)
            first, self.done = self.done, until
            report(Progress("utterances", until, self.count))
            yield Settled(first, said[first - begin : until - begin])
            for strip in self.strips:
                strip.forget(until - before)


def _part(conversation: Conversation, begin: int, end: int) -> Conversation:
    return Conversation(conversation.utterances[begin:end], conversation.id)
