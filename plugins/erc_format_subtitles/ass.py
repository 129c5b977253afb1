"""A result as ASS subtitles: a style per emotion, the words on a box in the emotion's colour.

Text is black or white, whichever is better read on the box. The speaker is in the field Name and,
because players do not show that field, before the words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pysubs2 import Color, SSAEvent, SSAFile, SSAStyle

from erc_cli.emotion_colours import colour_of, ink_on
from erc_cli.types import Result
from erc_format_subtitles.writer import marked, one_line

LAST = 36_000_000 - 10
"""The format has one digit of hours; later cues are put at its end (in milliseconds)."""


def write(result: Result, path: Path) -> None:
    """One event per utterance, times in hundredths of a second, UTF-8."""
    subtitles = SSAFile()
    subtitles.info.update({"Title": "Emotions as expressed", "PlayResX": "640", "PlayResY": "360"})
    subtitles.info["ScaledBorderAndShadow"] = "yes"
    styles = _styles(result.shown_labels)
    for label, name in styles.items():
        subtitles.styles[name] = _style(colour_of(label, result.labels))
    for said, found in zip(result.utterances, result.predictions, strict=True):
        label = result.label(found)
        name = _field(said.speaker or "")
        words = f"{name}: {one_line(said.text)}" if name else one_line(said.text)
        text = _plain(f"{words} {marked(result, found)}".lstrip())
        start, end = (max(0, round(moment * 100) * 10) for moment in (said.start, said.end))
        start = min(start, LAST - 10)
        end = min(max(start + 10, end), LAST)
        subtitles.events.append(SSAEvent(start, end, text, style=styles[label], name=name))
    path.write_text(subtitles.to_string("ass"), encoding="utf-8")


def _style(colour: str) -> SSAStyle:
    box, ink = _colour(colour), _colour(ink_on(colour))
    # Border style 3 is a box behind the text; libass takes its colour from the outline.
    return SSAStyle(
        fontsize=18.0,
        primarycolor=ink,
        outlinecolor=box,
        backcolor=box,
        borderstyle=3,
        outline=3.0,
        shadow=0.0,
        marginv=14,
    )


def _colour(code: str) -> Color:
    return Color(int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16))


def _styles(labels: Sequence[str]) -> dict[str, str]:
    """A style's name for each label, each once."""
    names: dict[str, str] = {}
    for number, label in enumerate(labels, 1):
        name = _field(label) or "label"
        names[label] = name if name not in (*names.values(), "Default") else f"{name} {number}"
    return names


def _field(text: str) -> str:
    """Text as one field of a line: a comma would end it."""
    return one_line(text).replace(",", ";")


def _plain(text: str) -> str:
    r"""Text in which nothing is a tag (`{\i1}`) or a line break (`\N`)."""
    text = text.replace("{", "｛").replace("}", "｝")
    return re.sub(r"\\(?=[Nnh])", "\\\\\u2060", text)
