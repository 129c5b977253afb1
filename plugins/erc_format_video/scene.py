"""What is drawn for the utterances of a moment: who talks with which emotion, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from erc_cli.certainty import shown
from erc_cli.emotion_colours import colour_of, ink_on, mark_of
from erc_cli.textfile import tidy
from erc_cli.types import Prediction, Result, Status
from erc_format_video.fonts import Type

if TYPE_CHECKING:
    from erc_cli.types import ByteArray

Colour = tuple[int, int, int, int]
_DARK: Colour = (12, 14, 18, 178)
_WHITE: Colour = (255, 255, 255, 255)
_FAINT: Colour = (48, 51, 58, 230)
_EDGE: Colour = (12, 14, 18, 255)
_MOST_PANELS = 3
_MOST_LINES = 3
_CLEAR = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A picture to lay over another at `left`, `top`: uint8 [h, w, 4], red, green, blue and cover."""

    left: int
    top: int
    rgba: ByteArray


@dataclass(frozen=True, slots=True)
class Screen:
    """The picture as a viewer sees it, in square pixels."""

    width: int
    height: int

    @property
    def type(self) -> Type:
        """The size of the words."""
        return Type(max(round(min(self.height * 0.05, self.width / 22)), 11))


def colour(label: str, labels: Sequence[str], cover: int = 255) -> Colour:
    """A label's colour."""
    return _rgb(colour_of(label, labels), cover)


def _rgb(code: str, cover: int = 255) -> Colour:
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue, cover


def patches(result: Result, places: Sequence[int], screen: Screen) -> list[Patch]:
    """Everything for the utterances that are said now, but the faces."""
    made: list[Patch] = []
    top = gap = screen.type.size // 2
    for i in places[:_MOST_PANELS]:
        made.append(_panel(result, i, screen, (gap, top)))
        top += made[-1].rgba.shape[0] + gap
    words = _subtitle(result, places, screen)
    return made if words is None else [*made, words]


def _panel(result: Result, i: int, screen: Screen, place: tuple[int, int]) -> Patch:
    """The speaker's name, the emotion with its mark, and a bar as long as it is sure."""
    found, labels, text = result.predictions[i], result.labels, screen.type
    label = result.label(found)
    name = _plain(result.utterances[i].speaker)
    bold, pad = Type(text.size, bold=True), text.size // 2
    said = shown(found, labels, result.min_confidence) + ("" if _judged(found) else " (prior)")
    mark = mark_of(label, labels)
    badge = max(round(bold.width(mark)) + pad, text.height)
    wide = ceil(min(max(badge + pad + text.width(said), text.size * 9), screen.width - 4 * pad))
    high = text.height * (2 if name else 1) + pad
    canvas = Image.new("RGBA", (wide + 2 * pad, high + 2 * pad), _CLEAR)
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((0, 0, canvas.width - 1, canvas.height - 1), pad, fill=_DARK)
    top = pad // 2
    if name:
        bold.draw(pen, (pad, top), bold.shortened(name, wide), _WHITE)
        top += text.height
    hue = colour(label, labels)
    pen.rounded_rectangle((pad, top + 1, pad + badge, top + text.height - 2), pad // 2, fill=hue)
    middle = pad + (badge - bold.width(mark)) / 2
    bold.draw(pen, (middle, top), mark, _rgb(ink_on(colour_of(label, labels))))
    room = wide - badge - pad
    text.draw(pen, (pad + badge + pad, top), text.shortened(said, room), _WHITE)
    bar = (pad, canvas.height - pad - pad // 2, pad + wide, canvas.height - pad)
    pen.rectangle(bar, fill=_FAINT)
    pen.rectangle((*bar[:2], pad + max(round(wide * found.confidence), 1), bar[3]), fill=hue)
    return Patch(*place, np.asarray(canvas))


def _plain(name: str | None) -> str:
    return " ".join(tidy(name or "").split())


def _judged(found: Prediction) -> bool:
    return any(one.status is Status.OK for one in found.opinions.values())


def _subtitle(result: Result, places: Sequence[int], screen: Screen) -> Patch | None:
    """The words at the foot; of several speakers each with the name before it."""
    said = [result.utterances[i] for i in places]
    texts = [tidy(one.text) for one in said]
    if len(texts) > 1:
        texts = [
            f"{_plain(one.speaker) or '-'}: {text}" for one, text in zip(said, texts, strict=True) if text
        ]
    text = screen.type
    room = screen.width * 0.9 - 2 * text.size
    lines = [line for words in texts for line in text.lines(words, room)]
    if len(lines) > _MOST_LINES:
        text = Type(max(round(text.size * 0.75), 9))
        lines = [line for words in texts for line in text.lines(words, room)]
    if not lines:
        return None
    most = max(min(_MOST_LINES + 1, (screen.height // 2) // text.height), 1)
    if len(lines) > most:
        lines = [*lines[: most - 1], text.shortened(f"{lines[most - 1]} …", room)]
    pad = text.size // 2
    widths = [text.width(line) for line in lines]
    canvas = Image.new("RGBA", (round(max(widths)) + 2 * pad, len(lines) * text.height + pad), _CLEAR)
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((0, 0, canvas.width - 1, canvas.height - 1), pad // 2, fill=_DARK)
    for row, (line, width) in enumerate(zip(lines, widths, strict=True)):
        left = (canvas.width - width) / 2
        text.draw(pen, (left, pad // 2 + row * text.height), line, _WHITE)
    left, top = (screen.width - canvas.width) // 2, screen.height - canvas.height - text.size // 2
    return Patch(left, top, np.asarray(canvas))


def frame_patches(
    box: tuple[float, float, float, float], name: str, hue: Colour, screen: Screen
) -> list[Patch]:
    """A face's frame, four thin bars in a colour with a dark edge, and its name above it."""
    thick = max(screen.type.size // 7, 2)
    shares = [min(max(side, 0.0), 1.0) for side in box]
    left, right = round(shares[0] * screen.width), round(shares[2] * screen.width)
    top, bottom = round(shares[1] * screen.height), round(shares[3] * screen.height)
    outer = _bars((left - 1, top - 1, right + 1, bottom + 1), thick + 2, _EDGE)
    made = [*outer, *_bars((left, top, right, bottom), thick, hue)]
    if name:
        tag = _tag(name, screen, max(right - left, screen.type.size * 4))
        above = top - 1 - tag.shape[0]
        made.append(Patch(left - 1, above if above >= 0 else bottom + 1, tag))
    return made


def _bars(sides: tuple[int, int, int, int], thick: int, hue: Colour) -> list[Patch]:
    """The four sides of a frame, inside of it."""
    left, top, right, bottom = sides
    wide, high = max(right - left, thick), max(bottom - top, thick)
    across = np.full((thick, wide, 4), hue, dtype=np.uint8)
    down = np.full((high, thick, 4), hue, dtype=np.uint8)
    places = (
        (left, top, across),
        (left, bottom - thick, across),
        (left, top, down),
        (right - thick, top, down),
    )
    return [Patch(*place) for place in places]


def _tag(name: str, screen: Screen, room: int) -> ByteArray:
    text = Type(max(round(screen.type.size * 0.8), 9), bold=True)
    line = text.shortened(_plain(name), room)
    canvas = Image.new("RGBA", (max(round(text.width(line)) + text.size // 2, 1), text.height), _DARK)
    text.draw(ImageDraw.Draw(canvas), (text.size // 4, 0), line, _WHITE)
    return np.asarray(canvas)
