"""Utterances laid out in tiers, for formats in which the parts of a tier must not overlap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from erc_cli.types import Utterance


@dataclass(frozen=True, slots=True)
class Span:
    """Utterance number `index`, in whole milliseconds, at least one long."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A tier: spans of one speaker in time order, none of which overlap."""

    speaker: str | None
    name: str
    spans: tuple[Span, ...]


def lanes_of(utterances: Sequence[Utterance], nobody: str, reserved: Collection[str] = ()) -> list[Lane]:
    """A tier per speaker, by first appearance; who talks over himself gets a second one, `NAME (2)`.

    `nobody`: the name of the tier of those without a name. `reserved`: endings such as ` emotion`
    that tiers will be named with; no two tiers share a name, with any of the endings or none.
    """
    rows: dict[str | None, list[list[Span]]] = {}
    for span in sorted(_spans(utterances), key=lambda span: (span.start, span.end)):
        lanes = rows.setdefault(utterances[span.index].speaker or None, [])
        free = next((lane for lane in lanes if lane[-1].end <= span.start), None)
        if free is None:
            lanes.append([span])
        else:
            free.append(span)
    names = _Names(reserved)
    return [
        Lane(speaker, names.new((nobody if speaker is None else speaker), number), tuple(lane))
        for speaker, lanes in rows.items()
        for number, lane in enumerate(lanes, 1)
    ]


def _spans(utterances: Sequence[Utterance]) -> list[Span]:
    made = []
    for index, said in enumerate(utterances):
        start = max(0, round(said.start * 1000))
        made.append(Span(index, start, max(start + 1, round(said.end * 1000))))
    return made


class _Names:
    """Names that are given once each, with every ending."""

    def __init__(self, reserved: Collection[str]) -> None:
        self._endings = ("", *reserved)
        self._given: set[str] = set()

    def new(self, speaker: str, number: int) -> str:
        while True:
            name = speaker if number == 1 else f"{speaker} ({number})"
            wanted = {name + ending for ending in self._endings}
            if self._given.isdisjoint(wanted):
                self._given |= wanted
                return name
            number += 1
