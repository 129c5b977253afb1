"""One temperature per subset of modalities, with the least log loss on dev (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.metrics import confusion, expected_calibration_error, log_loss, scores
from erc_cli.types import Modality
from erc_fusion_m2fnet.inputs import Dialogue
from erc_fusion_m2fnet.model import FusedModel, answer

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

TEMPERATURES = np.geomspace(0.25, 8.0, 121).astype(np.float32)
#: fewer dev utterances than this cannot tell a subset's temperature: it takes that of all together
FEW = 50


def subsets(modalities: Sequence[Modality]) -> list[tuple[Modality, ...]]:
    """Every subset but the empty one, the whole last."""
    sizes = range(1, len(modalities) + 1)
    return [chosen for size in sizes for chosen in combinations(modalities, size)]


def place_of(present: Collection[str], modalities: Sequence[Modality]) -> int:
    """Where a subset's temperature stands in the table: bit i for the i-th of `modalities`."""
    return sum(1 << i for i, m in enumerate(modalities) if m in present)


def places(dialogue: Dialogue, modalities: Sequence[Modality]) -> IntArray:
    """Which subset each utterance has, int [k], as `place_of` counts; 0 is nothing."""
    found = np.zeros(len(dialogue), dtype=np.int64)
    for i, m in enumerate(modalities):
        if m in dialogue.features:
            found |= dialogue.features[m].present.astype(np.int64) << i
    return found


def soften(log_probabilities: FloatArray, temperatures: FloatArray) -> FloatArray:
    """Probabilities [n, classes] at each row's temperature [n]."""
    scaled = log_probabilities / temperatures[:, None]
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: FloatArray = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def calibrate(models: Sequence[FusedModel], dev: Sequence[Dialogue]) -> FloatArray:
    """Temperatures [2 ** modalities] by `place_of`; the empty subset's is 1."""
    modalities = models[0].modalities
    whole = 2 ** len(modalities) - 1
    table = np.ones(whole + 1, dtype=np.float32)
    had = np.concatenate([places(one, modalities) for one in dev])
    targets = np.concatenate([one.targets for one in dev])
    for chosen in reversed(subsets(modalities)):  # the whole first
        place = place_of(chosen, modalities)
        # An utterance that has more counts too: it is answered as if it had these alone.
        rows = (targets >= 0) & (had & place == place)
        if rows.sum() < FEW:
            table[place] = table[whole]
            continue
        said = np.concatenate(answer(models, dev, frozenset(chosen)))[rows]
        table[place] = _best(said, targets[rows])
    return table


def _best(said: FloatArray, targets: IntArray) -> float:
    losses = [log_loss(soften(said, np.full(len(said), t)), targets) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def figures(
    models: Sequence[FusedModel], temperatures: FloatArray, dev: Sequence[Dialogue]
) -> dict[str, dict[str, float]]:
    """Figures of every subset on all labelled utterances of dev, by `text+audio`."""
    modalities = models[0].modalities
    targets = np.concatenate([one.targets for one in dev])
    had = np.concatenate([places(one, modalities) for one in dev])
    found = {}
    for chosen in subsets(modalities):
        said = np.concatenate(answer(models, dev, frozenset(chosen)))
        place = place_of(chosen, modalities)
        p = soften(said, temperatures[had & place])[targets >= 0]
        y = targets[targets >= 0]
        matrix = confusion(y, p.argmax(axis=1), p.shape[1])
        found["+".join(chosen)] = {
            **{name: round(value, 2) for name, value in scores(matrix).items()},
            "log_loss": round(log_loss(p, y), 4),
            "ece": round(expected_calibration_error(p, y), 4),
        }
    return found
