"""Which data sets a fusion learns from, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.learning import FusionJob, Labelled
from erc_cli.metrics import class_prior
from erc_cli.types import Modality
from erc_fusion_m2fnet.inputs import Dialogue, dialogues_of, known_targets
from erc_fusion_m2fnet.lending import Lender, lend, lending, open_lenders
from erc_fusion_m2fnet.settings import Kind, Settings
from erc_fusion_m2fnet.shape import Shape

if TYPE_CHECKING:
    from erc_cli.types import FloatArray


@dataclass(frozen=True, slots=True)
class Material:
    """Train and dev dialogues of all data sets, and the shares of the classes [classes] in train.

    They have what `lenders` lend, too: `train` one draw of it, `dev` the only one.
    """

    train: Sequence[Dialogue]
    dev: Sequence[Dialogue]
    prior: FloatArray
    lenders: Sequence[Lender] = ()


def read_material(job: FusionJob, modalities: Sequence[Modality], kind: Kind, lent_f1: float) -> Material:
    """Features of the job's data sets. Each has all `modalities`, but those that are lent by label.

    Raises:
        UsageError: a data set lacks a modality, a split has no labels, or a lender cannot lend.
        ErcError: a feature is NaN or infinite.
    """
    homes = lending(job.data, modalities)
    own = [m for m in modalities if m not in homes]
    names = paired({n: has for n, has in job.data.items() if n not in homes.values()}, own, kind)

    def labelled(name: str, split: str) -> Labelled:
        return job.labelled(name, split, own)

    train, dev = (gathered(names, split, labelled) for split in ("train", "dev"))
    prior = class_prior(known_targets(train), len(job.labels))
    lenders = open_lenders(job, homes, prior, lent_f1)
    train, dev = (
        lend(dialogues, side, np.random.default_rng(job.seed))
        for dialogues, side in ((train, lenders.train), (dev, lenders.dev))
    )
    return Material(train, dev, prior, lenders.train)


def gathered(
    names: Sequence[str], split: str, labelled: Callable[[str, str], Labelled]
) -> Sequence[Dialogue]:
    """The labelled dialogues of a split of every data set.

    Raises:
        UsageError: a data set has none.
        ErcError: a feature is NaN or infinite.
    """
    found: list[Dialogue] = []
    for name in names:
        dialogues = dialogues_of(labelled(name, split), f"{name}, {split}")
        if not dialogues:
            raise UsageError(
                f"train.fusion: no labelled utterances in the {split} split of {name}.",
                hint=f"Look at the files: erc data check {name}:PATH",
            )
        found += dialogues
    return found


def paired(
    data: Mapping[str, Collection[Modality]], modalities: Collection[Modality], kind: Kind
) -> tuple[str, ...]:
    """The data sets, if each has all `modalities` of every utterance.

    Raises:
        UsageError: one has not: the network learns how modalities go together, utterance by utterance.
    """
    lacking = {name: [m for m in modalities if m not in has] for name, has in data.items()}
    whole = [name for name, missing in lacking.items() if not missing]
    if not data:
        raise UsageError("train.fusion: there is no data set to learn from.", hint="Add: --data NAME:PATH")
    for name, missing in lacking.items():
        if missing:
            rest = f"--drop {missing[0]}"
            raise UsageError(
                f"train.fusion: {name} has no {' and no '.join(missing)}; {kind} learns from data that has"
                f" {', '.join(modalities)} of the same utterances.",
                hint=f"Type: --set 'train.fusion.data=[{', '.join(whole)}]'" if whole else f"Type: {rest}",
            )
    return tuple(whole)


def shape_of(settings: Settings, widths: Mapping[Modality, int], classes: int) -> Shape:
    """What the settings make of features of these widths.

    Raises:
        UsageError: `residual` without a text branch, or a width that does not divide by the heads.
    """
    if settings.residual and Modality.TEXT not in widths:
        raise UsageError(
            "train.fusion.residual: there is no text branch to begin with.",
            hint="Type: --set train.fusion.residual=false",
        )
    return Shape(
        widths={m: widths[m] for m in Modality if m in widths},
        classes=classes,
        encoders=settings.encoders,
        layers=getattr(settings, "layers", 0),
        heads=settings.attention_heads,
        width=settings.width,
        feed_forward=settings.feed_forward,
        hidden=settings.hidden,
        dropout=settings.dropout,
        positions=settings.positions,
        residual=settings.residual,
    )
