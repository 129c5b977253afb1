"""Pictures of evaluation and ablation documents, with matplotlib.

Colours tell apart for everyone: Okabe and Ito's palette, and cividis for the confusion matrix. The
pictures are made without pyplot, so that no window system and no global state is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erc_cli.report_tables import main_system, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]

BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#222222"
_BARS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
_GREY = "#777777"
_DPI = 150
#: room that LaTeX and slides leave: systems beyond these make the bars unreadable
_MOST_SYSTEMS = 4


def draw(document: Document, path: Path) -> None:
    """Draw a document of any kind that `report_tables.tables_of` knows."""
    if "variants" in document:
        figure = ablation_figure(document)
    else:
        figure = evaluation_figure(document.get("evaluations", [document]))
    FigureCanvasAgg(figure)  # the figure now knows how to become pixels, without a window
    figure.savefig(path, format="png", bbox_inches="tight")


def evaluation_figure(documents: Sequence[Document]) -> Figure:
    """A row per data set: confusion matrix, reliability diagram, F1 per class."""
    figure = Figure(figsize=(15.5, 5.0 * len(documents)), dpi=_DPI, layout="constrained")
    grid = figure.subplots(len(documents), 3, squeeze=False, width_ratios=[1.05, 0.9, 1.5])
    for axes, document in zip(grid, documents, strict=True):
        name = main_system(document)
        _confusion(axes[0], document["systems"][name])
        _reliability(axes[1], document["systems"][name])
        _classes(axes[2], document)
        axes[0].set_title(f"{where(document)}\n{name}: confusion", fontsize=10, loc="left")
    return figure


def _confusion(axes: Axes, system: Document) -> None:
    """Colour is the share of the annotated label (recall on the diagonal); the numbers are counts."""
    labels = list(system["per_class"])
    counts = np.array(system["confusion"], dtype=float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = "black" if share[i, j] > 0.5 else "white"
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("annotated")


def _reliability(axes: Axes, system: Document) -> None:
    """Accuracy against confidence; the bars at the foot are the share of utterances."""
    found = system["reliability"]
    share = np.array(found["share"])
    edges = (np.arange(len(share)) + 0.5) / len(share)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    axes.bar(edges, share, width=1 / len(share), color=SKY, alpha=0.5, label="share of utterances")
    full = share > 0
    confidence, accuracy = np.array(found["confidence"])[full], np.array(found["accuracy"])[full]
    axes.plot(confidence, accuracy, color=BLUE, marker="o", markersize=4, label="accuracy")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.set_title(f"reliability, ECE {system['ece']:.3f}", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="upper left")


def _classes(axes: Axes, document: Document) -> None:
    """F1 of each class with its interval: the main system, and what the others say."""
    systems: Document = document["systems"]
    main = main_system(document)
    others = [name for name in systems if name != main and ("+" in main) != ("own head" in name)]
    names = [main, *others][:_MOST_SYSTEMS]
    labels = list(systems[main]["per_class"])
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        classes = [systems[name]["per_class"][label] for label in labels]
        f1 = np.array([one["f1"] for one in classes])
        ends = np.array([one["ci95"]["f1"] for one in classes]).T
        reach = np.abs(np.clip(np.stack([f1 - ends[0], ends[1] - f1]), 0, None))
        place = np.arange(len(labels)) + (k - (len(names) - 1) / 2) * width
        axes.bar(place, f1, width, label=name, color=_BARS[k])
        axes.errorbar(place, f1, yerr=reach, fmt="none", ecolor=BLACK, elinewidth=0.8)
    supports = [systems[main]["per_class"][label]["support"] for label in labels]
    ticks = [f"{label}\n{support}" for label, support in zip(labels, supports, strict=True)]
    axes.set_xticks(range(len(labels)), ticks, fontsize=8)
    axes.set(ylim=(0, 100), ylabel="F1")
    axes.set_title("F1 per class, 95 % over dialogues; below: annotated utterances", fontsize=10, loc="left")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def ablation_figure(document: Document) -> Figure:
    """Every variant's weighted F1 with its interval, and its paired difference to the reference."""
    variants: Sequence[Document] = document["variants"]
    height = 1.6 + 0.38 * len(variants)
    figure = Figure(figsize=(11, height), dpi=_DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.2, 1])
    rows = np.arange(len(variants))
    f1 = [one["weighted_f1"] for one in variants]
    _points(left, rows, [one["mean"] for one in f1], [one["ci95"] for one in f1], BLUE)
    numbered = list(zip(rows, variants, strict=True))
    printed = [(row, one["paper"]["weighted_f1"]) for row, one in numbered if one.get("paper")]
    if printed:
        places, values = zip(*printed, strict=True)
        left.plot(values, places, "D", color=ORANGE, markersize=5, label="paper, as printed")
        left.legend(fontsize=8)
    left.set_yticks(rows, [one["name"] for one in variants], fontsize=9)
    left.set_ylim(len(variants) - 0.5, -0.5)
    left.set_xlabel("weighted F1, 95 % over dialogues")
    left.set_title(where(document), fontsize=10, loc="left")
    compared = [(row, one["difference"]) for row, one in numbered if one["difference"]]
    if compared:
        means = [one["weighted_f1"] for _, one in compared]
        _points(right, np.array([row for row, _ in compared]), means, [d["ci95"] for _, d in compared], GREEN)
    right.axvline(0, color=_GREY, linestyle="--", linewidth=1)
    right.set_xlabel(f"less {document['reference']}: paired difference")
    for axes in (left, right):
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _points(
    axes: Axes, rows: np.ndarray, means: Sequence[float], spans: Sequence[Sequence[float]], colour: str
) -> None:
    ends = np.array(spans).T
    reach = np.clip(np.stack([np.array(means) - ends[0], ends[1] - np.array(means)]), 0, None)
    axes.errorbar(means, rows, xerr=reach, fmt="o", color=colour, markersize=5, capsize=3, linewidth=1.2)
