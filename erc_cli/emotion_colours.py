"""One palette for emotions, told apart with any colour vision, and marks for who sees no colours.

Subtitles, the report and plots take their colours from here, so that joy looks the same everywhere.
The nine colours of MELD's and IEMOCAP's labels were chosen by search: any two differ by at least 20
(CIE76, which calls 2.3 just noticeable) for normal vision and for simulated protanopia,
deuteranopia and tritanopia (Machado, Oliveira, Fernandes 2009, severity 1.0). Each also stands out
from a white and from a black page, and black or white writing can be read on it (`ink_on`).
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from functools import lru_cache

from erc_cli.types import UNCERTAIN

PALETTE: dict[str, str] = {
    "neutral": "#808080",
    "surprise": "#eeaae1",
    "fear": "#6f40ef",
    "sadness": "#5193f1",
    "joy": "#e1e113",
    "disgust": "#13eca7",
    "anger": "#aa332a",
    "excited": "#d89038",
    "frustrated": "#a91096",
}
"""Colour of each emotion that has one of its own, by MELD's word for it, else IEMOCAP's."""

GREY = "#4e4e54"
"""Of `uncertain`, which is no emotion: found and tested like the others, and given to no other label."""

_SAME = {
    "neutral": ("neu", "calm", "none", "others"),
    "surprise": ("sur", "surprised"),
    "fear": ("fea", "fearful", "scared", "afraid"),
    "sadness": ("sad",),
    "joy": ("hap", "happy", "happiness", "joyful"),
    "disgust": ("dis", "disgusted"),
    "anger": ("ang", "angry", "mad"),
    "excited": ("exc", "excitement", "powerful"),
    "frustrated": ("fru", "frustration", "annoyance"),
}
_KNOWN = {word: emotion for emotion, words in _SAME.items() for word in (emotion, *words)}
_GOLDEN = 0.618034  # turns of the colour wheel that never come back to the same place
_LONGEST_MARK = 3


def colour_of(label: str, labels: Sequence[str]) -> str:
    """`"#rrggbb"` of a label among `labels`; labels of one set never share a colour.

    Known emotions, synonyms such as `happy` for `joy` included, have the colour of `PALETTE`;
    any other label the first that is free, by its place in `labels`.
    """
    return _colours(_with(label, labels))[label]


def mark_of(label: str, labels: Sequence[str]) -> str:
    """One to three characters that name a label, distinct within `labels`: `J` for `joy`.

    As many letters of the label as it takes, `Su` and `Sa` for `surprise` and `sadness`; a number
    where three do not tell two labels apart.
    """
    return _marks(_with(label, labels))[label]


def ink_on(colour: str) -> str:
    """`"#000000"` or `"#ffffff"`: the one that is better read on a `"#rrggbb"` (WCAG 2 contrast)."""
    # Contrast with white is 1.05 / (L + 0.05), with black (L + 0.05) / 0.05; equal where L is 0.179.
    return "#000000" if luminance(colour) > 0.179 else "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance 0..1 of a `"#rrggbb"` (WCAG 2.2)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _with(label: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, each once, in their order, `label` among them."""
    return tuple(dict.fromkeys((*labels, label)))


@lru_cache(maxsize=64)
def _colours(labels: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for label in labels:
        own = GREY if label == UNCERTAIN else PALETTE.get(_KNOWN.get(label.strip().casefold(), ""))
        if own is not None and own not in found.values():
            found[label] = own
    free = (colour for colour in _endless() if colour not in found.values())
    return {label: found.get(label) or found.setdefault(label, next(free)) for label in labels}


def _endless() -> Iterator[str]:
    """The palette, then hues by the golden ratio, each third one lighter than the one before."""
    yield from PALETTE.values()
    number = 0
    while True:
        light = (0.35, 0.55, 0.72)[number % 3]
        red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN % 1.0, light, 0.6)
        yield f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
        number += 1


@lru_cache(maxsize=64)
def _marks(labels: tuple[str, ...]) -> dict[str, str]:
    plain = {label: "".join(char for char in label if char.isalnum()).casefold() for label in labels}
    found: dict[str, str] = {}
    for number, label in enumerate(labels, 1):
        others = [word for other, word in plain.items() if other != label]
        for length in range(1, _LONGEST_MARK + 1):
            start = plain[label][:length]
            if start and not any(other.startswith(start) for other in others):
                found[label] = start.capitalize()
                break
        else:
            found[label] = str(number)
    return found
