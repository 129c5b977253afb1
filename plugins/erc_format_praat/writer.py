"""A result as a TextGrid, long text format, UTF-8: per speaker a tier of words and one of emotions.

The tiers `NAME` and `NAME emotion` have the same intervals; between them the intervals are empty.
Who talks over himself has a second pair of tiers, `NAME (2)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from erc_cli.lanes import Lane, lanes_of
from erc_cli.types import Result
from erc_format_praat.names import EMOTION, NOBODY

# Praat's strings are lines of text: no control characters, no lone surrogates.
_ILLEGAL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def write(result: Result, path: Path) -> None:
    """The file; it lasts as long as the medium, or as the last utterance where that is longer."""
    lanes = lanes_of(result.utterances, NOBODY, (EMOTION,))
    ends = [span.end for lane in lanes for span in lane.spans]
    duration = round(result.media.duration * 1000) if result.media is not None else 0
    end = max(duration, *ends, 1) if ends else max(duration, 1)
    labels = [result.label(found) for found in result.predictions]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('File type = "ooTextFile"\nObject class = "TextGrid"\n\n')
        file.write(f"xmin = 0\nxmax = {_seconds(end)}\ntiers? <exists>\nsize = {2 * len(lanes)}\nitem []:\n")
        number = 0
        for lane in lanes:
            for ending, text in (("", lambda i: result.utterances[i].text), (EMOTION, labels.__getitem__)):
                number += 1
                file.writelines(_tier(lane, f"{lane.name}{ending}", number, end, text))


def _tier(lane: Lane, name: str, number: int, end: int, text: Callable[[int], str]) -> Iterator[str]:
    """An interval tier from 0 to `end` milliseconds."""
    rows: list[tuple[int, int, str]] = []
    done = 0
    for span in lane.spans:
        if span.start > done:
            rows.append((done, span.start, ""))
        rows.append((span.start, span.end, text(span.index)))
        done = span.end
    if done < end:
        rows.append((done, end, ""))
    yield (
        f'    item [{number}]:\n        class = "IntervalTier"\n        name = {_quoted(name)}\n'
        f"        xmin = 0\n        xmax = {_seconds(end)}\n        intervals: size = {len(rows)}\n"
    )
    for place, (first, last, said) in enumerate(rows, 1):
        yield (
            f"        intervals [{place}]:\n            xmin = {_seconds(first)}\n"
            f"            xmax = {_seconds(last)}\n            text = {_quoted(said)}\n"
        )


def _seconds(milliseconds: int) -> str:
    """`1500` as `1.5`, without rounding errors."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + _ILLEGAL.sub(" ", text).replace('"', '""') + '"'
