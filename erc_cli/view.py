"""A result on the terminal: a row per utterance, a summary per speaker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from erc_cli.certainty import shown
from erc_cli.console import table
from erc_cli.result import speaker_summary
from erc_cli.types import Modality, Notice, Opinion, Prediction, Result, Status, Utterance

# Okabe and Ito's palette, told apart with any colour vision; labels beyond it cycle.
COLOURS = ("#999999", "#cc79a7", "#0072b2", "#56b4e9", "#f0e442", "#009e73", "#d55e00", "#e69f00")
GREY = "italic #707070"  # of what is uncertain: not bold, and darker than any neutral
BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 5
NARROW = 72  # below so many columns of the terminal there is no room for the modalities
ROOMY = 88
LEAST = 7  # columns that the text keeps, whatever the terminal
SHORT = {Status.NO_AUDIO_TRACK: "no audio", Status.OUTSIDE_MEDIA: "outside"}


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


def time_cells(utterances: Sequence[Utterance], width: int) -> list[str]:
    """Where each utterance begins; whole seconds where room is scarce."""
    return [clock(u.start) if width >= 60 else clock(u.start)[:-2] for u in utterances]


def words(status: Status) -> str:
    """A status for people: `no face`."""
    return status.value.replace("_", " ")


def _judged(prediction: Prediction) -> bool:
    """Whether any modality had something to say; if none had, the answer is the prior."""
    return any(said.status is Status.OK for said in prediction.opinions.values())


def emotion(prediction: Prediction, labels: Sequence[str], least: float = 0.0) -> Text:
    """`joy 61%`, or `uncertain` where that is below `least`."""
    said = shown(prediction, labels, least)
    if not _judged(prediction):
        return Text(f"{said} (prior)", style="dim")
    return Text(said, style=GREY if prediction.below(least) else f"bold {colour_of(prediction.best)}")


def opinion(opinion: Opinion, labels: Sequence[str], *, detail: bool = True) -> Text:
    """A modality's bar, with four letters of its label where `detail`; or why it is silent."""
    if opinion.status is not Status.OK:
        return Text(SHORT.get(opinion.status, words(opinion.status)), style="dim")
    best = max(range(len(labels)), key=opinion.probabilities.__getitem__)
    mark = (bar(opinion.probabilities[best]), colour_of(best))
    return Text.assemble(mark, (" " + labels[best][:4], "dim")) if detail else Text.assemble(mark)


def gap_of(width: int) -> int:
    """Blank columns between the columns of a table."""
    return 1 if width < ROOMY else 2


def widest(heading: str, cells: Sequence[Text | str]) -> int:
    """Width of a column: its widest cell, or the longest word of its heading."""
    return max(cell_len(str(cell)) for cell in (*heading.split(), *cells))


def speaker_cells(names: Sequence[str | None], width: int) -> tuple[list[Text], int]:
    """The cells of the column `speaker` and its width; longer names are folded."""
    cells = [Text(name or "-") for name in names]
    most = 14 if width >= ROOMY else 10 if width >= 60 else 8
    return cells, min(widest("speaker", cells), most)


def _line(utterance: Utterance) -> Text:
    return Text(utterance.text.replace("\n", " "))


def result_table(result: Result, width: int) -> Table:
    """Time, speaker, text, emotion, and what each modality says by itself, within `width` columns.

    Below `NARROW` columns, or where the text would have too little room, the modalities are left out.
    """
    times = time_cells(result.utterances, width)
    names, name_width = speaker_cells([u.speaker for u in result.utterances], width)
    emotions = [emotion(p, result.labels, result.min_confidence) for p in result.predictions]
    # "(prior)" goes to a line of its own where room is scarce
    heads = [str(e).removesuffix(" (prior)") if width < ROOMY else e for e in emotions]
    emotion_width = widest("emotion", heads)
    gap, texts = gap_of(width), [_line(u) for u in result.utterances]
    fixed = widest("time", times) + name_width + 3 * gap
    sides: list[tuple[str, list[Text]]] = []
    for detail, enough in ((True, 20), (False, 12)) if width >= NARROW else ():
        sides = _sides(result, detail=detail)
        taken = sum(widest(head, cells) + gap for head, cells in sides)
        if width - fixed - emotion_width - taken >= enough:
            break
        sides = []
    else:
        taken = 0
    emotion_width = max(min(emotion_width, width - fixed - LEAST), len("emotion"))
    text_width = max(width - fixed - emotion_width - taken, LEAST)
    columns: list[str | tuple[str, dict[str, Any]]] = [
        ("time", {"justify": "right", "no_wrap": True}),
        ("speaker", {"width": name_width}),
        ("text", {"width": min(text_width, widest("text", texts))}),
        ("emotion", {"width": emotion_width}),
        *((head, {"width": widest(head, cells)}) for head, cells in sides),
    ]
    rows = table(columns, gap=gap)
    for row in zip(times, names, texts, emotions, *(cells for _, cells in sides), strict=True):
        rows.add_row(*row)
    return rows


