"""Scores over all utterances of a split at once, their intervals, and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray


def confusion(targets: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Counts [classes, classes]: rows are the annotated label, columns the predicted one."""
    counts = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall and F1 of one class, all 0 where they are undefined, and its support."""

    precision: float
    recall: float
    f1: float
    support: int


def per_class(matrix: IntArray) -> tuple[ClassScore, ...]:
    """Scores of each class from a confusion matrix."""
    scores = []
    for k in range(len(matrix)):
        hit, said, real = int(matrix[k, k]), int(matrix[:, k].sum()), int(matrix[k].sum())
        precision = hit / said if said else 0.0
        recall = hit / real if real else 0.0
        f1 = 2 * hit / (said + real) if said + real else 0.0
        scores.append(ClassScore(precision, recall, f1, real))
    return tuple(scores)


def scores(matrix: IntArray) -> dict[str, float]:
    """`accuracy`, `weighted_f1` (by support), `macro_f1`, each in percent."""
    rows = per_class(matrix)
    total = sum(row.support for row in rows)
    weighted = sum(row.f1 * row.support for row in rows) / max(total, 1)
    return {
        "accuracy": 100 * float(np.trace(matrix)) / max(total, 1),
        "weighted_f1": 100 * weighted,
        "macro_f1": 100 * sum(row.f1 for row in rows) / len(rows),
    }


def weighted_f1(targets: IntArray, predicted: IntArray, classes: int) -> float:
    """Support-weighted F1 in percent."""
    return scores(confusion(targets, predicted, classes))["weighted_f1"]


def expected_calibration_error(probabilities: FloatArray, targets: IntArray, bins: int = 15) -> float:
    """ECE of the top label over equally wide bins of confidence (Guo et al. 2017), 0..1."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = 0.0
    for k in range(bins):
        inside = place == k
        if inside.any():
            gap += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(gap)


def bootstrap(
    figures: Callable[[IntArray], Mapping[str, float]],
    dialogues: IntArray,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of each figure, resampling whole dialogues.

    `figures` gets the indices of a resample. A difference between two systems is one of its figures,
    so that both are taken on the very same resamples (a paired interval).
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(dialogues == name) for name in np.unique(dialogues)]
    samples: list[Mapping[str, float]] = []
    for _ in range(repeats):
        drawn = rng.integers(0, len(rows), len(rows))
        samples.append(figures(np.concatenate([rows[i] for i in drawn])))
    intervals = {}
    for name in samples[0]:
        low, high = np.percentile([sample[name] for sample in samples], [2.5, 97.5])
        intervals[name] = (float(low), float(high))
    return intervals


def class_prior(targets: IntArray, classes: int) -> FloatArray:
    """Share of each class [classes], with one more example of each: no class is impossible."""
    counts = np.bincount(targets, minlength=classes) + 1.0
    return np.asarray(counts / counts.sum(), dtype=np.float32)


def log_loss(probabilities: FloatArray, targets: IntArray) -> float:
    """Mean negative log probability of the annotated label, in nats."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def report(probabilities: FloatArray, targets: IntArray, labels: Sequence[str]) -> dict[str, object]:
    """All figures of one system on one split, as they stand in evaluation files."""
    matrix = confusion(targets, probabilities.argmax(axis=1), len(labels))
    rows = per_class(matrix)
    return {
        **{name: round(value, 2) for name, value in scores(matrix).items()},
        "per_class": {
            label: {
                "precision": round(100 * row.precision, 2),
                "recall": round(100 * row.recall, 2),
                "f1": round(100 * row.f1, 2),
                "support": row.support,
            }
            for label, row in zip(labels, rows, strict=True)
        },
        "confusion": matrix.tolist(),
        "ece": round(expected_calibration_error(probabilities, targets), 4),
        "log_loss": round(log_loss(probabilities, targets), 4),
    }
