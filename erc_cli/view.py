"""A result on the terminal: a row per utterance, a summary per speaker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from erc_cli.console import table
from erc_cli.result import speaker_summary
from erc_cli.types import Modality, Notice, Opinion, Prediction, Result, Status

# Okabe and Ito's palette, told apart with any colour vision; labels beyond it cycle.
COLOURS = ("#999999", "#cc79a7", "#0072b2", "#56b4e9", "#f0e442", "#009e73", "#d55e00", "#e69f00")
BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 5


def bar(share: float, width: int = BAR) -> str:
    """A bar of `width` cells, filled to `share` (0..1) in eighths of a cell."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(width)


def colour_of(label: int) -> str:
    """The colour of a label by its place in the preset."""
    return COLOURS[label % len(COLOURS)]


def clock(seconds: float) -> str:
    """`m:ss.t`, with hours where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}:{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{text.zfill(7)}" if hours else text


def words(status: Status) -> str:
    """A status for people: `no face`."""
    return status.value.replace("_", " ")


def _emotion(prediction: Prediction, labels: Sequence[str]) -> Text:
    best = prediction.best
    return Text(f"{labels[best]} {prediction.confidence:.0%}", style=f"bold {colour_of(best)}")


def opinion(opinion: Opinion, labels: Sequence[str]) -> Text:
    """A modality's bar and label, or why it is silent."""
    if opinion.status is not Status.OK:
        return Text(words(opinion.status), style="dim")
    best = max(range(len(labels)), key=opinion.probabilities.__getitem__)
    return Text.assemble((bar(opinion.probabilities[best]), colour_of(best)), (" " + labels[best][:4], "dim"))


def result_table(result: Result) -> Table:
    """Time, speaker, text, emotion, and what each modality says by itself."""
    shown = [m for m in Modality if any(m in p.opinions for p in result.predictions)]
    columns: list[str | tuple[str, dict[str, Any]]] = [
        ("time", {"justify": "right", "no_wrap": True}),
        ("speaker", {"max_width": 14}),
        ("text", {"ratio": 1, "min_width": 16, "overflow": "fold"}),
        ("emotion", {"no_wrap": True}),
        *((str(m), {"no_wrap": True}) for m in shown),
    ]
    rows = table(columns)
    for utterance, prediction in zip(result.utterances, result.predictions, strict=True):
        rows.add_row(
            clock(utterance.start),
            Text(utterance.speaker or "-"),
            Text(utterance.text.replace("\n", " ")),
            _emotion(prediction, result.labels),
            *(opinion(prediction.opinions[m], result.labels) for m in shown),
        )
    return rows


def speakers_table(result: Result) -> Table:
    """Per speaker: utterances, time, and the share of each emotion."""
    rows = table(
        [
            "speaker",
            ("utterances", {"justify": "right"}),
            ("seconds", {"justify": "right"}),
            ("emotions", {"ratio": 1}),
        ]
    )
    for speaker in speaker_summary(result):
        total = max(speaker["utterances"], 1)
        parts: list[tuple[str, str]] = []
        for label, count in sorted(speaker["labels"].items(), key=lambda item: -item[1]):
            style = colour_of(result.labels.index(label))
            parts += [(bar(count / total, 4).rstrip() + " ", style), (f"{label} {count}  ", "")]
        name = Text(speaker["name"] or "-")
        rows.add_row(name, str(speaker["utterances"]), f"{speaker['seconds']:.1f}", Text.assemble(*parts))
    return rows


def notice_text(notice: Notice) -> Text:
    """One warning on one line."""
    where = f" (line {notice.line})" if notice.line else ""
    return Text.assemble(("Warning", "yellow"), f"{where}: {notice.message}")


def ablation_table(whole: Result, without: Result, dropped: str) -> Table:
    """Label and probability with and without a modality; changed labels stand out."""
    rows = table(
        [
            ("time", {"justify": "right", "no_wrap": True}),
            ("text", {"ratio": 1, "min_width": 16, "overflow": "fold"}),
            ("with all", {"no_wrap": True}),
            (f"without {dropped}", {"no_wrap": True}),
            ("change", {"no_wrap": True, "justify": "right"}),
        ]
    )
    pairs = zip(whole.utterances, whole.predictions, without.predictions, strict=True)
    for utterance, before, after in pairs:
        change = after.probabilities[before.best] - before.confidence
        other = before.best != after.best
        rows.add_row(
            clock(utterance.start),
            Text(utterance.text.replace("\n", " ")),
            _emotion(before, whole.labels),
            _emotion(after, whole.labels)
            if other
            else Text(f"{whole.labels[after.best]} {after.confidence:.0%}"),
            Text(f"{change:+.0%} {whole.labels[before.best]}", style="bold" if other else "dim"),
        )
    return rows
