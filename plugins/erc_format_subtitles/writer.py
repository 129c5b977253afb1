"""A result as subtitles: what is said, and behind it the emotion, `[joy 61%]`, in its colour.

The colours are those of `erc_cli.emotion_colours`; the emotion is always written, too, for who does
not see them. SubRip: `SPEAKER: text <font color="#…">[joy 61%]</font>`. WebVTT: the speaker in a voice
tag, the emotion in a class that the STYLE block paints. ASS: see `ass`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from erc_cli.certainty import shown
from erc_cli.emotion_colours import colour_of, ink_on
from erc_cli.types import Prediction, Result, Utterance

_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def write_srt(result: Result, path: Path) -> None:
    """One cue per utterance, times in milliseconds, UTF-8 without a byte order mark."""
    colours = {label: colour_of(label, result.labels) for label in result.shown_labels}
    made: list[str] = []
    for number, (said, label, emotion) in enumerate(_spoken(result), 1):
        spoken = one_line(f"{said.speaker}: {said.text}" if said.speaker else said.text)
        # An arrow would pass for the cue's times.
        cue = f'{spoken.replace("-->", "→")} <font color="{colours[label]}">{emotion}</font>'.lstrip()
        made.append(f"{number}\n{_clock(said.start, ',')} --> {_clock(said.end, ',')}\n{cue}\n")
    path.write_text("\n".join(made), encoding="utf-8")


def write_vtt(result: Result, path: Path) -> None:
    """One cue per utterance; classes `emotion` and the label's, painted by a STYLE block."""
    classes = _classes(result.shown_labels)
    made = ["WEBVTT\n", "NOTE The emotion that each utterance expresses; not what a person feels.\n"]
    made.append("STYLE\n" + "\n".join(_rules(classes, result.shown_labels)) + "\n")
    for number, (said, label, emotion) in enumerate(_spoken(result), 1):
        spoken = _escaped(one_line(said.text))
        if said.speaker:
            spoken = f"<v {_escaped(one_line(said.speaker))}>{spoken}</v>"
        cue = f"{spoken} <c.emotion.{classes[label]}>{_escaped(emotion)}</c>".lstrip()
        made.append(f"{number}\n{_clock(said.start, '.')} --> {_clock(said.end, '.')}\n{cue}\n")
    path.write_text("\n".join(made), encoding="utf-8")


def _spoken(result: Result) -> Iterator[tuple[Utterance, str, str]]:
    """Each utterance, its label, and how that is shown: `[joy 61%]`."""
    for said, found in zip(result.utterances, result.predictions, strict=True):
        yield said, result.label(found), marked(result, found)


def marked(result: Result, found: Prediction) -> str:
    """`[joy 61%]` or `[uncertain]`, which the reader knows again."""
    return f"[{one_line(shown(found, result.labels, result.min_confidence))}]"


def one_line(text: str) -> str:
    """Text without line breaks, which end a cue, and without control characters."""
    return " ".join(_ILLEGAL.sub(" ", text).split())


def _escaped(text: str) -> str:
    """Text in which nothing is a tag, an entity or an arrow to WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _classes(labels: Sequence[str]) -> dict[str, str]:
    """A name for each label that WebVTT and CSS can hold."""
    plain = [re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") for label in labels]
    usable = {
        word for word in plain if re.match("[a-z]", word) and word != "emotion" and plain.count(word) == 1
    }
    numbered = enumerate(zip(labels, plain, strict=True), 1)
    return {label: word if word in usable else f"label-{number}" for number, (label, word) in numbered}


def _rules(classes: Mapping[str, str], labels: Sequence[str]) -> Iterator[str]:
    yield "::cue(.emotion) { font-weight: bold; }"
    for label, name in classes.items():
        colour = colour_of(label, labels)
        yield f"::cue(.{name}) {{ color: {ink_on(colour)}; background-color: {colour}; }}"


def _clock(seconds: float, point: str) -> str:
    whole = max(0, round(seconds * 1000))
    return (
        f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d}{point}{whole % 1000:03d}"
    )