def _sides(result: Result, *, detail: bool) -> list[tuple[str, list[Text]]]:
    """Heading and cells of every modality that was not dropped."""
    absent = Opinion(Status.DROPPED)
    columns = {m: [p.opinions.get(m, absent) for p in result.predictions] for m in Modality}
    return [
        (str(m), [opinion(said, result.labels, detail=detail) for said in column])
        for m, column in columns.items()
        if any(said.status is not Status.DROPPED for said in column)
    ]


def speakers_table(result: Result, width: int) -> Table:
    """Per speaker: how many utterances, their time, and the share of each emotion."""
    found = speaker_summary(result)
    names, name_width = speaker_cells([speaker["name"] for speaker in found], width)
    columns: list[str | tuple[str, dict[str, Any]]] = [
        ("speaker", {"width": name_width}),
        ("said", {"justify": "right", "no_wrap": True}),
        ("seconds", {"justify": "right", "no_wrap": True}),
        ("emotions", {"ratio": 1, "min_width": 8}),
    ]
    rows = table(columns, gap=gap_of(width))
    for name, speaker in zip(names, found, strict=True):
        total = max(speaker["utterances"], 1)
        parts: list[tuple[str, str]] = []
        for label, count in sorted(speaker["labels"].items(), key=lambda item: -item[1]):
            place = result.shown_labels.index(label)
            style = colour_of(place) if place < len(result.labels) else GREY
            parts += [(bar(count / total, 4).rstrip() + " ", style), (f"{label} {count}  ", "")]
        rows.add_row(name, str(speaker["utterances"]), f"{speaker['seconds']:.1f}", Text.assemble(*parts))
    return rows


def notice_text(notice: Notice) -> Text:
    """One warning on one line."""
    where = f" (line {notice.line})" if notice.line else ""
    return Text.assemble(("Warning", "yellow"), f"{where}: {notice.message}")


def ablation_table(whole: Result, without: Result, dropped: str, width: int) -> Table:
    """Label and probability with and without a modality; changed labels stand out.

    Below `NARROW` columns the labels stand without their probabilities.
    """
    narrow, gap = width < NARROW, gap_of(width)
    heads = ("with all", f"without {dropped}", "change")
    times, texts = time_cells(whole.utterances, width), [_line(u) for u in whole.utterances]
    pairs = zip(whole.predictions, without.predictions, strict=True)
    cells = [_compared(before, after, whole.labels, narrow=narrow) for before, after in pairs]
    widths = [widest(head, [row[i] for row in cells]) for i, head in enumerate(heads)]
    if width >= ROOMY:  # headings on one line, unless they are very long
        widths = [max(wide, min(cell_len(head), 16)) for head, wide in zip(heads, widths, strict=True)]
    taken = widest("time", times) + sum(widths) + 4 * gap
    columns: list[str | tuple[str, dict[str, Any]]] = [
        ("time", {"justify": "right", "no_wrap": True}),
        ("text", {"width": min(max(width - taken, LEAST), widest("text", texts))}),
        *((head, {"width": wide}) for head, wide in zip(heads, widths, strict=True)),
    ]
    rows = table(columns, gap=gap)
    for time, text, row in zip(times, texts, cells, strict=True):
        rows.add_row(time, text, *row)
    return rows


def _compared(before: Prediction, after: Prediction, labels: Sequence[str], *, narrow: bool) -> list[Text]:
    """The cells with all, without, and the change in the probability of the first label."""
    change = f"{after.probabilities[before.best] - before.confidence:+.0%}"
    other = before.best != after.best
    style = "bold" if other else "dim"
    if narrow:
        first, second = (Text(labels[p.best], f"bold {colour_of(p.best)}") for p in (before, after))
        return [first, second if other else Text(labels[after.best]), Text(change, style)]
    said = emotion(after, labels)
    same = Text(str(said), style="" if _judged(after) else "dim")
    return [emotion(before, labels), said if other else same, Text(f"{change} {labels[before.best]}", style)]
