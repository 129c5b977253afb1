"""Scores, calibration, intervals and tests against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from erc_cli import metrics, resampling


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


def test_many_matrices_at_once_give_the_scores_of_each() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 9, (2, 3, 4, 4))
    matrices[0, 0, 2] = matrices[0, 0, :, 2] = 0  # a class that nobody has or says
    found = metrics.figures(metrics.tally(matrices))
    for i, j in np.ndindex(2, 3):
        alone = metrics.scores(matrices[i, j])
        assert {k: found[k][i, j] for k in alone} == pytest.approx(alone)
        rows = metrics.per_class(matrices[i, j])
        for key in ("precision", "recall", "f1"):
            assert found[key][i, j] == pytest.approx([100 * getattr(row, key) for row in rows])


def test_a_class_nobody_has_or_says_scores_zero() -> None:
    rows = metrics.per_class(metrics.confusion(np.array([0, 0]), np.array([0, 0]), 2))
    assert rows[1] == metrics.ClassScore(0.0, 0.0, 0.0, 0)


def test_weighted_f1_agrees_with_always_neutral_on_meld_test() -> None:
    """m2fnet.md, section 7: always neutral gives 31.27 on MELD test's label counts."""
    counts = [1256, 281, 50, 208, 402, 68, 345]
    targets = np.repeat(np.arange(7), counts)
    assert metrics.weighted_f1(targets, np.zeros_like(targets), 7) == pytest.approx(31.27, abs=0.01)


# --- calibration ---------------------------------------------------------------------------


def test_calibration_error() -> None:
    sure = np.array([[0.9, 0.1], [0.9, 0.1]], dtype=np.float32)
    assert metrics.expected_calibration_error(sure, np.array([0, 0])) == pytest.approx(0.1, abs=1e-6)
    assert metrics.expected_calibration_error(sure, np.array([1, 1])) == pytest.approx(0.9, abs=1e-6)


def test_calibration_error_is_the_mean_gap_of_the_reliability_diagram() -> None:
    said = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]], dtype=np.float32)
    targets = np.array([0, 1, 0, 0])
    found = metrics.reliability(said, targets, bins=10)
    assert found.share == pytest.approx([0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0.5])
    assert [found.confidence[i] for i in (5, 9)] == pytest.approx([0.55, 0.95])
    assert [found.accuracy[i] for i in (5, 9)] == pytest.approx([0.5, 0.5])
    ece = metrics.expected_calibration_error(said, targets, bins=10)
    assert ece == pytest.approx(0.5 * 0.05 + 0.5 * 0.45)


def test_a_head_that_speaks_of_another_population_is_calibrated_there() -> None:
    """It says one half each, and is right where the classes are equally many; the data has 90 to 10."""
    targets = np.repeat([0, 1], [90, 10])
    said = np.tile(np.array([[0.5 + 1e-6, 0.5 - 1e-6]], dtype=np.float32), (100, 1))
    even = np.array([0.5, 0.5], dtype=np.float32)
    assert metrics.expected_calibration_error(said, targets) == pytest.approx(0.4, abs=1e-4)
    weights = metrics.prior_weights(targets, even)
    assert weights[:90] == pytest.approx(np.full(90, 0.5 / 0.9))
    assert weights[90:] == pytest.approx(np.full(10, 0.5 / 0.1))
    assert metrics.expected_calibration_error(said, targets, weights=weights) == pytest.approx(0, abs=1e-4)


def test_a_class_without_rows_takes_no_part_in_a_population() -> None:
    weights = metrics.prior_weights(np.array([0, 0, 1]), np.array([0.2, 0.2, 0.6], dtype=np.float32))
    assert weights == pytest.approx([0.3, 0.3, 0.6])


# --- dialogues drawn and swapped -----------------------------------------------------------


def counted(right: list[list[bool]]) -> np.ndarray:
    """Tallies [1, dialogues, 3, 2] of one class that is right or wrong, from dialogues of utterances."""
    targets = np.zeros(sum(map(len, right)), dtype=int)
    predicted = np.array([int(not ok) for dialogue in right for ok in dialogue])
    dialogues = np.repeat(np.arange(len(right)), [len(d) for d in right])
    return resampling.by_dialogue(targets, predicted, dialogues, 2)[None]


def accuracy(tallies: np.ndarray) -> np.ndarray:
    return np.asarray(metrics.figures(tallies)["accuracy"])


def test_bootstrap_resamples_whole_dialogues() -> None:
    """Utterances of a dialogue stay together: with two dialogues, all right or all wrong, a resample
    scores 0, a half or 1 and nothing else."""
    drawn = resampling.bootstrap(counted([[True] * 3, [False] * 3]), repeats=200)
    values = accuracy(drawn)[0]
    assert set(values.tolist()) == {0.0, 50.0, 100.0}
    assert resampling.interval(values) == (0.0, 100.0)
    assert drawn[..., 2, :].sum(axis=-1).tolist() == [[6.0] * 200]


def test_bootstrap_is_the_same_each_time_and_for_every_system() -> None:
    rng = np.random.default_rng(1)
    one = counted([list(rng.random(3) < 0.5) for _ in range(20)])
    other = counted([list(rng.random(3) < 0.5) for _ in range(20)])
    alone = resampling.bootstrap(one, repeats=250)
    both = resampling.bootstrap(np.concatenate([other, one, one]), repeats=250)
    assert (alone[0] == both[1]).all()
    assert (both[1] == both[2]).all()
    low, high = resampling.interval(accuracy(alone)[0])
    assert low < accuracy(one.sum(axis=1))[0] < high


def test_the_swap_test_agrees_with_all_swaps_of_three_dialogues() -> None:
    """A is right in all three dialogues, B in none: of the 8 ways to swap, only 2 are as extreme."""
    best, worst = counted([[True]] * 3), counted([[False]] * 3)
    p = resampling.swap_test(best, worst, accuracy, repeats=20_000)
    assert p == pytest.approx(2 / 8, abs=0.01)
    assert resampling.swap_test(worst, best, accuracy, repeats=500) == pytest.approx(0.25, abs=0.06)


def test_the_swap_test_finds_nothing_where_nothing_is() -> None:
    same = counted([[True, False], [False, True], [True, True]])
    assert resampling.swap_test(same, same, accuracy, repeats=100) == 1.0


def test_the_swap_test_compares_means_over_seeds() -> None:
    """Two seeds whose differences cancel: no difference, however large each is."""
    good, bad = counted([[True]] * 30), counted([[False]] * 30)
    first, second = np.concatenate([good, bad]), np.concatenate([bad, good])
    assert resampling.swap_test(first, second, accuracy, repeats=200) == 1.0
    twice = resampling.swap_test(
        np.concatenate([good, good]), np.concatenate([bad, bad]), accuracy, repeats=200
    )
    assert twice == pytest.approx(1 / 201)


def test_holm() -> None:
    """Holm 1979: sorted, times 4, 3, 2, 1, never below the one before, never above 1."""
    assert resampling.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert resampling.holm([0.6, 0.7]) == [1.0, 1.0]
    assert resampling.holm([]) == []
