"""Fits branches and fusion together: features that never have seen their labels apart from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.errors import ErcError
from erc_cli.fitting import Plan, fit
from erc_cli.learning import JointBranch, JointJob, Labelled, Trained
from erc_cli.metrics import class_prior
from erc_cli.types import Features, Head, Modality, Status, Utterance
from erc_fusion_m2fnet.data import Material, gathered, paired, shape_of
from erc_fusion_m2fnet.inputs import (
    Batch,
    Dialogue,
    absences,
    collate,
    in_order,
    known_targets,
    shuffled,
    statistics,
)
from erc_fusion_m2fnet.model import FusedModel
from erc_fusion_m2fnet.settings import ConcatJointSettings, Kind
from erc_fusion_m2fnet.training import class_weights, cross_entropy, dev_scores, finish, judged, new_model

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

#: dialogues whose features tell, before the first step, how wide they spread
GLANCE = 64
EVALUATION_BATCH = 16


@dataclass(frozen=True, slots=True)
class Joined:
    """A dialogue and what each branch's `forward` wants of it."""

    dialogue: Dialogue
    inputs: Mapping[Modality, object]


@dataclass(frozen=True, slots=True)
class Step:
    """A batch with features [b, k, d] in place, and each branch's own logits [b, k, classes]."""

    batch: Batch
    own: Mapping[Modality, Tensor]


class JointModel(nn.Module):
    """Everything that is fitted, as one module: one checkpoint, one average of weights."""

    def __init__(self, fused: FusedModel, branches: Mapping[Modality, JointBranch]) -> None:
        super().__init__()
        self.fused = fused
        self.networks = nn.ModuleDict({str(m): branch.network for m, branch in branches.items()})
        self._branches = dict(branches)

    def forward(self, joined: Sequence[Joined]) -> Step:
        """The branches' features of some dialogues, beside those that are ready."""
        batch = collate([one.dialogue for one in joined], self.fused.shape.widths)
        values, present, own = dict(batch.values), dict(batch.present), {}
        for modality, branch in self._branches.items():
            features, logits = branch.forward([one.inputs[modality] for one in joined])
            values[modality] = _padded(features, batch.real)
            own[modality] = _padded(logits, batch.real)
            present[modality] = _words(joined, batch.real) if modality is Modality.TEXT else batch.real
        return Step(Batch(values, present, batch.targets, batch.real), own)

    def fuse(self, step: Step) -> Tensor:
        """Fused logits [b, k, classes]."""
        logits: Tensor = self.fused(step.batch.values, step.batch.present, step.own.get(Modality.TEXT))
        return logits


def train_jointly(job: JointJob, settings: ConcatJointSettings, kind: Kind) -> Trained:
    """Fit all, leave the branches' networks with the best weights, write `fusion.safetensors`.

    The loss is CE(fused) + `branch_weight` · CE(each branch's own logits), each a mean over utterances.
    """
    material = _material(job, kind)
    train = _joined(job, material.train)
    dev = _joined(job, material.dev)
    model = _new_model(job, settings, kind, train, material.prior)
    best = _fit(job, settings, model, train, dev)
    model.eval()
    if model.fused.shape.residual:
        model.fused.take_head(_own_head(model, [*dev, *train]))
    ready = Material(material.train, _with_features(model, dev), material.prior)
    trained = finish(job.fusion, settings, kind, [model.fused], ready)
    own = {str(m): best[f"{m}_weighted_f1"] for m in job.branches}
    return Trained(trained.options, {**trained.metrics, "best": best, "branches_own": own})


# --- material ------------------------------------------------------------------------------


def _material(job: JointJob, kind: Kind) -> Material:
    """Words and labels of all dialogues, beside the features of branches that stay as they are."""
    others = tuple(m for m in Modality if m in job.fusion.heads and m not in job.branches)
    names = paired(job.fusion.data, others, kind)

    def labelled(name: str, split: str) -> Labelled:
        if others:
            return job.fusion.labelled(name, split, others)
        found = job.read(name, split)
        targets = np.array([t for row in found.targets for t in row], dtype=np.int64)
        dialogues = np.repeat(np.arange(len(found.targets)), [len(row) for row in found.targets])
        return Labelled(targets, dialogues, found.conversations, {})

    train, dev = (gathered(names, split, labelled) for split in ("train", "dev"))
    return Material(train, dev, class_prior(known_targets(train), len(job.fusion.labels)))


