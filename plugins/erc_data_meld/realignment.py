"""MELD-FAIR's corrected times (Carneiro, Weber, Wermter 2023).

An utterance has one or more spans, each in the clip of some utterance and counted from that clip's
start: MELD's clips often begin too late, so that the first words are at the end of the clip before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from erc_cli.datafile import WHOLE, number, read_table
from erc_cli.errors import UsageError

Key = tuple[int, int]
_KEYS = ("Dialogue ID", "Utterance ID", "Original Dialogue ID", "Original Utterance ID")
_COLUMNS = ("Split", *_KEYS, "Start Time", "End Time")


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds `start` to `end` of the clip of utterance `clip`."""

    clip: Key
    start: float
    end: float


def read_realignment(path: Path) -> dict[str, dict[Key, tuple[Span, ...]]]:
    """The spans of every utterance, by split and (dialogue, utterance).

    Raises:
        UsageError: it is not such a table.
    """
    found: dict[str, dict[Key, list[Span]]] = {name: defaultdict(list) for name in ("train", "dev", "test")}
    for row, cells in enumerate(read_table(path, _COLUMNS, filled=_COLUMNS), start=1):
        dialogue, utterance, *clip = (int(number(cells[k], f"{path}: row {row}: {k}")) for k in _KEYS)
        start, end = (number(cells[k], f"{path}: row {row}: {k}") for k in ("Start Time", "End Time"))
        if cells["Split"] not in found or not 0 <= start < end:
            raise UsageError(f"{path}: row {row} is no span of a split of MELD.", hint=WHOLE)
        found[cells["Split"]][dialogue, utterance].append(Span((clip[0], clip[1]), start, end))
    return {split: {key: tuple(s) for key, s in spans.items()} for split, spans in found.items()}


def longest(spans: Sequence[Span]) -> Span:
    """From the first to the last of an utterance's words in the clip that holds most of them."""
    parts: Mapping[Key, list[Span]] = defaultdict(list)
    for span in spans:
        parts[span.clip].append(span)
    clip, inside = max(parts.items(), key=lambda part: sum(s.end - s.start for s in part[1]))
    return Span(clip, min(s.start for s in inside), max(s.end for s in inside))
