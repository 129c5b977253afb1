"""Features of a modality that no data set pairs with words, lent to utterances by their label.

Faces are at hand with labels, but not with conversations. An utterance is given the features of some picture;
with probability `reliability` of one with its own label, else of any. So the network learns how to use
the modality, and, by the reliability, how little to trust it: at 1 it would believe that the face always says
what the annotators heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.learning import FusionJob, Labelled
from erc_cli.metrics import tally, weighted_f1_of
from erc_cli.types import Features, Head, Modality, Status
from erc_fusion_m2fnet.inputs import Dialogue, check_finite

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

STEPS = 1000  # reliabilities tried


@dataclass(frozen=True, slots=True)
class Lender:
    """Rows `values` float32 [n, d] with `targets` [n]; `prior` float64 [classes]: the borrowers' shares."""

    modality: Modality
    values: FloatArray
    targets: IntArray
    prior: FloatArray
    reliability: float

    def lend(self, dialogues: Sequence[Dialogue], generator: np.random.Generator) -> list[Dialogue]:
        """Copies of the dialogues, each utterance with a row drawn anew."""
        wanted = np.concatenate([one.targets for one in dialogues])
        anyhow = generator.choice(len(self.prior), len(wanted), p=self.prior)
        honest = (generator.random(len(wanted)) < self.reliability) & (wanted >= 0)
        classes = np.where(honest, wanted, anyhow)
        places = np.zeros(len(wanted), dtype=np.int64)
        for label in np.unique(classes):
            rows, here = np.flatnonzero(self.targets == label), classes == label
            places[here] = rows[generator.integers(0, len(rows), here.sum())]
        ends = np.cumsum([len(one) for one in dialogues])
        return [self._given(one, p) for one, p in zip(dialogues, np.split(places, ends[:-1]), strict=True)]

    def _given(self, dialogue: Dialogue, places: IntArray) -> Dialogue:
        k = len(places)
        lent = Features(self.values[places], np.ones(k, dtype=bool), (Status.OK,) * k)
        return replace(dialogue, features={**dialogue.features, self.modality: lent})


@dataclass(frozen=True, slots=True)
class Lenders:
    """For train and for dev: from different rows, so that dev asks about rows that the network never saw."""

    train: Sequence[Lender] = ()
    dev: Sequence[Lender] = ()


def lend(
    dialogues: Sequence[Dialogue], lenders: Sequence[Lender], generator: np.random.Generator
) -> Sequence[Dialogue]:
    """What all lenders add."""
    for lender in lenders:
        dialogues = lender.lend(dialogues, generator)
    return dialogues


def lending(data: Mapping[str, frozenset[Modality]], modalities: Sequence[Modality]) -> dict[Modality, str]:
    """The modalities that no data set pairs with the first of `modalities`, and a data set of each alone.

    Raises:
        UsageError: several data sets could lend one modality.
    """
    first, *others = modalities
    paired = {m for has in data.values() if first in has for m in has}
    alone: dict[Modality, list[str]] = {}
    for name, has in data.items():
        if len(has) == 1:
            alone.setdefault(next(iter(has)), []).append(name)
    wanted = {m: alone[m] for m in others if m not in paired and m in alone}
    for modality, names in wanted.items():
        if len(names) > 1:
            rest = [name for name in data if name not in names[1:]]
            raise UsageError(
                f"train.fusion: {' and '.join(names)} both have {modality} to lend; one can.",
                hint=f"Type: --set 'train.fusion.data=[{', '.join(rest)}]'",
            )
    return {modality: names[0] for modality, names in wanted.items()}


