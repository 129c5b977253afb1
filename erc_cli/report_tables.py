"""Evaluation and ablation documents as tables of text, for the console, Markdown and LaTeX alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erc_cli.contamination import KEY, from_data, told

Document = Mapping[str, Any]

DRAWS = (
    "Intervals: 95 %, by bootstrap over dialogues of the mean over seeds. p: dialogues swapped at random"
    " between the two systems, two-sided."
)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column stands left, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables_of(document: Document) -> list[Table]:
    """All tables of a document: `erc.evaluation/1`, several of them in `erc.metrics/1`, or
    `erc.ablation.data/1`."""
    if "variants" in document:
        return [ablation_table(document)]
    parts = document.get("evaluations", [document])
    return [table for part in parts for table in evaluation_tables(part)]


def evaluation_tables(document: Document) -> list[Table]:
    """Figures, differences if there are any, F1 per class, and the confusion matrix of the main system."""
    found = [figures_table(document)]
    if document.get("differences"):
        found.append(differences_table(document))
    return [*found, classes_table(document), confusion_table(document)]


def main_system(document: Document) -> str:
    """The system that a picture shows: the fusion of most modalities, else the first own head."""
    names: list[str] = list(document["systems"])
    fused = [name for name in names if not name.endswith("(own head)")]
    return max(fused, key=lambda name: name.count("+"), default=names[0])


def where(document: Document) -> str:
    """`meld, test: 280 dialogues, 2610 utterances; 5 seeds`."""
    data = document["data"]
    size = ", ".join(f"{data[k]} {k}" for k in ("dialogues", "utterances", "pictures") if k in data)
    seeds = len(document["seeds"])
    return f"{data['name']}, {data['split']}: {size}; {seeds} seed{'s' if seeds > 1 else ''}"


def figures_table(document: Document) -> Table:
    """Weighted F1 with its interval, accuracy, macro F1, calibration."""
    systems = document["systems"]
    stated = any("ece_at_prior" in system for system in systems.values())
    columns = ("system", "weighted F1", "95 %", "accuracy", "macro F1", "ECE")
    rows = [
        (
            name,
            mean_std(one["weighted_f1"]),
            span(one["weighted_f1"]["ci95"]),
            mean_std(one["accuracy"]),
            mean_std(one["macro_f1"]),
            f"{one['ece']:.3f}",
            *((f"{one['ece_at_prior']:.3f}" if "ece_at_prior" in one else "",) if stated else ()),
        )
        for name, one in systems.items()
    ]
    notes = ["± is the standard deviation between seeds."] if len(document["seeds"]) > 1 else []
    if KEY in document:
        notes.append(told(from_data(document[KEY])))
    if stated:
        notes.append("ECE at prior: calibration in the population that an own head's stated prior describes.")
    return Table(
        where(document), (*columns, *(["ECE at prior"] if stated else [])), tuple(rows), tuple(notes)
    )


def differences_table(document: Document) -> Table:
    """Paired differences in weighted F1."""
    rows = [(name, *_difference(one)) for name, one in document["differences"].items()]
    columns = ("difference", "weighted F1", "95 %", "p", "p (Holm)")
    count = len(rows)
    notes = (f"{DRAWS} Holm: corrected for {count} comparison{'s' if count > 1 else ''}.",)
    return Table("Paired differences", columns, tuple(rows), notes)


def classes_table(document: Document) -> Table:
    """F1 per class, a column for each, with the intervals of the main system."""
    systems: Document = document["systems"]
    labels = list(next(iter(systems.values()))["per_class"])
    rows = []
    for name, system in systems.items():
        classes = [system["per_class"][label] for label in labels]
        cells = [mean_std({"mean": c["f1"], "std": c.get("std", {}).get("f1")}, 1) for c in classes]
        rows.append((name, *cells))
    main = main_system(document)
    ends = [systems[main]["per_class"][label]["ci95"]["f1"] for label in labels]
    rows.append((f"95 %, {main}", *(span(pair, digits=1) for pair in ends)))
    rows.append(("support", *(str(system["per_class"][label]["support"]) for label in labels)))
    return Table("F1 per class", ("system", *labels), tuple(rows))


def confusion_table(document: Document) -> Table:
    """Counts of the main system: rows the annotated label, columns the predicted one."""
    name = main_system(document)
    system = document["systems"][name]
    labels = list(system["per_class"])
    rows = [
        (label, *(f"{count:g}" if isinstance(count, int) else f"{count:.1f}" for count in row))
        for label, row in zip(labels, system["confusion"], strict=True)
    ]
    mean = " (mean over seeds)" if len(document["seeds"]) > 1 else ""
    return Table(f"Confusion of {name}{mean}", ("annotated \\ predicted", *labels), tuple(rows))


def ablation_table(document: Document) -> Table:
    """Every variant: weighted F1, its difference to the reference, and the paper's figure."""
    variants: Sequence[Document] = document["variants"]
    paper = any(variant.get("paper") for variant in variants)
    columns = ["variant", "weighted F1", "95 %", "accuracy", "difference", "95 % of it", "p", "p (Holm)"]
    rows = []
    for one in variants:
        f1, differs = one["weighted_f1"], one["difference"]
        cells = _difference(differs) if differs else ("reference", "", "", "")
        printed = (_printed(one["paper"]),) if paper else ()
        figures = (mean_std(f1), span(f1["ci95"]), mean_std(one["accuracy"]))
        rows.append((one["name"], *figures, *cells, *printed))
    kind = "trained anew" if document["retrained"] else "left out at inference"
    count = document["comparisons"]
    notes = [f"{DRAWS} Holm: corrected for {count} comparison{'s' if count != 1 else ''}."]
    if paper:
        columns.append("paper")
        notes.append("Paper: weighted F1 as printed (arXiv 2206.02187), one run, the best of its test table.")
    notes += document.get("notes", ())
    return Table(f"{where(document)}; {kind}", tuple(columns), tuple(rows), tuple(notes))


def _printed(figure: Document | None) -> str:
    return f"{figure['weighted_f1']:.2f}" if figure else ""


def _difference(one: Document) -> tuple[str, str, str, str]:
    mean = f"{one['weighted_f1']:+.2f}"
    std = one.get("std")
    return (
        mean if std is None else f"{mean} ± {std:.2f}",
        span(one["ci95"], sign=True),
        p_value(one.get("p")),
        p_value(one.get("p_holm")),
    )


def p_value(value: float | None) -> str:
    """`0.031`, or `<0.001`; empty where there is none."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def mean_std(figure: Document, digits: int = 2) -> str:
    """`61.85 ± 0.31`, or the mean alone."""
    mean, std = f"{figure['mean']:.{digits}f}", figure.get("std")
    return mean if std is None else f"{mean} ± {std:.{digits}f}"


def span(ends: Sequence[float], *, sign: bool = False, digits: int = 2) -> str:
    """`60.10 to 63.20`."""
    low, high = (f"{end:{'+' if sign else ''}.{digits}f}" for end in ends)
    return f"{low} to {high}"
