"""The timeline of a result as a picture: a lane per speaker, coloured and lettered by emotion.

Made with matplotlib and without pyplot, so that no window system and no global state is touched.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from erc_cli.emotion_colours import colour_of, ink_on, mark_of
from erc_cli.textfile import tidy
from erc_cli.types import Result
from erc_cli.view import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_DPI = 150
_WIDTH = 14.0  # inches
_ROOM = 1800  # pixels that a strip's axis has, about
_MOST_LANES = 100  # speakers with a lane of their own; the rest, who say least, share one
_MOST_STRIPS = 8
_TALLEST = 48  # lanes of all strips together
_WISHED = 14  # pixels that an utterance of usual length should have, to hold its letter
_NAME = 24
_GREY, _LINE = "#555555", "#dddddd"
#: for scripts that DejaVu lacks, where one of these is installed
_FONTS = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "PingFang SC",
    "Arial Unicode MS",
)


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Where utterances go: `place[i]` is the lane of utterance i, `names` those of the lanes."""

    names: tuple[str, ...]
    place: tuple[int, ...]


def draw(result: Result, path: Path, *, title: str = "") -> None:
    """Write the picture as PNG, whatever the ending of `path`; an empty result is a picture that says so."""
    family = ["DejaVu Sans", *_installed()]
    with rc_context({"font.family": family}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # shown as boxes
        figure = timeline_figure(result, title)
        FigureCanvasAgg(figure)  # the figure now knows how to become pixels, without a window
        figure.savefig(path, format="png")


def timeline_figure(result: Result, title: str = "") -> Figure:
    """One strip, or several where a long recording would make utterances too narrow to read."""
    lanes = _lanes(result)
    count = _strips(result, len(lanes.names))
    high = 0.36 if len(lanes.names) <= 12 else 0.25
    height = count * (max(len(lanes.names), 1) * high + 0.45) + 1.1
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")
    span = _span(result)
    for number, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        _strip(axes, result, lanes, (number * span / count, (number + 1) * span / count))
    said = figure.suptitle(_short(title or _title(result), 110), fontsize=13, x=0.01, ha="left")
    _plain(said)
    if result.utterances:
        _legend(figure, result)
    return figure


def _strip(axes: Axes, result: Result, lanes: _Lanes, span: tuple[float, float]) -> None:
    """The utterances that begin or last within `span` (seconds)."""
    first, last = span
    rows = [i for i, said in enumerate(result.utterances) if said.end >= first and said.start <= last]
    colours = {label: colour_of(label, result.labels) for label in result.shown_labels}
    boxes = [_box(result, lanes, i, (last - first) / _ROOM) for i in rows]
    said = [result.label(result.predictions[i]) for i in rows]
    axes.add_collection(PolyCollection(boxes, facecolors=[colours[label] for label in said], linewidths=0))
    marks = {label: mark_of(label, result.labels) for label in result.shown_labels}
    per_second = _ROOM / (last - first)
    for box, label in zip(boxes, said, strict=True):
        wide = (min(box[2][0], last) - max(box[0][0], first)) * per_second
        if wide >= 9 + 8 * len(marks[label]):
            middle = (max(box[0][0], first) + min(box[2][0], last)) / 2
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "weight": "bold"}
            axes.text(
                middle, (box[0][1] + box[1][1]) / 2, marks[label], color=ink_on(colours[label]), **style
            )
    _frame(axes, lanes, span)


def _box(result: Result, lanes: _Lanes, i: int, least: float) -> np.ndarray:
    """Corners [4, 2] of an utterance: as wide as it lasts, as high as it is sure."""
    said, found = result.utterances[i], result.predictions[i]
    left, right = said.start, max(said.end, said.start + 1.5 * least)
    foot = lanes.place[i] + 0.4
    top = foot - 0.8 * (0.35 + 0.65 * found.confidence)
    return np.array([(left, foot), (left, top), (right, top), (right, foot)])


def _frame(axes: Axes, lanes: _Lanes, span: tuple[float, float]) -> None:
    axes.set_xlim(*span)
    axes.set_ylim(max(len(lanes.names), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes.names)), [_short(name, _NAME) for name in lanes.names], fontsize=9)
    for label in axes.get_yticklabels():
        _plain(label)
    axes.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)[:-2]))
    axes.tick_params(axis="x", labelsize=8, colors=_GREY)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    if not lanes.names:
        axes.text(sum(span) / 2, 0, "There are no utterances.", ha="center", color=_GREY)


def _legend(figure: Figure, result: Result) -> None:
    """Letter, name and number of every emotion, and what the picture means."""
    found = Counter(result.label(one) for one in result.predictions)
    handles = [
        Patch(
            color=colour_of(label, result.labels),
            label=f"{mark_of(label, result.labels)}  {_short(label, _NAME)} ({found[label]})",
        )
        for label in result.shown_labels
    ]
    made = figure.legend(handles=handles, loc="outside lower left", ncols=9, frameon=False, fontsize=9)
    for text in made.get_texts():
        _plain(text)
    words = "Height: confidence. Emotion as expressed, not as felt."
    made.set_title(words, prop=font_manager.FontProperties(size=8))
    made.get_title().set_color(_GREY)
    made.set_alignment("left")


def _lanes(result: Result) -> _Lanes:
    """In order of appearance; those beyond `_MOST_LANES`, by time, share the last lane."""
    speakers = [said.speaker for said in result.utterances]
    names = list(dict.fromkeys(speakers))
    if len(names) > _MOST_LANES:
        time: Counter[str | None] = Counter()
        for said in result.utterances:
            time[said.speaker] += said.end - said.start  # type: ignore[assignment]  # seconds, not whole
        kept = {name for name, _ in time.most_common(_MOST_LANES - 1)}
        names = [name for name in names if name in kept]
    places = {name: lane for lane, name in enumerate(names)}
    others = [] if len(names) == len(set(speakers)) else [f"{len(set(speakers)) - len(names)} others"]
    shown = (*("unknown" if name is None else name for name in names), *others)
    return _Lanes(shown, tuple(places.get(name, len(names)) for name in speakers))


def _strips(result: Result, lanes: int) -> int:
    if not result.utterances:
        return 1
    usual = float(np.median([said.end - said.start for said in result.utterances]))
    wished = math.ceil(_WISHED * _span(result) / (_ROOM * max(usual, 0.2)))
    return max(1, min(wished, _MOST_STRIPS, _TALLEST // max(lanes, 1)))


def _span(result: Result) -> float:
    media = result.media.duration if result.media else 0.0
    return max([1.0, media, *(said.end for said in result.utterances)])


def _title(result: Result) -> str:
    path = result.media.path if result.media else result.transcript.path
    return path.name if path else "A conversation"


def _short(name: str, most: int) -> str:
    words = " ".join(tidy(name).split())
    return words if len(words) <= most else words[: most - 1] + "…"


def _plain(text: Text) -> None:
    text.set_parse_math(False)  # a name may hold dollar signs


def _installed() -> Sequence[str]:
    known = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in _FONTS if name in known]