def open_lenders(job: FusionJob, homes: Mapping[Modality, str], prior: FloatArray, score: float) -> Lenders:
    """Rows of the dev splits, which the branches were not fitted to: half for train, half for dev.

    Each has the reliability at which the modality alone reaches `score`, weighted F1 in percent.

    Raises:
        UsageError: a branch has no classifier of its own, a class has fewer than two rows, or the score
            cannot be reached.
        ErcError: a feature is NaN or infinite.
    """
    shares = prior.astype(np.float64) / prior.sum(dtype=np.float64)
    pairs = [_lenders_of(job, modality, name, shares, score) for modality, name in homes.items()]
    return Lenders([first for first, _ in pairs], [second for _, second in pairs])


def _lenders_of(
    job: FusionJob, modality: Modality, name: str, prior: FloatArray, score: float
) -> tuple[Lender, Lender]:
    head = job.heads[modality]
    if head is None:
        raise UsageError(
            f"train.fusion: {name} has {modality} without the other modalities, and the branch of {modality}"
            " has no classifier of its own to tell how far to trust it.",
            hint=f"Type: --set fusion.use=late, or --drop {modality}",
        )
    data = job.labelled(name, "dev", [modality])
    check_finite(modality, data.features[modality], f"{name}, dev")
    values, targets = _rows(data, modality)
    few = [label for i, label in enumerate(job.labels) if (targets == i).sum() < 2 and prior[i] > 0]
    if few:
        raise UsageError(
            f"train.fusion: the dev split of {name} has fewer than two examples of {', '.join(few)}.",
            hint=f"Give a larger one, or leave the branch out: --drop {modality}",
        )
    halves = _halves(targets)
    reliability = find_reliability(head, values, targets, prior, score)
    first, second = (Lender(modality, values[h], targets[h], prior, reliability) for h in halves)
    return first, second


def _rows(data: Labelled, modality: Modality) -> tuple[FloatArray, IntArray]:
    features = data.features[modality]
    known = features.present & (data.targets >= 0)
    return features.values[known], data.targets[known]


def _halves(targets: IntArray) -> tuple[IntArray, IntArray]:
    """Every second row of each class: both halves have all classes."""
    by_class = np.argsort(targets, kind="stable")
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def find_reliability(
    head: Head, values: FloatArray, targets: IntArray, prior: FloatArray, score: float
) -> float:
    """The least reliability at which lent rows alone are worth `score`, weighted F1 in percent.

    By Bayes' rule a row x, whose label is the utterance's with probability r and any of the borrowers'
    else, speaks for class c by prior[c] · ((1 - r) + r · g[c]), where g[c] is p(x|c) over the mean of
    p(x|k) by prior[k]; p(x|c) is the head's p(c|x) over its own p(c), but for a factor that is the same for
    every c. The F1 is the expected one, nothing is drawn.

    Raises:
        UsageError: not even perfectly reliable rows are worth it.
    """
    logits = values @ head.weight.T + head.bias
    likely = np.exp(logits - logits.max(axis=1, keepdims=True)) / np.maximum(head.prior, 1e-6)
    gains = likely / (likely @ prior)[:, None]
    found = 0.0
    for reliability in np.linspace(0, 1, STEPS + 1):
        said = (prior * (1 - reliability + reliability * gains)).argmax(axis=1)
        found = expected_f1(said, targets, prior, float(reliability))
        if found >= score:
            return float(reliability)
    raise UsageError(
        f"train.fusion.lent_f1: lent features alone reach {found:.1f} at most, not {score:g}.",
        hint=f"Type: --set fusion.lent_f1={found - 0.05:.1f}",
    )


def expected_f1(said: IntArray, targets: IntArray, prior: FloatArray, reliability: float) -> float:
    """Weighted F1 in percent of what rows say, lent to utterances with these shares of the classes."""
    classes = len(prior)
    shown = np.zeros((classes, classes))
    np.add.at(shown, (targets, said), 1)
    shown /= np.maximum(shown.sum(axis=1, keepdims=True), 1)
    matrix = prior[:, None] * (reliability * shown + (1 - reliability) * (prior @ shown))
    return float(weighted_f1_of(tally(matrix)))
