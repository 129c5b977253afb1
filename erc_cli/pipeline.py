"""From a conversation and its medium to predictions: extract each branch, fuse, attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.attribution import coalitions, shapley
from erc_cli.device import FUSION, Placement, check_precision, placements_of
from erc_cli.errors import ErcError
from erc_cli.learning import Progress, Report
from erc_cli.preset import Preset, build_extractor, build_fusion
from erc_cli.reading import branches_of, check_any, read_media
from erc_cli.types import (
    Conversation,
    Extractor,
    Features,
    Fusion,
    MediaInfo,
    Modality,
    Notice,
    Opinion,
    Prediction,
    Status,
)

if TYPE_CHECKING:
    from erc_cli.registry import Registry
    from erc_cli.types import FloatArray


@dataclass(frozen=True, slots=True)
class Model:
    """A preset, built: extractors by modality and the fusion; `dropped` were left out by name.

    `placements`: by stage (a modality, or `fusion`) where it runs and in which precision.
    """

    labels: tuple[str, ...]
    extractors: Mapping[Modality, Extractor]
    fusion: Fusion
    requires: frozenset[Modality] = frozenset()
    dropped: frozenset[Modality] = frozenset()
    placements: Mapping[str, Placement] = field(default_factory=dict)


def load_model(
    preset: Preset,
    registry: Registry,
    *,
    device: str = "cpu",
    precision: str | None = None,
    dropped: frozenset[Modality] = frozenset(),
) -> Model:
    """Build every part of a preset; `precision` None: fp32, or what an extractor's own option says.

    Raises:
        UsageError: the device has not that precision.
        ErcError: a library or a file that a part needs is missing.
    """
    check_precision(precision, device)
    given = {"device": device, "precision": precision, "labels": preset.labels}
    extractors = {m: build_extractor(use, registry, **given) for m, use in preset.extractors.items()}
    dims, heads = {m: e.dim for m, e in extractors.items()}, {m: e.head for m, e in extractors.items()}
    fusion = build_fusion(preset.fusion, registry, **given, dims=dims, heads=heads)
    parts = {**{str(m): e for m, e in extractors.items()}, FUSION: fusion}
    return Model(
        labels=preset.labels,
        extractors=extractors,
        fusion=fusion,
        requires=registry.fusion(preset.fusion.name).requires,
        dropped=dropped,
        placements=placements_of(preset, registry, parts, device, precision),
    )


def priors_of(model: Model) -> dict[Modality, FloatArray]:
    """Class shares [classes] that each modality's own probabilities are relative to, where stated."""
    ask = getattr(model.fusion, "prior_of", None)
    if ask is None:
        return {}
    found = {m: ask(m) for m in model.extractors}
    return {m: prior for m, prior in found.items() if prior is not None}


def extract(
    extractors: Mapping[Modality, Extractor],
    conversation: Conversation,
    media: MediaInfo | None,
    *,
    report: Report = lambda progress: None,
    warn: Callable[[Notice], None] = lambda notice: None,
) -> dict[Modality, Features]:
    """Features of every branch, from one pass over the medium.

    An utterance or a branch that raises is told through `warn` and is not present; all else goes on.

    Raises:
        ErcError: every branch failed.
    """
    branches = branches_of(extractors, len(conversation.utterances))
    for _ in read_media(branches, conversation, media, report, warn):
        pass
    features = {}
    for done, (modality, branch) in enumerate(branches.items()):
        report(Progress("features", done, len(branches), str(modality)))
        features[modality] = branch.finish(conversation)
        for notice in branch.notices():
            warn(notice)
    report(Progress("features", len(branches), len(branches), ""))
    check_any(branches)
    return features


def fuse(
    model: Model, conversation: Conversation, features: Mapping[Modality, Features]
) -> tuple[Prediction, ...]:
    """Fused probabilities, each modality's own, and exact contributions."""
    if not conversation.utterances:
        return ()
    everyone = frozenset(features)
    absent = model.requires - everyone
    if absent:
        raise ErcError(f"The fusion needs {', '.join(sorted(absent))}.", hint="Do not drop it.")
    answers = {c: _answer(model, conversation, features, c) for c in coalitions(everyone)}
    values = shapley(answers, {m: f.present for m, f in features.items()})
    own = {m: model.fusion.alone(conversation, m, f) for m, f in features.items()}
    fused = answers[everyone]
    return tuple(
        Prediction(_row(fused, i), _opinions(model, features, own, values, i))
        for i in range(len(conversation.utterances))
    )


def _answer(
    model: Model,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    coalition: frozenset[Modality],
) -> FloatArray:
    """What a coalition says; one without a modality that the fusion requires says the prior."""
    usable = coalition if model.requires <= coalition else frozenset[Modality]()
    return model.fusion.predict(conversation, {m: features[m] for m in features if m in usable})


def _opinions(
    model: Model,
    features: Mapping[Modality, Features],
    own: Mapping[Modality, FloatArray],
    values: Mapping[Modality, FloatArray],
    i: int,
) -> dict[Modality, Opinion]:
    opinions: dict[Modality, Opinion] = {}
    for modality in Modality:
        if modality in model.dropped:
            opinions[modality] = Opinion(Status.DROPPED)
        elif modality in features:
            status = features[modality].status[i]
            detail = features[modality].detail[i] if features[modality].detail else {}
            if status is Status.OK:
                contribution = float(values[modality][i])
                opinions[modality] = Opinion(status, _row(own[modality], i), contribution, detail)
            else:
                opinions[modality] = Opinion(status, detail=detail)
    return opinions


def _row(probabilities: FloatArray, i: int) -> tuple[float, ...]:
    row = probabilities[i].astype(np.float64)
    return tuple((row / row.sum()).tolist())
