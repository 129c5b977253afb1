"""Training of the expression network on pictures of single faces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.fitting import Plan, fit, seed_everything
from erc_cli.learning import Split, Trained, TrainJob
from erc_cli.metrics import class_prior, confusion, scores
from erc_cli.nets.margin_loss import MarginLoss, Variant
from erc_cli.nets.probe import fit_logistic
from erc_cli.nets.resnet import ResNet18
from erc_visual_faces.network import ExpressionNet, save_expression_net

if TYPE_CHECKING:
    from erc_cli.types import ByteArray, FloatArray, IntArray

PROBED = 3000  # training pictures on which the head is fitted to score an epoch of the margin loss


@dataclass(frozen=True, slots=True)
class Settings:
    """The trainer's options; `side` is the side in pixels of the pictures trained on.

    `loss`: `cross_entropy`, or `margin`, M2FNet's, in one of its variants. `width` and `stem` are of
    `resnet18`. `spoil`: share of the pictures made small and blurred, and as many dark and noisy.
    """

    epochs: int = 16
    lr: float = 2e-3
    batch: int = 64
    side: int = 42
    smoothing: float = 0.1
    average: float = 0.995
    loss: str = "cross_entropy"
    variant: Variant = "fixed-margin"
    network: str = "small"
    width: int = 64
    stem: int = 4
    spoil: float = 0.0


def train_faces(job: TrainJob, settings: Settings) -> Trained:
    """Fit on every data set of the job that has pictures; write `visual.safetensors`."""
    pictures, targets = _pictures([job.read(name, "train") for name in job.data])
    dev_pictures, dev_targets = _pictures([job.read(name, "dev") for name in job.data])
    if not len(pictures) or not len(dev_pictures):
        raise UsageError(
            "train.visual: none of the data sets has pictures of faces.",
            hint="Add one, e.g. --data fer2013:data/fer2013",
        )
    seed_everything(job.seed)
    net = ExpressionNet(len(job.labels), _body(settings))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def score(model: nn.Module) -> Mapping[str, float]:
        if settings.loss == "margin":
            fit_head(net, pictures[:PROBED], targets[:PROBED])
        return evaluate(net, dev_pictures, dev_targets)

    best = fit(
        Plan(
            stage="visual",
            model=net,
            optimizer=torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=0.05),
            batches=partial(_batches, pictures, targets, settings, job.seed),
            loss=_objective(net, settings),
            score=score,
            epochs=settings.epochs,
            steps=-(-len(pictures) // settings.batch),
            folder=job.folder,
            report=job.report,
            select="accuracy",
            seed=job.seed,
            warmup=0.15,
            average=settings.average,
            settings=asdict(settings),
        )
    )
    if settings.loss == "margin":
        fit_head(net, pictures, targets)
        best |= evaluate(net, dev_pictures, dev_targets)
    save_expression_net(net, class_prior(targets, len(job.labels)), job.folder / "visual.safetensors")
    return Trained({"weights": "visual.safetensors"}, {"dev": best})


def _body(settings: Settings) -> ResNet18 | None:
    if settings.network == "small":
        return None
    return ResNet18(width=settings.width, channels=1, stem=settings.stem)


def _batches(
    pictures: ByteArray, targets: IntArray, settings: Settings, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """All pictures of an epoch in random order, augmented."""
    order = np.random.default_rng((seed, epoch)).permutation(len(pictures))
    for begin in range(0, len(order), settings.batch):
        chosen = order[begin : begin + settings.batch]
        changed = augment(torch.from_numpy(pictures[chosen]), settings.side)
        if settings.spoil:
            changed = spoil(changed, settings.spoil)
        yield changed, torch.from_numpy(targets[chosen])


def _objective(net: ExpressionNet, settings: Settings) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    """The loss of a batch of pictures and labels."""
    triplets = MarginLoss(settings.variant)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        if settings.loss == "margin":
            return triplets(net(batch[0]), batch[1])
        return nn.functional.cross_entropy(net.logits(batch[0]), batch[1], label_smoothing=settings.smoothing)

    return loss


def fit_head(net: ExpressionNet, pictures: ByteArray, targets: IntArray) -> None:
    """Make the head a logistic regression on the embeddings: the margin loss trains none."""
    weight, bias = fit_logistic(embed(net, pictures), targets, net.head.out_features)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(weight))
        net.head.bias.copy_(torch.from_numpy(bias))


@torch.inference_mode()
def embed(net: ExpressionNet, pictures: ByteArray, batch: int = 256) -> FloatArray:
    """uint8 [n, 48, 48] -> embeddings [n, d]."""
    net.eval()
    parts = [torch.from_numpy(pictures[i : i + batch]) for i in range(0, len(pictures), batch)]
    return np.concatenate([net(part.unsqueeze(1).float()).numpy() for part in parts])


def _pictures(splits: list[Split]) -> tuple[ByteArray, IntArray]:
    found = [s for s in splits if s.pictures is not None and s.picture_targets is not None]
    if not found:
        return np.zeros((0, 48, 48), dtype=np.uint8), np.zeros(0, dtype=np.int64)
    pictures = np.concatenate([s.pictures for s in found if s.pictures is not None])
    targets = np.concatenate([s.picture_targets for s in found if s.picture_targets is not None])
    return pictures, targets


def augment(pictures: Tensor, side: int) -> Tensor:
    """Random mirror image, rotation to 12 degrees, scale, shift and contrast.

    uint8 [b, 48, 48] -> float [b, 1, side, side], values about 0..255. The draws come from
    torch's global generator, which the training loop seeds.
    """
    count, full = len(pictures), pictures.shape[-1]
    angle = (torch.rand(count) * 2 - 1) * math.radians(12)
    zoom = side / full * (1 + (torch.rand(count) * 2 - 1) * 0.1)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    shift = (torch.rand(count, 2) * 2 - 1) * (1 - side / full)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    top = torch.stack([cos * mirror, -sin, shift[:, 0]], 1)
    bottom = torch.stack([sin * mirror, cos, shift[:, 1]], 1)
    grid = nn.functional.affine_grid(
        torch.stack([top, bottom], 1), [count, 1, side, side], align_corners=False
    )
    sampled = nn.functional.grid_sample(
        pictures.unsqueeze(1).float(), grid, padding_mode="border", align_corners=False
    )
    contrast = 1 + (torch.rand(count, 1, 1, 1) * 2 - 1) * 0.3
    return (sampled * contrast).contiguous(memory_format=torch.channels_last)


def spoil(pictures: Tensor, share: float) -> Tensor:
    """Pictures [b, 1, side, side] as cameras spoil them, each way with probability `share`: small (down to
    a quarter of the side, and up again), dark and noisy (a tenth of the light, noise of 3 grey levels)."""
    small, dark = torch.rand(2, len(pictures)) < share
    full = pictures.shape[-1]
    size = int(torch.randint(full // 4, full * 3 // 4 + 1, ()))  # one for the batch: resizing is by size
    coarse = nn.functional.interpolate(pictures[small], size=(size, size), mode="area")
    spoilt = pictures.clone()
    spoilt[small] = nn.functional.interpolate(coarse, size=(full, full), mode="bilinear")
    light = 0.1 + 0.9 * torch.rand(len(pictures), 1, 1, 1)
    noisy = spoilt * light + 3 * torch.randn_like(spoilt)
    return torch.where(dark[:, None, None, None], noisy, spoilt).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def evaluate(
    net: ExpressionNet, pictures: ByteArray, targets: IntArray, batch: int = 256
) -> Mapping[str, float]:
    """Accuracy, weighted and macro F1 in percent."""
    net.eval()
    predicted = [
        net.logits(torch.from_numpy(pictures[i : i + batch]).unsqueeze(1).float()).argmax(1).numpy()
        for i in range(0, len(pictures), batch)
    ]
    matrix = confusion(targets, np.concatenate(predicted), net.head.out_features)
    return {name: round(value, 3) for name, value in scores(matrix).items()}
