"""Explanations on the terminal: words and other utterances by how much they moved the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from erc_cli.console import table
from erc_cli.explain_words import LEVELS, marks, strength
from erc_cli.types import Explanation, Prediction, Result, Status, Utterance
from erc_cli.view import clock, colour_of

#: Okabe and Ito's blue and vermilion, told apart with any colour vision
STYLES = {2: "bold #56b4e9", 1: "#56b4e9", 0: "", -1: "#d55e00", -2: "bold #d55e00"}
_NARROW = 72
_QUOTE = 40  # characters of another utterance that are shown

LEGEND = (
    f"+ speaks for the emotion, - against it: {LEVELS[0]:g} or more of its log-odds; "
    f"++ and --: {LEVELS[1]:g} or more."
)


def explained_table(result: Result, width: int) -> Table:
    """A row per explained utterance: its words with their marks, what moved the answer beside them."""
    narrow = width < _NARROW
    rows = [i for i, found in enumerate(result.predictions) if found.explanation is not None]
    emotions = [_emotion(result.predictions[i], result.labels) for i in rows]
    wide = max([len("emotion"), *(text.cell_len for text in emotions)])
    columns: list[str | tuple[str, dict[str, Any]]] = [
        ("#", {"justify": "right", "no_wrap": True}),
        ("emotion", {"width": wide, "no_wrap": True}),
        ("why", {"ratio": 1, "min_width": 20}),
    ]
    if not narrow:
        columns[1:1] = [("time", {"justify": "right", "no_wrap": True}), ("speaker", {"max_width": 14})]
    made = table(columns, gap=1 if narrow else 2)
    for i, emotion in zip(rows, emotions, strict=True):
        said = result.utterances[i]
        cells: list[str | Text] = [str(i + 1), emotion, _why(result, i)]
        if not narrow:
            cells[1:1] = [clock(said.start), Text(said.speaker or "-")]
        made.add_row(*cells, end_section=True)
    return made


def _emotion(found: Prediction, labels: Sequence[str]) -> Text:
    return Text(f"{labels[found.best]} {found.confidence:.0%}", style=f"bold {colour_of(found.best)}")


def _why(result: Result, i: int) -> Text:
    """The words; on lines of their own the modalities' and the other utterances' parts."""
    found, said = result.predictions[i], result.utterances[i]
    lines = []
    if found.explanation is not None:
        lines.append(marked(said, found.explanation))
        lines.append(_modalities(found))
        lines.append(_context(result.utterances, i, found.explanation))
    return Text("\n").join(line for line in lines if line)


def marked(said: Utterance, why: Explanation) -> Text:
    """The utterance, its words coloured by sign and strength, with the marks of `marks` behind them."""
    text, end = Text(), 0
    for word in why.words or ():
        text.append(_line(said.text[end : word.start]))
        style = STYLES[strength(word.change)]
        text.append(_line(said.text[word.start : word.end]) + marks(word.change), style)
        end = word.end
    text.append(_line(said.text[end:]))
    return text


def _modalities(found: Prediction) -> Text:
    parts = [
        Text.assemble(f"{modality} ", _signed(one.contribution))
        for modality, one in found.opinions.items()
        if one.status is Status.OK
    ]
    return Text("  ").join(parts)


def _context(said: Sequence[Utterance], i: int, why: Explanation) -> Text:
    """`2 before: +0.31 "What is that?"`, strongest first, those that moved nothing left out."""
    moved = sorted((one for one in why.context if strength(one.change)), key=lambda one: -abs(one.change))
    lines = []
    for one in moved:
        steps = one.index - i
        where = f"{abs(steps)} {'before' if steps < 0 else 'after'} "
        lines.append(
            Text.assemble((where, "dim"), _signed(one.change), " ", (_quote(said[one.index]), "dim"))
        )
    return Text("\n").join(lines)


def _quote(said: Utterance) -> str:
    text = _line(said.text).strip()
    short = text if len(text) <= _QUOTE else text[: _QUOTE - 1].rstrip() + "…"
    return f"“{short}”" if short else "(no words)"


def _signed(change: float) -> tuple[str, str]:
    return f"{change:+.2f}", STYLES[strength(change)]


def _line(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")
