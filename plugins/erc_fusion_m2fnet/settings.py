"""Options of the trainers. Their fields are the schema of `train.fusion` in a preset."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from erc_cli.learning import FusionJob, JointJob, Trained
from erc_cli.options import Between

Kind = Literal["m2fnet", "concat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both networks share. The paper's values for MELD, where it gives any, are the defaults.

    `encoders`: N, transformer encoders per modality. `attention_heads`: of every attention. `width`: all
    modalities are projected to it; none: each keeps its own, rounded up to a multiple of them.
    `feed_forward`, `hidden`: units inside an encoder and between the two last layers. `positions`:
    sinusoids are added to the features. `modality_dropout`: share of dialogues that are shown to
    the network with a random part of their modalities. `residual` (not in the paper): the network
    learns what to add to the text branch's own logits, and begins with nothing. `balance` 0..1
    weights classes by their frequency to the power -balance. `batch`: dialogues per step.
    `average`: decay per step of the averaged weights. `ensemble`: networks whose answers are averaged.
    """

    encoders: Annotated[int, Between(0)] = 1
    attention_heads: Annotated[int, Between(1)] = 4
    width: Annotated[int, Between(1)] | None = None
    feed_forward: Annotated[int, Between(1)] = 512
    hidden: Annotated[int, Between(1)] = 256
    dropout: Annotated[float, Between(0.0, 0.9)] = 0.4
    positions: bool = True
    modality_dropout: Annotated[float, Between(0.0, 1.0)] = 0.2
    residual: bool = False
    balance: Annotated[float, Between(0.0, 1.0)] = 0.0
    epochs: Annotated[int, Between(1)] = 20
    lr: Annotated[float, Between(0.0)] = 5e-4
    weight_decay: Annotated[float, Between(0.0)] = 5e-4
    batch: Annotated[int, Between(1)] = 16
    average: Annotated[float, Between(0.0, 1.0)] = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatSettings(Settings):
    """`concat`, on features that stay as they are.

    `lent_f1`: weighted F1 in percent that a modality shall be worth alone which no data set pairs with
    words, see `erc_fusion_m2fnet.lending`; the default is the paper's figure for faces on MELD (table 2).
    """

    ensemble: Annotated[int, Between(1)] = 1
    lent_f1: Annotated[float, Between(0.0, 100.0)] = 32.44


@dataclass(frozen=True, slots=True, kw_only=True)
class M2FNetSettings(ConcatSettings):
    """`m2fnet`: `layers` is m, the number of fusion attention modules."""

    layers: Annotated[int, Between(1)] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatJointSettings(Settings):
    """`concat` with branches: the loss is CE(fused) + `branch_weight` · CE(each branch's own)."""

    branch_weight: Annotated[float, Between(0.0)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class M2FNetJointSettings(ConcatJointSettings):
    """`m2fnet` with branches: `layers` as above."""

    layers: Annotated[int, Between(1)] = 5


def train_with(kind: Kind, settings: type[ConcatSettings]) -> Callable[..., Trained]:
    """The function `train(job, *, …)` whose options are the fields of `settings`."""

    def train(job: FusionJob, **options: Any) -> Trained:
        from erc_fusion_m2fnet.training import train_fusion

        return train_fusion(job, settings(**options), kind)

    return _taking(train, settings)


def joint_with(kind: Kind, settings: type[ConcatJointSettings]) -> Callable[..., Trained]:
    """The function `joint(job, *, …)` whose options are the fields of `settings`."""

    def joint(job: JointJob, **options: Any) -> Trained:
        from erc_fusion_m2fnet.joint import train_jointly

        return train_jointly(job, settings(**options), kind)

    return _taking(joint, settings)


def _taking(function: Callable[..., Trained], settings: type[Settings]) -> Callable[..., Trained]:
    """The signature is the schema of options: written once, as fields, and not once per function."""
    job, *_ = inspect.signature(function).parameters.values()
    options = inspect.signature(settings).parameters.values()
    cast("Any", function).__signature__ = inspect.Signature([job, *options])
    function.__doc__ = settings.__doc__
    return function
