"""Shapley values against numbers worked out by hand, and their axioms."""

from __future__ import annotations

import numpy as np
import pytest

from erc_cli.attribution import coalitions, log_odds, shapley
from erc_cli.types import Modality

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL


def from_log_odds(value: float) -> list[float]:
    p = 1 / (1 + np.exp(-value))
    return [p, 1 - p]


def answers_of(worth: dict[frozenset[Modality], float]) -> dict[frozenset[Modality], np.ndarray]:
    return {c: np.array([from_log_odds(v)], dtype=np.float32) for c, v in worth.items()}


def test_there_are_eight_coalitions_of_three() -> None:
    found = coalitions(frozenset(Modality))
    assert len(found) == len(set(found)) == 8
    assert found[0] == frozenset()


def test_two_players_by_hand() -> None:
    worth = {
        frozenset(): 0.5,
        frozenset({TEXT}): 2.0,
        frozenset({AUDIO}): 1.0,
        frozenset({TEXT, AUDIO}): 3.0,
    }
    here = {TEXT: np.array([True]), AUDIO: np.array([True])}
    values = shapley(answers_of(worth), here)
    # text: ((2 - 0.5) + (3 - 1)) / 2 = 1.75; audio: ((1 - 0.5) + (3 - 2)) / 2 = 0.75
    assert values[TEXT][0] == pytest.approx(1.75, abs=1e-4)
    assert values[AUDIO][0] == pytest.approx(0.75, abs=1e-4)


def test_values_add_up_and_the_absent_get_nothing() -> None:
    generator = np.random.default_rng(1)
    answers = {}
    for coalition in coalitions(frozenset(Modality)):
        raw = generator.random((5, 4)).astype(np.float32)
        answers[coalition] = raw / raw.sum(axis=1, keepdims=True)
    # in row 2 there is no face: whoever joins it changes nothing
    for coalition in coalitions(frozenset({TEXT, AUDIO})):
        answers[coalition | {VISUAL}][2] = answers[coalition][2]
    here = {m: np.ones(5, dtype=bool) for m in Modality}
    here[VISUAL][2] = False
    values = shapley(answers, here)
    best = answers[frozenset(Modality)].argmax(axis=1)
    rows = np.arange(5)
    whole, prior = answers[frozenset(Modality)][rows, best], answers[frozenset()][rows, best]
    np.testing.assert_allclose(sum(values.values()), log_odds(whole) - log_odds(prior), atol=1e-4)
    assert values[VISUAL][2] == 0
    assert values[VISUAL][1] != 0