def _joined(job: JointJob, dialogues: Sequence[Dialogue]) -> list[Joined]:
    return [
        Joined(one, {m: branch.inputs(one.conversation) for m, branch in job.branches.items()})
        for one in dialogues
    ]


def _new_model(
    job: JointJob,
    settings: ConcatJointSettings,
    kind: Kind,
    train: Sequence[Joined],
    prior: FloatArray,
) -> JointModel:
    """The fusion as it begins: standardised by how wide the untrained branches' features spread."""
    ready = train[0].dialogue.features
    widths = {m: f.values.shape[1] for m, f in ready.items()}
    widths |= {m: branch.dim for m, branch in job.branches.items()}
    shape = shape_of(settings, widths, len(job.fusion.labels))
    # The base of `residual` is the text branch's living head, unless text is not fitted along.
    needs_head = Modality.TEXT not in job.branches
    fused = new_model(job.fusion, kind, shape, prior, job.fusion.seed, needs_head=needs_head)
    model = JointModel(fused, job.branches)
    for modality in ready:
        fused.take_statistics(modality, *statistics([one.dialogue for one in train], modality))
    few = train[:: max(1, len(train) // GLANCE)]
    seen = _with_features(model.eval(), few)
    for modality in job.branches:
        fused.take_statistics(modality, *statistics(seen, modality))
    return model


# --- fitting -------------------------------------------------------------------------------


def _fit(
    job: JointJob,
    settings: ConcatJointSettings,
    model: JointModel,
    train: Sequence[Joined],
    dev: Sequence[Joined],
) -> dict[str, float]:
    seed, widths = job.fusion.seed, model.fused.shape.widths
    groups = [group for branch in job.branches.values() for group in branch.groups()]
    own_group = {"params": list(model.fused.parameters()), "lr": settings.lr}
    own_group["weight_decay"] = settings.weight_decay
    weights = class_weights(np.exp(model.fused.log_prior.numpy()), settings.balance)

    def batches(epoch: int) -> Iterator[tuple[list[Joined], dict[Modality, Tensor]]]:
        generator = np.random.default_rng((seed, epoch))
        for chosen in shuffled([one.dialogue for one in train], settings.batch, generator):
            gone = absences(tuple(widths), len(chosen), settings.modality_dropout, generator)
            yield [train[i] for i in chosen], gone

    def loss(drawn: tuple[list[Joined], dict[Modality, Tensor]]) -> Tensor:
        step = model(drawn[0])
        shown = step.batch.without(drawn[1])
        total = cross_entropy(model.fuse(Step(shown, step.own)), judged(shown), weights)
        for modality, logits in step.own.items():
            targets = step.batch.targets.masked_fill(~step.batch.present[modality], -1)
            total = total + settings.branch_weight * cross_entropy(logits, targets, weights)
        return total

    return fit(
        Plan(
            stage="fusion",
            model=model,
            optimizer=torch.optim.AdamW([*groups, own_group]),
            batches=batches,
            loss=loss,
            score=lambda _: _scores(model, dev),
            epochs=settings.epochs,
            steps=-(-len(train) // settings.batch),
            folder=job.fusion.folder,
            report=job.fusion.report,
            seed=seed,
            average=settings.average,
            settings={**asdict(settings), "shape": model.fused.shape.to_json(), "train": len(train)},
        )
    )


@torch.inference_mode()
def _scores(model: JointModel, dev: Sequence[Joined]) -> dict[str, float]:
    """Figures of the fusion on dev, and the weighted F1 of each branch's own head."""
    model.eval()
    fused: dict[int, FloatArray] = {}
    own: dict[Modality, dict[int, FloatArray]] = {}
    for chosen in in_order([one.dialogue for one in dev], EVALUATION_BATCH):
        step = model([dev[i] for i in chosen])
        _unpad(model.fuse(step).log_softmax(-1), step, chosen, fused)
        for modality, logits in step.own.items():
            _unpad(logits.log_softmax(-1), step, chosen, own.setdefault(modality, {}))
    dialogues = [one.dialogue for one in dev]
    found = dev_scores([fused[i] for i in range(len(dev))], dialogues)
    for modality, rows in own.items():
        alone = dev_scores([rows[i] for i in range(len(dev))], dialogues)
        found[f"{modality}_weighted_f1"] = alone["weighted_f1"]
    return found


def _unpad(padded: Tensor, step: Step, chosen: Sequence[int], into: dict[int, FloatArray]) -> None:
    rows = padded.numpy()
    lengths = step.batch.real.sum(1).tolist()
    into |= {i: rows[place, : lengths[place]] for place, i in enumerate(chosen)}


# --- after fitting -------------------------------------------------------------------------


@torch.inference_mode()
def _with_features(model: JointModel, joined: Sequence[Joined]) -> list[Dialogue]:
    """The dialogues with the branches' features as an extractor would give them."""
    made: dict[int, Dialogue] = {}
    for chosen in in_order([one.dialogue for one in joined], EVALUATION_BATCH):
        step = model([joined[i] for i in chosen])
        for place, i in enumerate(chosen):
            old = joined[i].dialogue
            new = dict(old.features)
            for modality in step.own:
                here = step.batch.present[modality][place, : len(old)].numpy()
                values = step.batch.values[modality][place, : len(old)].numpy()
                new[modality] = Features(values, here, tuple(_status(x) for x in here))
            made[i] = Dialogue(new, old.targets, old.conversation)
    return [made[i] for i in range(len(joined))]


@torch.inference_mode()
def _own_head(model: JointModel, joined: Sequence[Joined]) -> Head:
    """The text branch's classifier, found again from its features and logits: it is linear.

    `forward` gives no weights, but logits = W · features + b holds exactly, so least squares over
    many more rows than unknowns gives W and b back.
    """
    d = model.fused.shape.widths[Modality.TEXT]
    parts: list[tuple[Tensor, Tensor]] = []
    for begin in range(0, len(joined), EVALUATION_BATCH):
        step = model(joined[begin : begin + EVALUATION_BATCH])
        here = step.batch.real
        parts.append((step.batch.values[Modality.TEXT][here], step.own[Modality.TEXT][here]))
        if sum(len(x) for x, _ in parts) >= 4 * (d + 1):
            break
    x = torch.cat([features for features, _ in parts]).double().numpy()
    y = torch.cat([logits for _, logits in parts]).double().numpy()
    ones = np.ones((len(x), 1))
    found, *_ = np.linalg.lstsq(np.hstack([x, ones]), y, rcond=1e-10)
    wrong = float(np.abs(np.hstack([x, ones]) @ found - y).max())
    if wrong > 1e-2 * (1 + float(np.abs(y).max())):
        raise ErcError(
            "train.fusion.residual: the text branch's own head is not linear in its features.",
            hint="Type: --set train.fusion.residual=false",
        )
    weight, bias = found[:-1].T.astype(np.float32), found[-1].astype(np.float32)
    return Head(weight, bias, np.exp(model.fused.log_prior.numpy()))


def _padded(rows: Tensor, real: Tensor) -> Tensor:
    """Rows [n, x] of several dialogues, one after the other, as [b, k, x]."""
    padded = rows.new_zeros(*real.shape, rows.shape[-1])
    padded[real] = rows
    return padded


def _words(joined: Sequence[Joined], real: Tensor) -> Tensor:
    """Which utterances have something to read, bool [b, k]."""
    words = torch.zeros_like(real)
    for row, one in enumerate(joined):
        here = [has_words(u) for u in one.dialogue.conversation.utterances]
        words[row, : len(here)] = torch.tensor(here)
    return words


def has_words(utterance: Utterance) -> bool:
    """Whether there is anything to read: a letter, a digit, or a mark such as `?!`."""
    return any(c.isalnum() or c in "?!\uff1f\uff01" for c in utterance.text)


def _status(present: bool) -> Status:
    return Status.OK if present else Status.NO_TEXT
