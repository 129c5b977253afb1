"""Text in any script: DejaVu, which comes with matplotlib, and fonts of the system for what it lacks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

from erc_cli.explain_words import words_of

_NAMES = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
#: for scripts that DejaVu lacks, where one of these is installed
_OTHERS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans",
    "Microsoft YaHei",
    "PingFang SC",
    "Arial Unicode MS",
    "Noto Emoji",
    "Segoe UI Emoji",
)
#: joiners, direction marks and variation selectors: not drawn, so no font need have them
_UNSEEN = frozenset(map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0xFE00, 0xFE10))))
Colour = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Type:
    """A size in pixels and a weight; what a font lacks is drawn in another, or as an empty box."""

    size: int
    bold: bool = False

    @property
    def height(self) -> int:
        """Pixels from line to line."""
        return round(self.size * 1.3)

    def width(self, text: str) -> float:
        """Pixels that a line takes."""
        return sum(font.getlength(part) for font, part in self._runs(text))

    def draw(self, canvas: ImageDraw.ImageDraw, place: tuple[float, float], text: str, ink: Colour) -> None:
        """A line of text; `place` is the left end of its upper edge."""
        left, top = place
        for font, part in self._runs(text):
            canvas.text((left, top + self.size), part, fill=ink, font=font, anchor="ls")
            left += font.getlength(part)

    def shortened(self, text: str, room: float) -> str:
        """The text, cut so that it takes no more than `room` pixels."""
        if self.width(text) <= room:
            return text
        while text and self.width(text + "…") > room:
            text = text[:-1]
        return text.rstrip() + "…"

    def lines(self, text: str, room: float) -> list[str]:
        """The text in lines of at most `room` pixels, broken between words, and within one that is longer."""
        made: list[str] = []
        now, end = "", 0
        for start, stop in words_of(text):
            gap = " " if text[end:start] else ""
            end = stop
            if now and self.width(now + gap + text[start:stop]) > room:
                made.append(now)
                now, gap = "", ""
            now += gap + text[start:stop]
            while len(now) > 1 and self.width(now) > room:
                count = self._fitting(now, room)
                made.append(now[:count])
                now = now[count:]
        return [*made, now] if now else made

    def _fitting(self, text: str, room: float) -> int:
        """How many characters fit, at least one."""
        count = 1
        while count < len(text) and self.width(text[: count + 1]) <= room:
            count += 1
        return count

    def _runs(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        """Parts of the text, each with a font that has its characters."""
        first = _own(self.bold)
        if all(ord(char) in _covered(first) or char in _UNSEEN for char in text):
            return [(_font(first, self.size), text)] if text else []
        parts = groupby(text, key=lambda char: _path_for(char, self.bold))
        return [(_font(path, self.size), "".join(part)) for path, part in parts]


def _own(bold: bool) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / _NAMES[bold]


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@cache
def _covered(path: Path) -> frozenset[int]:
    return frozenset(FT2Font(str(path)).get_charmap())


@lru_cache(maxsize=4096)
def _path_for(char: str, bold: bool) -> Path:
    """The first font that has the character; DejaVu's empty box where none has."""
    own = _own(bold)
    if char.isspace() or char in _UNSEEN or ord(char) in _covered(own):
        return own
    return next((path for path in _installed() if ord(char) in _covered(path)), own)


@cache
def _installed() -> tuple[Path, ...]:
    """Fonts of the system with other scripts. Looked for only when one is wanted: that takes a while."""
    from matplotlib import font_manager

    known = {entry.name: Path(entry.fname) for entry in font_manager.fontManager.ttflist}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(known[name] for name in _OTHERS if name in known)
