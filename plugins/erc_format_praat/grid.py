"""A TextGrid as tiers of intervals, in Praat's long and short text format.

Praat itself reads a text file by its free-standing numbers, texts in double quotes (a quote inside
is doubled) and flags in angle brackets, and takes all else for comment; `!` hides the rest of a line
(manual of Praat, "TextGrid file formats"). Read so, both forms are one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from erc_cli.errors import UsageError

_TOKEN = re.compile(
    r'"(?P<text>[^"]*(?:""[^"]*)*)"'
    r"|<(?P<flag>[a-z]+)>"
    r"|(?<!\S)(?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?=[\s%]|$)"
    r"|(?<!\S)!(?P<comment>[^\n]*)"
    r"|(?P<word>[^\s\"]+)"
)
_HINT = "In Praat: Save as text file…"


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` to `end` in seconds; `line` of the file."""

    start: float
    end: float
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Tier:
    """An interval tier; a point tier has no intervals and `points` of them."""

    name: str
    intervals: tuple[Interval, ...]
    points: int = 0


@dataclass(frozen=True, slots=True)
class _Token:
    value: str | float
    line: int
    flag: bool = False


class _EndError(Exception):
    """The file ends, or has something else, where a number or a text is due."""


def parse(text: str, path: Path) -> tuple[list[Tier], str]:
    """The tiers, and what was wrong with the end of a file that is cut off (else nothing).

    Raises:
        UsageError: not a TextGrid, or of a form that is not read.
    """
    tokens = _Tokens(text)
    first = _beginning(tokens)
    if first not in (["ooTextFile", "TextGrid"], ["ooTextFile short", "TextGrid"]):
        what = f": it begins with {', '.join(repr(text[:50]) for text in first)}" if first else ""
        raise UsageError(f"{path} is not a TextGrid as Praat saves it{what}.", hint=_HINT)
    tiers: list[Tier] = []
    try:
        tokens.number(), tokens.number()
        if tokens.flag() != "exists":
            return tiers, ""
        for _ in range(tokens.count()):
            _tier(tokens, tiers)
    except _EndError as error:
        return tiers, str(error)
    return tiers, ""


def _beginning(tokens: _Tokens) -> list[str]:
    """The two texts at the top: kind of file and kind of object; fewer where there are fewer."""
    found: list[str] = []
    try:
        found += [tokens.text()]
        found += [tokens.text()]
    except _EndError:
        pass
    return found


def _tier(tokens: _Tokens, tiers: list[Tier]) -> None:
    """Add a tier; one that is cut off is added as far as it goes, before `_EndError` is raised."""
    kind, name = tokens.text(), tokens.text()
    tokens.number(), tokens.number()
    count = tokens.count()
    if kind == "TextTier":
        for _ in range(count):
            tokens.number(), tokens.text()
        tiers.append(Tier(name, (), count))
        return
    if kind != "IntervalTier":
        raise _EndError(f"line {tokens.line}: a tier of the kind {kind[:40]!r}")
    found: list[Interval] = []
    try:
        for _ in range(count):
            start, end, line = tokens.number(), tokens.number(), tokens.line
            found.append(Interval(start, end, tokens.text(), line))
    finally:
        tiers.append(Tier(name, tuple(found)))


class _Tokens:
    """The free-standing numbers, texts and flags of the file, one after another."""

    def __init__(self, text: str) -> None:
        self._all = _tokens(text)
        self.line = 1

    def text(self) -> str:
        value = self._next("a text").value
        if isinstance(value, str):
            return value
        raise _EndError(f"line {self.line}: a number where a text is due")

    def number(self) -> float:
        value = self._next("a number").value
        if isinstance(value, float) and math.isfinite(value):
            return value
        raise _EndError(f"line {self.line}: a text where a number is due")

    def flag(self) -> str:
        token = self._next("<exists>", flags=True)
        return str(token.value) if token.flag else ""

    def count(self) -> int:
        """How many follow; a file that promises more than it has is read as far as it goes."""
        number = self.number()
        if number < 0 or not number.is_integer():
            raise _EndError(f"line {self.line}: {number} is no count")
        return int(number)

    def _next(self, wanted: str, *, flags: bool = False) -> _Token:
        for token in self._all:
            if token.flag and not flags:
                continue
            self.line = token.line
            return token
        raise _EndError(f"the file ends where {wanted} is due")


def _tokens(text: str) -> Iterator[_Token]:
    line, place = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", place, match.start())
        place = match.start()
        if match["text"] is not None:
            yield _Token(match["text"].replace('""', '"'), line)
        elif match["number"] is not None:
            yield _Token(float(match["number"]), line)
        elif match["flag"] is not None:
            yield _Token(match["flag"], line, flag=True)
