"""The weighted log-opinion pool (Genest and Zidek 1986), with each modality's prior taken out.

    log p(y) = log π(y) + Σ_m w_m · (log p_m(y) - log π_m(y)) + constant

p_m is modality m's opinion at its temperature, π_m the prior of the data that its head was trained on,
π the prior of the conversations. A missing modality is left out of the sum; with none left the
answer is π. Everything here is numpy: heads are a few small matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import ErcError
from erc_cli.types import Conversation, Features, Modality
from erc_cli.weights import read_weights, write_weights

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

SCHEMA = "erc.late/1"


def log_softmax(logits: FloatArray) -> FloatArray:
    """Row-wise log softmax of [n, classes]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result.astype(np.float32)


@dataclass(frozen=True, slots=True)
class PoolHead:
    """One modality's classifier: an average of `members` networks with at most one hidden layer.

    `mean`, `scale` [d] standardise the input, which is then clipped to ±`clip`; each member is a
    tuple of (weight [out, in], bias [out]) layers with ReLU between. `temperature` divides the
    logits; `prior` [classes] is that of the head's training data; `weight` is w_m.
    """

    mean: FloatArray
    scale: FloatArray
    clip: float
    members: tuple[tuple[tuple[FloatArray, FloatArray], ...], ...]
    prior: FloatArray
    temperature: float = 1.0
    weight: float = 1.0

    def logits(self, values: FloatArray) -> FloatArray:
        """Uncalibrated logits [n, classes]; the members' log probabilities are averaged."""
        x = np.clip((values - self.mean) / self.scale, -self.clip, self.clip)
        total: FloatArray = np.zeros((len(x), len(self.prior)), dtype=np.float32)
        for layers in self.members:
            h = x
            for place, (weight, bias) in enumerate(layers):
                h = h @ weight.T + bias
                if place < len(layers) - 1:
                    h = np.maximum(h, 0)
            total += log_softmax(h)
        return (total / len(self.members)).astype(np.float32)

    def log_opinion(self, values: FloatArray) -> FloatArray:
        """Log probabilities [n, classes] at the head's temperature."""
        return log_softmax(self.logits(values) / self.temperature)


class LatePool:
    """Heads by modality and the prior π [classes] of the conversations."""

    def __init__(self, heads: Mapping[Modality, PoolHead], prior: FloatArray) -> None:
        self.heads = dict(heads)
        self.prior = prior

    @property
    def reach(self) -> tuple[int, int]:
        """Utterances before and after one that its answer is read from: none."""
        return 0, 0

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> FloatArray:
        """Probabilities [n, classes] from whatever is present in each row."""
        n = len(conversation.utterances)
        total = np.repeat(np.log(self.prior)[None], n, axis=0)
        for modality, rows in features.items():
            total = total + self._head(modality).weight * self.gain(modality, rows)
        return np.exp(log_softmax(total))

    def gain(self, modality: Modality, features: Features) -> FloatArray:
        """log p_m - log π_m [n, classes]: what the modality adds to the prior; 0 where it is absent."""
        head, here = self._head(modality), features.present
        _check_width(modality, head, features)
        gain: FloatArray = np.zeros((len(here), len(self.prior)), dtype=np.float32)
        gain[here] = head.log_opinion(features.values[here]) - np.log(head.prior)
        return gain

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> FloatArray:
        """The modality's own opinion p_m [n, classes]; absent rows get its prior π_m.

        It is relative to π_m: a head fitted with class weights speaks of a flatter world than π's.
        """
        head = self._head(modality)
        _check_width(modality, head, features)
        result = np.repeat(head.prior[None], len(conversation.utterances), axis=0)
        here = features.present
        result[here] = np.exp(head.log_opinion(features.values[here]))
        return result

    def prior_of(self, modality: Modality) -> FloatArray | None:
        """π_m [classes], the prior that `alone` is relative to; None for an unknown modality."""
        return self.heads[modality].prior if modality in self.heads else None

    def _head(self, modality: Modality) -> PoolHead:
        if modality not in self.heads:
            raise ErcError(
                f"The fusion late was trained without {modality}.",
                hint=f"Type: --drop {modality}, or train a preset that has it.",
            )
        return self.heads[modality]

    def save(self, path: Path) -> None:
        """All numbers as one safetensors file."""
        tensors: dict[str, FloatArray] = {"prior": self.prior.astype(np.float32)}
        for modality, head in self.heads.items():
            tensors[f"{modality}.mean"] = head.mean.astype(np.float32)
            tensors[f"{modality}.scale"] = head.scale.astype(np.float32)
            tensors[f"{modality}.prior"] = head.prior.astype(np.float32)
            numbers = [head.clip, head.temperature, head.weight]
            tensors[f"{modality}.clip_temperature_weight"] = np.array(numbers, dtype=np.float32)
            for i, layers in enumerate(head.members):
                for j, (weight, bias) in enumerate(layers):
                    tensors[f"{modality}.member{i}.layer{j}.weight"] = np.ascontiguousarray(
                        weight, np.float32
                    )
                    tensors[f"{modality}.member{i}.layer{j}.bias"] = np.ascontiguousarray(bias, np.float32)
        write_weights(path, tensors, SCHEMA)

    @classmethod
    def load(cls, path: Path) -> LatePool:
        """What `save` wrote.

        Raises:
            ErcError: the file is of another kind or damaged.
        """
        tensors = read_weights(path, SCHEMA).tensors
        names = sorted({name.split(".")[0] for name in tensors if "." in name})
        return cls({Modality(name): _head(tensors, name) for name in names}, tensors["prior"])


def _check_width(modality: Modality, head: PoolHead, features: Features) -> None:
    learnt, given = len(head.mean), features.values.shape[1]
    if learnt != given:
        raise ErcError(
            f"The fusion late learnt {learnt} features of {modality}, and was given {given}.",
            hint=f"Take back the --set {modality}.…, or train the preset so: erc train",
        )


def _head(tensors: Mapping[str, FloatArray], name: str) -> PoolHead:
    members: list[tuple[tuple[FloatArray, FloatArray], ...]] = []
    while f"{name}.member{len(members)}.layer0.weight" in tensors:
        stem = f"{name}.member{len(members)}"
        layers: list[tuple[FloatArray, FloatArray]] = []
        while f"{stem}.layer{len(layers)}.weight" in tensors:
            layer = f"{stem}.layer{len(layers)}"
            layers.append((tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]))
        members.append(tuple(layers))
    clip, temperature, weight = (float(x) for x in tensors[f"{name}.clip_temperature_weight"])
    return PoolHead(
        mean=tensors[f"{name}.mean"],
        scale=tensors[f"{name}.scale"],
        clip=clip,
        members=tuple(members),
        prior=tensors[f"{name}.prior"],
        temperature=temperature,
        weight=weight,
    )
