"""How much each modality moved the answer: exact Shapley values over all coalitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.types import Modality

if TYPE_CHECKING:
    from erc_cli.types import BoolArray, FloatArray

Coalition = frozenset[Modality]


def coalitions(modalities: frozenset[Modality]) -> list[Coalition]:
    """Every subset, the empty one first: eight for three modalities."""
    ordered = sorted(modalities)
    sizes = range(len(ordered) + 1)
    return [frozenset(c) for size in sizes for c in itertools.combinations(ordered, size)]


def log_odds(probability: FloatArray) -> FloatArray:
    """log(p / (1 - p)), kept finite."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def shapley(
    answers: Mapping[Coalition, FloatArray], present: Mapping[Modality, BoolArray]
) -> dict[Modality, FloatArray]:
    """Shapley value [n] of each modality for the log-odds of the label that all of them predict.

    `answers`: probabilities [n, classes] of every coalition. A modality that is absent from a
    row has value 0 there. Per row the values sum to the log-odds of the whole minus those of the
    prior (Shapley 1953; efficiency).
    """
    everyone = frozenset(present)
    best = answers[everyone].argmax(axis=1)
    rows = np.arange(len(best))
    worth = {c: log_odds(p[rows, best]) for c, p in answers.items()}
    count = len(everyone)
    values: dict[Modality, FloatArray] = {}
    for modality in everyone:
        total = np.zeros(len(best), dtype=np.float32)
        for coalition in coalitions(everyone - {modality}):
            size = len(coalition)
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            total += share * (worth[coalition | {modality}] - worth[coalition])
        values[modality] = np.where(present[modality], total, 0).astype(np.float32)
    return values
