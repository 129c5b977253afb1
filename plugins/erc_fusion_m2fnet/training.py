"""Fits a network to features that stay as they are. Chooses on dev alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.files import atomic_write
from erc_cli.fitting import Plan, fit, seed_everything
from erc_cli.learning import FusionJob, Trained
from erc_cli.metrics import confusion, log_loss, scores
from erc_cli.types import Modality
from erc_fusion_m2fnet.calibration import calibrate, figures, place_of
from erc_fusion_m2fnet.data import Material, read_material, shape_of
from erc_fusion_m2fnet.fusion import NetworkFusion
from erc_fusion_m2fnet.inputs import Batch, Dialogue, absences, collate, padding_waste, shuffled, statistics
from erc_fusion_m2fnet.lending import lend
from erc_fusion_m2fnet.model import FusedModel, answer
from erc_fusion_m2fnet.settings import ConcatSettings, Kind, Settings
from erc_fusion_m2fnet.shape import Shape

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

WEIGHTS = "fusion.safetensors"


def train_fusion(job: FusionJob, settings: ConcatSettings, kind: Kind) -> Trained:
    """Fit `ensemble` networks one after the other, then the temperatures; writes `fusion.safetensors`.

    A finished network is kept in a file until the stage is done.
    """
    modalities = tuple(m for m in Modality if m in job.heads)
    material = read_material(job, modalities, kind, settings.lent_f1)
    first = material.train[0].features
    shape = shape_of(settings, {m: first[m].values.shape[1] for m in modalities}, len(job.labels))
    models = [member(job, settings, kind, shape, material, i) for i in range(settings.ensemble)]
    trained = finish(job, settings, kind, models, material)
    for i in range(settings.ensemble):
        _member_path(job.folder, i).unlink(missing_ok=True)
    return trained


def member(
    job: FusionJob, settings: ConcatSettings, kind: Kind, shape: Shape, material: Material, number: int
) -> FusedModel:
    """One network with its best weights, fitted now or by an earlier run."""
    model = new_model(job, kind, shape, material.prior, seed_of(job.seed, number))
    for modality in shape.widths:
        model.take_statistics(modality, *statistics(material.train, modality))
    path = _member_path(job.folder, number)
    if path.exists():
        model.load_state_dict(load_file(path))
        return model
    _fit(job, settings, model, material, number)
    with atomic_write(path, force=True) as draft:
        draft.write_bytes(save_tensors(model.state_dict()))
    return model


def _fit(
    job: FusionJob, settings: ConcatSettings, model: FusedModel, material: Material, number: int
) -> None:
    seed = seed_of(job.seed, number)
    weights = class_weights(material.prior, settings.balance)
    lent = {one.modality for one in material.lenders}
    paired = frozenset(model.modalities) - lent  # a lent row tells something of the label it was lent for

    def batches(epoch: int) -> Iterator[Batch]:
        train = lend(material.train, material.lenders, np.random.default_rng((seed, epoch, 1)))
        yield from training_batches(train, model.shape.widths, settings, (seed, epoch))

    def loss(batch: Batch) -> Tensor:
        return cross_entropy(model(batch.values, batch.present), judged(batch), weights)

    fit(
        Plan(
            stage="fusion" if settings.ensemble == 1 else f"fusion-{number + 1}",
            model=model,
            optimizer=torch.optim.AdamW(
                model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
            ),
            batches=batches,
            loss=loss,
            score=lambda _: dev_scores(answer([model], material.dev, paired), material.dev),
            epochs=settings.epochs,
            steps=-(-len(material.train) // settings.batch),
            folder=job.folder,
            report=job.report,
            seed=seed,
            average=settings.average,
            settings={**asdict(settings), "shape": model.shape.to_json(), "train": len(material.train)},
        )
    )


def new_model(
    job: FusionJob, kind: Kind, shape: Shape, prior: FloatArray, seed: int, *, needs_head: bool = True
) -> FusedModel:
    """A network with seeded weights, the prior, and the text branch's classifier where it is asked for.

    Raises:
        UsageError: `residual` with a text branch that has no classifier of its own.
    """
    seed_everything(seed)
    model = FusedModel(kind, shape)
    model.take_prior(prior)
    if shape.residual and needs_head:
        head = job.heads.get(Modality.TEXT)
        if head is None:
            raise UsageError(
                "train.fusion.residual: the text branch has no classifier of its own.",
                hint="Type: --set train.fusion.residual=false",
            )
        model.take_head(head)
    return model


def finish(
    job: FusionJob, settings: Settings, kind: Kind, models: Sequence[FusedModel], material: Material
) -> Trained:
    """Temperatures, weights on disk, figures on dev."""
    modalities = models[0].modalities
    temperatures = calibrate(models, material.dev)
    NetworkFusion(kind, models, temperatures).save(job.folder / WEIGHTS)
    found = figures(models, temperatures, material.dev)
    table = {name: round(float(temperatures[place_of(name.split("+"), modalities)]), 3) for name in found}
    metrics: dict[str, Any] = {
        "dev": found,
        "temperatures": table,
        "padding_waste": round(padding_waste(material.train, settings.batch, job.seed), 4),
        "parameters": sum(p.numel() for p in models[0].parameters()),
    }
    if material.lenders:
        metrics["reliability"] = {str(one.modality): one.reliability for one in material.lenders}
    return Trained({"weights": WEIGHTS}, metrics)


# --- one step ------------------------------------------------------------------------------


def training_batches(
    train: Sequence[Dialogue],
    widths: Mapping[Modality, int],
    settings: Settings,
    seed: tuple[int, int],
) -> Iterator[Batch]:
    """An epoch: dialogues of like length together, some of them without some modalities."""
    generator = np.random.default_rng(seed)
    for chosen in shuffled(train, settings.batch, generator):
        batch = collate([train[i] for i in chosen], widths)
        yield batch.without(absences(tuple(widths), len(chosen), settings.modality_dropout, generator))


def judged(batch: Batch) -> Tensor:
    """The targets [b, k]; -1 also where nothing is present: there the answer is the prior anyhow."""
    some = torch.stack(list(batch.present.values())).any(0)
    return batch.targets.masked_fill(~some, -1)


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over the utterances of a batch that have a target, each with its class's weight [classes]."""
    known = targets >= 0
    each = nn.functional.cross_entropy(logits[known], targets[known], weight=weights, reduction="sum")
    # Not reduction="mean": a batch without any target would be 0 / 0.
    return each / weights[targets[known]].sum().clamp(min=1e-8)


def class_weights(prior: FloatArray, balance: float) -> Tensor:
    """Weights [classes] that a mean example has 1 of."""
    raw = prior.astype(np.float64) ** -balance
    return torch.from_numpy(raw / (raw * prior).sum()).float()


def dev_scores(said: Sequence[FloatArray], dev: Sequence[Dialogue]) -> dict[str, float]:
    """Accuracy, weighted and macro F1 in percent, and log loss, of log probabilities per dialogue."""
    targets = np.concatenate([one.targets for one in dev])
    chosen = np.concatenate(said)[targets >= 0]
    known = targets[targets >= 0]
    matrix = confusion(known, chosen.argmax(axis=1), chosen.shape[1])
    found = {name: round(value, 3) for name, value in scores(matrix).items()}
    return {**found, "log_loss": round(log_loss(np.exp(chosen), known), 4)}


def seed_of(seed: int, number: int) -> int:
    """Members of an ensemble differ, and so do the ensembles of two seeds."""
    return seed * 100 + number


def _member_path(folder: Path, number: int) -> Path:
    return folder / f"fusion-member-{number + 1}.safetensors"
