"""Scores against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from erc_cli import metrics


def test_scores_of_a_small_confusion() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 0, 2])
    matrix = metrics.confusion(targets, predicted, 3)
    assert matrix.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    found = metrics.scores(matrix)
    # F1: class 0 = 2·2/(3+3) = 2/3, class 1 = 2/(2+2) = 1/2, class 2 = 1
    assert found["accuracy"] == pytest.approx(100 * 4 / 6)
    assert found["weighted_f1"] == pytest.approx(100 * (3 * 2 / 3 + 2 * 0.5 + 1) / 6)
    assert found["macro_f1"] == pytest.approx(100 * (2 / 3 + 0.5 + 1) / 3)


def test_a_class_nobody_has_or_says_scores_zero() -> None:
    rows = metrics.per_class(metrics.confusion(np.array([0, 0]), np.array([0, 0]), 2))
    assert rows[1] == metrics.ClassScore(0.0, 0.0, 0.0, 0)


def test_weighted_f1_agrees_with_always_neutral_on_meld_test() -> None:
    """m2fnet.md, section 7: always neutral gives 31.27 on MELD test's label counts."""
    counts = [1256, 281, 50, 208, 402, 68, 345]
    targets = np.repeat(np.arange(7), counts)
    assert metrics.weighted_f1(targets, np.zeros_like(targets), 7) == pytest.approx(31.27, abs=0.01)


def test_calibration_error() -> None:
    sure = np.array([[0.9, 0.1], [0.9, 0.1]], dtype=np.float32)
    assert metrics.expected_calibration_error(sure, np.array([0, 0])) == pytest.approx(0.1, abs=1e-6)
    assert metrics.expected_calibration_error(sure, np.array([1, 1])) == pytest.approx(0.9, abs=1e-6)


def test_bootstrap_resamples_whole_dialogues() -> None:
    """Utterances of a dialogue stay together: with two dialogues, all right or all wrong, a resample
    scores 0, a half or 1 and nothing else."""
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    seen: set[float] = set()

    def share(rows: np.ndarray) -> dict[str, float]:
        seen.add(round(float(right[rows].mean()), 6))
        return {"x": float(right[rows].mean())}

    low, high = metrics.bootstrap(share, np.array([0, 0, 0, 1, 1, 1]), repeats=200)["x"]
    assert seen == {0.0, 0.5, 1.0}
    assert (low, high) == (0.0, 1.0)


def test_bootstrap_is_the_same_each_time() -> None:
    values = np.arange(20.0)

    def mean(rows: np.ndarray) -> dict[str, float]:
        return {"mean": float(values[rows].mean())}

    first = metrics.bootstrap(mean, np.arange(20), repeats=50)
    assert first == metrics.bootstrap(mean, np.arange(20), repeats=50)
    assert first["mean"][0] < values.mean() < first["mean"][1]
