"""`late`: one head per modality at its own temperature, joined by a weighted log-opinion pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import FusionJob, Trained
from erc_cli.specs import FusionSpec
from erc_cli.types import Fusion


def build(*, weights: Path) -> Fusion:
    """The pool with the heads, temperatures, priors and weights of a trained preset."""
    from erc_fusion_late.pool import LatePool

    return LatePool.load(weights)


def train(
    job: FusionJob,
    *,
    unpaired_weight: float = 0.3,
    hidden: int = 128,
    epochs: int = 30,
    lr: float = 3e-3,
    dropout: float = 0.3,
    weight_decay: float = 1e-2,
    balance: float = 0.0,
    ensemble: int = 5,
) -> Trained:
    """Fit a head for every branch without one, then temperatures and weights on dev.

    `unpaired_weight` is the weight of a modality that no data set pairs with another, so that its
    weight cannot be chosen by data. `balance` 0..1 weights classes by their frequency to the
    power -balance while a head is fitted; `ensemble` heads are averaged.
    """
    from erc_fusion_late.training import HeadSettings, train_pool

    settings = HeadSettings(hidden, epochs, lr, dropout, weight_decay, balance, ensemble)
    return train_pool(job, settings, unpaired_weight)


@hookimpl
def erc_fusions() -> Sequence[FusionSpec]:
    """The fusion `late`."""
    return [
        FusionSpec(
            name="late",
            summary="one head per modality and a weighted log-opinion pool",
            build=build,
            train=train,
        )
    ]
