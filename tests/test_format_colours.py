"""The palette of emotions: apart for every eye, stable, and marked for who sees no colours."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from erc_cli.emotion_colours import PALETTE, colour_of, ink_on, luminance, mark_of

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
# Machado, Oliveira, Fernandes 2009, table 1, severity 1.0
SEEN = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def lab(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of a colour as an eye of that kind sees it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    seen = [min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in matrix]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    xyz = [sum(a * b for a, b in zip(row, seen, strict=True)) / w for row, w in zip(rows, white, strict=True)]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eye", SEEN)
def test_any_two_emotions_are_apart_for_every_eye(eye: str) -> None:
    for one, other in combinations(PALETTE, 2):
        a, b = (lab(PALETTE[name], SEEN[eye]) for name in (one, other))
        apart = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
        assert apart >= 20, (one, other)


@pytest.mark.parametrize("labels", [MELD, IEMOCAP])
def test_the_labels_of_both_data_sets_have_their_own_colours(labels: tuple[str, ...]) -> None:
    colours = [colour_of(label, labels) for label in labels]
    assert len(set(colours)) == len(labels)
    assert set(colours) <= set(PALETTE.values())


def test_joy_is_joy_everywhere() -> None:
    assert colour_of("joy", MELD) == colour_of("happy", IEMOCAP) == colour_of("Happiness", ["Happiness"])
    assert colour_of("anger", MELD) == colour_of("anger", ("anger", "joy"))


def test_other_labels_get_colours_that_are_free() -> None:
    labels = ["joy", "happy", "glee", "calm", "", "喜び", *(f"label {i}" for i in range(60))]
    colours = [colour_of(label, labels) for label in labels]
    assert len(set(colours)) == len(labels)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert colours == [colour_of(label, tuple(labels)) for label in labels]
    assert colour_of("not among them", labels) not in colours


def test_marks_are_short_and_distinct() -> None:
    assert [mark_of(label, MELD) for label in MELD] == ["N", "Su", "F", "Sa", "J", "D", "A"]
    odd = ["frustrated", "frustration", "fru", "😀", "", "喜び", "joy", "Joy"]
    marks = [mark_of(label, odd) for label in odd]
    assert len(set(marks)) == len(odd)
    assert all(1 <= len(mark) <= 3 for mark in marks)


def test_writing_on_a_colour_can_be_read() -> None:
    for colour in (*PALETTE.values(), "#000000", "#ffffff", "#767676"):
        page, ink = luminance(colour), luminance(ink_on(colour))
        contrast = (max(page, ink) + 0.05) / (min(page, ink) + 0.05)
        assert contrast >= 4.5  # WCAG 2 AA
