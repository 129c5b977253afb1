"""From several systems' answers to one split, over one or several seeds, to figures and comparisons.

Figures are means over seeds with their standard deviation. Intervals and p-values are over dialogues,
of the mean over seeds, on the same draws for all systems: they speak of other dialogues, not of other
seeds; the deviation speaks of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.metrics import (
    confusion,
    expected_calibration_error,
    figures,
    log_loss,
    prior_weights,
    reliability,
    weighted_f1_of,
)
from erc_cli.resampling import REPEATS, bootstrap, by_dialogue, holm, interval, swap_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import FloatArray, IntArray

MAIN = ("accuracy", "weighted_f1", "macro_f1")
_CLASS = ("precision", "recall", "f1")
BINS = 15


@dataclass(frozen=True, slots=True)
class Said:
    """A system's probabilities [n, classes], one array per seed.

    `priors`, one per seed: the class shares that it speaks relative to, where it states them.
    """

    probabilities: tuple[FloatArray, ...]
    priors: tuple[FloatArray, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """Systems on the same rows and the same resamples.

    `tallies` and `drawn` by system: [seeds, dialogues, 3, classes] of each dialogue, and
    [seeds, repeats, 3, classes] of each resample.
    """

    labels: tuple[str, ...]
    targets: IntArray
    said: Mapping[str, Said]
    tallies: Mapping[str, NDArray[np.float32]]
    drawn: Mapping[str, NDArray[np.float32]]


def make_board(
    said: Mapping[str, Said],
    targets: IntArray,
    dialogues: IntArray,
    labels: Sequence[str],
    *,
    repeats: int = REPEATS,
) -> Board:
    """Score every system; `targets` and `dialogues` [n] number the label and the dialogue of a row."""
    tallies = {
        name: np.stack(
            [by_dialogue(targets, p.argmax(axis=1), dialogues, len(labels)) for p in one.probabilities]
        )
        for name, one in said.items()
    }
    drawn = bootstrap(np.concatenate(list(tallies.values())), repeats=repeats)
    ends = np.cumsum([len(one) for one in tallies.values()])
    parts = np.split(drawn, ends[:-1])
    return Board(tuple(labels), targets, said, tallies, dict(zip(tallies, parts, strict=True)))


def system(board: Board, name: str) -> dict[str, Any]:
    """All figures of one system, as they stand in evaluation files."""
    found, drawn = figures(board.tallies[name].sum(axis=1)), figures(board.drawn[name])
    document: dict[str, Any] = {key: _figure(found[key], drawn[key]) for key in MAIN}
    support = np.bincount(board.targets, minlength=len(board.labels)).tolist()
    document["per_class"] = {
        label: _class(k, found, drawn, support[k]) for k, label in enumerate(board.labels)
    }
    return {**document, "confusion": _confusion(board, name), **_calibration(board, name)}


def _confusion(board: Board, name: str) -> list[list[float]]:
    """Counts, rows the annotated label; their mean over seeds where there are several."""
    answers = board.said[name].probabilities
    found = [confusion(board.targets, p.argmax(axis=1), len(board.labels)) for p in answers]
    counts: list[list[float]] = found[0].tolist()
    return counts if len(found) == 1 else _rounded(np.mean(found, axis=0).tolist())


def _figure(seeds: NDArray[np.float64], drawn: NDArray[np.float64]) -> dict[str, Any]:
    """Of values [seeds] and resamples [seeds, repeats]."""
    each = {} if len(seeds) == 1 else {"each": _rounded(seeds.tolist())}
    low, high = interval(drawn.mean(axis=0))
    return {"mean": _round(seeds.mean()), "std": _std(seeds), "ci95": [_round(low), _round(high)], **each}


def _class(
    k: int, found: Mapping[str, NDArray[np.float64]], drawn: Mapping[str, NDArray[np.float64]], support: int
) -> dict[str, Any]:
    return {
        **{key: _round(found[key][:, k].mean()) for key in _CLASS},
        "support": support,
        "std": {key: _std(found[key][:, k]) for key in _CLASS},
        "ci95": {key: _rounded(interval(drawn[key][..., k].mean(axis=0))) for key in _CLASS},
    }


def _calibration(board: Board, name: str) -> dict[str, Any]:
    """Means over seeds; the reliability diagram is of all seeds' answers together."""
    said, targets = board.said[name], board.targets
    values = {
        "ece": [expected_calibration_error(p, targets, BINS) for p in said.probabilities],
        "log_loss": [log_loss(p, targets) for p in said.probabilities],
    }
    stated: dict[str, Any] = {}
    if said.priors:
        values["ece_at_prior"] = [
            expected_calibration_error(p, targets, BINS, prior_weights(targets, prior))
            for p, prior in zip(said.probabilities, said.priors, strict=True)
        ]
        mean = np.mean(said.priors, axis=0).tolist()
        stated["prior"] = {label: round(x, 4) for label, x in zip(board.labels, mean, strict=True)}
    everyone = reliability(
        np.concatenate(said.probabilities), np.tile(targets, len(said.probabilities)), BINS
    )
    return {
        **{key: round(float(np.mean(v)), 4) for key, v in values.items()},
        "std": {key: _std(np.array(v), 4) for key, v in values.items()},
        **stated,
        "reliability": {
            "share": _rounded(everyone.share, 4),
            "confidence": _rounded(everyone.confidence, 4),
            "accuracy": _rounded(everyone.accuracy, 4),
        },
    }


def comparisons(board: Board, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Weighted F1 of the first of each pair less that of the second: paired in dialogues and seeds.

    `std` of the differences between seeds, `ci95` by bootstrap, `p` by swapping dialogues, `p_holm`
    corrected for the number of pairs.
    """
    found = [_difference(board, *pair) for pair in pairs]
    for one, corrected in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = round(corrected, 4)
        one["p"] = round(one["p"], 4)
    return found


def _difference(board: Board, first: str, second: str) -> dict[str, Any]:
    seeds = weighted_f1_of(board.tallies[first].sum(axis=1)) - weighted_f1_of(
        board.tallies[second].sum(axis=1)
    )
    drawn = (weighted_f1_of(board.drawn[first]) - weighted_f1_of(board.drawn[second])).mean(axis=0)
    return {
        "weighted_f1": _round(seeds.mean()),
        "std": _std(seeds),
        "ci95": _rounded(interval(drawn)),
        "p": swap_test(board.tallies[first], board.tallies[second], weighted_f1_of),
    }


def _std(seeds: NDArray[np.float64], digits: int = 2) -> float | None:
    """Between seeds, with n - 1; None for a single one."""
    return None if len(seeds) < 2 else _round(seeds.std(ddof=1), digits)


def _round(value: Any, digits: int = 2) -> float:
    return round(float(value), digits) + 0.0  # no -0.0


def _rounded(values: Any, digits: int = 2) -> list[Any]:
    return [_rounded(v, digits) if isinstance(v, list) else _round(v, digits) for v in values]
