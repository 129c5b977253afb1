"""Fits the heads, temperatures and weights of the late pool. Chooses on dev alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.dataset import known_rows
from erc_cli.errors import ErcError, UsageError
from erc_cli.fitting import seed_everything
from erc_cli.learning import FusionJob, Labelled, Progress, Trained
from erc_cli.metrics import class_prior, expected_calibration_error, log_loss, weighted_f1
from erc_cli.types import Conversation, Head, Modality, Utterance
from erc_fusion_late.pool import LatePool, PoolHead, log_softmax

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

BATCH = 128
TEMPERATURES = np.geomspace(0.3, 4.0, 120)
WEIGHTS = np.arange(0, 1.3001, 0.05)


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How a head is fitted to a branch that has none of its own."""

    hidden: int
    epochs: int
    lr: float
    dropout: float
    weight_decay: float
    balance: float
    ensemble: int


def train_pool(job: FusionJob, settings: HeadSettings, unpaired_weight: float) -> Trained:
    """Heads, then temperatures, then weights; writes `fusion.safetensors`."""
    heads: dict[Modality, PoolHead] = {}
    homes = _homes(job)
    for done, (modality, home) in enumerate(homes.items()):
        job.report(Progress("fusion", done, len(homes) + 1, f"head of {modality}"))
        own = job.heads.get(modality)
        dev = known_rows(job.labelled(home, "dev", [modality]))
        # A branch with a head of its own needs no features of the train split, only its labels.
        train = known_rows(job.labelled(home, "train", () if own else [modality]))
        head = _take_over(own) if own else _fit_head(train, modality, len(job.labels), settings, job.seed)
        natural = class_prior(train.targets, len(job.labels))
        heads[modality] = _calibrate(head, dev, modality, natural)
    pairs = [name for name, found in job.data.items() if len(found) > 1]
    joined = {m for name in pairs for m in job.data[name]}
    heads = {m: h if m in joined else replace(h, weight=unpaired_weight) for m, h in heads.items()}
    first = pairs[0] if pairs else next(iter(job.data))
    prior = class_prior(known_rows(job.labelled(first, "train", ())).targets, len(job.labels))
    pool = LatePool(heads, prior)
    job.report(Progress("fusion", len(homes), len(homes) + 1, "weights"))
    if pairs:
        pool = _choose_weights(pool, known_rows(job.labelled(first, "dev", job.data[first])))
    pool.save(job.folder / "fusion.safetensors")
    figures = {name: _figures(pool, known_rows(job.labelled(name, "dev", m))) for name, m in job.data.items()}
    parts = {
        str(m): {"weight": round(h.weight, 3), "temperature": round(h.temperature, 3)}
        for m, h in pool.heads.items()
    }
    job.report(Progress("fusion", len(homes) + 1, len(homes) + 1, "done"))
    return Trained({"weights": "fusion.safetensors"}, {"dev": figures, "heads": parts})


def _homes(job: FusionJob) -> dict[Modality, str]:
    """The data set that each modality's head is fitted and calibrated on.

    Raises:
        UsageError: a modality has none, or two data sets pair modalities: whose weights should hold?
    """
    homes: dict[Modality, str] = {}
    for name, found in job.data.items():
        for modality in sorted(found):
            homes.setdefault(modality, name)
    for modality in job.heads:
        if modality not in homes:
            raise UsageError(
                f"train.fusion: no data set has features for {modality}.",
                hint=f"Give one with --data, or leave the branch out: --drop {modality}",
            )
    pairs = [name for name, found in job.data.items() if len(found) > 1]
    if len(pairs) > 1:
        raise UsageError(
            f"train.fusion: {' and '.join(pairs)} both pair modalities; the weights are chosen on one.",
            hint=f"Type: --set train.fusion.data=[{pairs[0]}]",
        )
    return homes


def _take_over(head: Head) -> PoolHead:
    d = head.weight.shape[1]
    return PoolHead(
        mean=np.zeros(d, dtype=np.float32),
        scale=np.ones(d, dtype=np.float32),
        clip=1e9,
        members=(((head.weight, head.bias),),),
        prior=head.prior,
    )


