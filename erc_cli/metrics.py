"""Scores over all utterances of a split at once, and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


def tally(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """All that scores need of confusion matrices [..., classes, classes]: [..., 3, classes] with the
    hits, how often each label was predicted, and how often it was annotated."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    return np.stack([hit, matrix.sum(axis=-2), matrix.sum(axis=-1)], axis=-2).astype(np.float32)


def figures(tallies: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """`scores` and class scores, in percent, of any number of tallies [..., 3, classes].

    `accuracy`, `weighted_f1`, `macro_f1` [...]; `precision`, `recall`, `f1` [..., classes], 0 where
    they are undefined.
    """
    hit, said, real = np.moveaxis(tallies.astype(np.float64), -2, 0)
    f1 = _ratio(2 * hit, said + real)
    return {
        "accuracy": 100 * hit.sum(axis=-1) / np.maximum(real.sum(axis=-1), 1),
        "weighted_f1": weighted_f1_of(tallies),
        "macro_f1": 100 * f1.mean(axis=-1),
        "precision": 100 * _ratio(hit, said),
        "recall": 100 * _ratio(hit, real),
        "f1": 100 * f1,
    }


def weighted_f1_of(tallies: NDArray[np.float32]) -> NDArray[np.float64]:
    """Support-weighted F1 in percent [...] of tallies [..., 3, classes]."""
    hit, said, real = np.moveaxis(tallies.astype(np.float64), -2, 0)
    f1 = _ratio(2 * hit, said + real)
    return np.asarray(100 * (f1 * real).sum(axis=-1) / np.maximum(real.sum(axis=-1), 1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def weighted_f1(targets: IntArray, predicted: IntArray, classes: int) -> float:
    """Support-weighted F1 in percent."""
    return scores(confusion(targets, predicted, classes))["weighted_f1"]


def expected_calibration_error(
    probabilities: FloatArray, targets: IntArray, bins: int = 15, weights: NDArray[np.float64] | None = None
) -> float:
    """ECE of the top label over equally wide bins of confidence (Guo et al. 2017), 0..1.

    `weights` [n], one per row, make another population of the rows; without them all count the same.
    """
    found = reliability(probabilities, targets, bins, weights)
    gaps = [
        share * abs(c - a) for share, c, a in zip(found.share, found.confidence, found.accuracy, strict=True)
    ]
    return float(sum(gaps))


@dataclass(frozen=True, slots=True)
class Reliability:
    """By bin of confidence, empty ones all 0: share of the rows, their mean confidence and accuracy."""

    share: tuple[float, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


def reliability(
    probabilities: FloatArray, targets: IntArray, bins: int = 15, weights: NDArray[np.float64] | None = None
) -> Reliability:
    """The reliability diagram of the top label, in equally wide bins of confidence from 0 to 1."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    weight = np.ones(len(targets)) if weights is None else weights
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    mass = np.bincount(place, weight, bins)
    held = np.maximum(mass, 1e-300)
    return Reliability(
        share=tuple((mass / max(weight.sum(), 1e-300)).tolist()),
        confidence=tuple((np.bincount(place, weight * confidence, bins) / held).tolist()),
        accuracy=tuple((np.bincount(place, weight * right, bins) / held).tolist()),
    )


def prior_weights(targets: IntArray, prior: FloatArray) -> NDArray[np.float64]:
    """Weights [n] that make the rows a population with these class shares: prior[y] / natural[y].

    Classes without a row have no part in it.
    """
    natural = np.bincount(targets, minlength=len(prior)) / max(len(targets), 1)
    ratio = np.divide(prior.astype(np.float64), natural, out=np.zeros(len(prior)), where=natural > 0)
    weights: NDArray[np.float64] = ratio[targets]
    return weights


def class_prior(targets: IntArray, classes: int) -> FloatArray:
    """Share of each class [classes], with one more example of each: no class is impossible."""
    counts = np.bincount(targets, minlength=classes) + 1.0
    return np.asarray(counts / counts.sum(), dtype=np.float32)


def log_loss(probabilities: FloatArray, targets: IntArray) -> float:
    """Mean negative log probability of the annotated label, in nats."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())