def _rows(data: Labelled, modality: Modality) -> tuple[FloatArray, IntArray]:
    features = data.features[modality]
    return features.values[features.present], data.targets[features.present]


def _fit_head(
    data: Labelled, modality: Modality, classes: int, settings: HeadSettings, seed: int
) -> PoolHead:
    """An average of small networks, each from its own seed."""
    values, targets = _rows(data, modality)
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
    x = torch.from_numpy(np.clip((values - mean) / scale, -4, 4))
    y = torch.from_numpy(targets)
    prior = class_prior(targets, classes)
    weights = torch.from_numpy(prior**-settings.balance)
    members = tuple(_fit_member(x, y, weights, settings, seed * 100 + i) for i in range(settings.ensemble))
    # Class weights act like another prior: that is what the head's answers are relative to.
    effective = prior ** (1 - settings.balance)
    return PoolHead(
        mean=mean,
        scale=scale,
        clip=4.0,
        members=members,
        prior=(effective / effective.sum()).astype(np.float32),
    )


def _fit_member(
    x: Tensor, y: Tensor, weights: Tensor, settings: HeadSettings, seed: int
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    seed_everything(seed)
    net = nn.Sequential(
        nn.Linear(x.shape[1], settings.hidden),
        nn.ReLU(),
        nn.Dropout(settings.dropout),
        nn.Linear(settings.hidden, len(weights)),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps)
    for _ in range(settings.epochs):
        for chosen in torch.split(torch.randperm(len(x)), BATCH):
            loss = nn.functional.cross_entropy(net(x[chosen]), y[chosen], weight=weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    return tuple((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers)


def _calibrate(head: PoolHead, dev: Labelled, modality: Modality, natural: FloatArray) -> PoolHead:
    """The temperature with the least log loss on dev (Guo et al. 2017).

    A head fitted with class weights speaks relative to another prior than the data's `natural` one;
    its answers are brought back to that before they are compared with dev.
    """
    values, targets = _rows(dev, modality)
    logits, gain = head.logits(values), np.log(natural) - np.log(head.prior)
    losses = [log_loss(np.exp(log_softmax(log_softmax(logits / t) + gain)), targets) for t in TEMPERATURES]
    if not np.isfinite(losses).all():
        raise ErcError(f"train.fusion: the head of {modality} gives no finite probabilities on dev.")
    return replace(head, temperature=float(TEMPERATURES[int(np.argmin(losses))]))


def _conversation(n: int) -> Conversation:
    """The pool reads only the number of utterances."""
    return Conversation((Utterance(0, 0, ""),) * n)


def _choose_weights(pool: LatePool, dev: Labelled) -> LatePool:
    """The weights of the paired modalities with the least log loss on dev, from a grid."""
    names = list(dev.features)
    gains = [pool.gain(name, dev.features[name]) for name in names]
    prior = np.log(pool.prior)
    best, chosen = float("inf"), (1.0,) * len(names)
    for weights in itertools.product(WEIGHTS, repeat=len(names)):
        total = np.sum([w * gain for w, gain in zip(weights, gains, strict=True)], axis=0) + prior
        loss = log_loss(np.exp(log_softmax(total.astype(np.float32))), dev.targets)
        if loss < best - 1e-6:
            best, chosen = loss, weights
    found = dict(zip(names, chosen, strict=True))
    heads = {m: replace(h, weight=float(found.get(m, h.weight))) for m, h in pool.heads.items()}
    return LatePool(heads, pool.prior)


def _figures(pool: LatePool, dev: Labelled) -> Mapping[str, Mapping[str, float]]:
    conversation = _conversation(len(dev.targets))
    systems = {str(m): pool.alone(conversation, m, dev.features[m]) for m in dev.features}
    if len(dev.features) > 1:
        systems["+".join(dev.features)] = pool.predict(conversation, dev.features)
    return {
        name: {
            "weighted_f1": round(weighted_f1(dev.targets, p.argmax(axis=1), p.shape[1]), 2),
            "log_loss": round(log_loss(p, dev.targets), 4),
            "ece": round(expected_calibration_error(p, dev.targets), 4),
        }
        for name, p in systems.items()
    }
