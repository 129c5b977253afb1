"""Training of the mel branch with M2FNet's extractor loss, on any data set that has sound."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_audio_mel.augment import Augment
from erc_audio_mel.network import MelNet, save_mel_net
from erc_audio_mel.sounds import FOLDER, Cache, Sounds, join
from erc_audio_mel.spectrogram import Look, fitted
from erc_cli.errors import UsageError
from erc_cli.fitting import Plan, fit, seed_everything
from erc_cli.learning import Split, Trained, TrainJob
from erc_cli.metrics import class_prior
from erc_cli.nets.margin_loss import MarginLoss, Variant
from erc_cli.nets.probe import figures, fit_logistic, nearest_mean
from erc_cli.types import Head

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

WEIGHTS = "audio.safetensors"
PROBED = 2000  # training sounds whose class means score an epoch without cross-entropy
SPARE = 1.0  # seconds kept beyond the picture's length, for random crops


@dataclass(frozen=True, slots=True)
class Settings:
    """The trainer's options. `cross_entropy`: weight of an auxiliary head's loss; 0 is the paper's."""

    look: Look
    augment: Augment
    width: int
    projection: int
    epochs: int
    lr: float
    weight_decay: float
    batch: int
    average: float
    variant: Variant
    margin: float
    cross_entropy: float


def train_mel(job: TrainJob, settings: Settings) -> Trained:
    """Fit on every data set of the job that has sound; write `audio.safetensors`.

    Data sets with other labels than the preset's train the embedding too; then there is no head.
    """
    cache = Cache(job.shared / FOLDER, settings.look.seconds + SPARE, job.report)
    splits = {part: [job.read(name, part) for name in job.data] for part in ("train", "dev")}
    labels = labels_of([split for found in splits.values() for split in found if split.sources], job.labels)
    train, dev = (_sounds(cache, splits[part], labels) for part in ("train", "dev"))
    if not len(train) or not len(dev):
        raise UsageError(
            "train.audio: none of the data sets has sound" + (" to choose by." if len(train) else "."),
            hint="Give one with media and the splits train and dev, e.g. --data ravdess:data/ravdess",
        )
    # One start for all seeds and folds: their coordinates stay close, what is left `own_space` mends.
    seed_everything(0)
    net = MelNet(settings.look, width=settings.width, projection=settings.projection, classes=len(labels))
    best = _fit(job, settings, net, train, dev)
    head = _head(net, settings, train) if labels == job.labels else None
    save_mel_net(net, labels, head, job.folder / WEIGHTS)
    if job.shared == job.folder:
        shutil.rmtree(cache.folder, ignore_errors=True)  # no other seed wants it, and this is a preset now
    left_out = dict(train.left_out + dev.left_out)
    return Trained({"weights": WEIGHTS}, {"dev": best, "labels": list(labels), "left_out": left_out})


def labels_of(splits: Sequence[Split], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The labels to tell apart: the preset's where they are enough, else those of all data sets."""
    found = dict.fromkeys(label for split in splits for label in split.labels)
    return wanted if set(found) <= set(wanted) else tuple(found)


def _sounds(cache: Cache, splits: Sequence[Split], labels: tuple[str, ...]) -> Sounds:
    heard = [split for split in splits if split.sources]
    return join([cache.read(split, [labels.index(label) for label in split.labels]) for split in heard])


def _fit(job: TrainJob, settings: Settings, net: MelNet, train: Sounds, dev: Sounds) -> dict[str, float]:
    triplets = MarginLoss(settings.variant, settings.margin)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = np.random.default_rng((job.seed, epoch))
        order = generator.permutation(len(train))
        for begin in range(0, len(order), settings.batch):
            chosen = order[begin : begin + settings.batch]
            cut = [crop(train.sound(i), settings.look.samples, generator) for i in chosen]
            yield settings.augment(torch.from_numpy(np.stack(cut))), torch.from_numpy(train.targets[chosen])

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        embeddings = net(batch[0])
        value = triplets(embeddings, batch[1])
        if settings.cross_entropy:
            value = value + settings.cross_entropy * nn.functional.cross_entropy(
                net.head(embeddings), batch[1]
            )
        return value

    return fit(
        Plan(
            stage="audio",
            model=net,
            optimizer=torch.optim.Adam(net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay),
            batches=batches,
            loss=loss,
            score=lambda model: evaluate(net, settings, train, dev),
            epochs=settings.epochs,
            steps=-(-len(train) // settings.batch),
            folder=job.folder,
            report=job.report,
            seed=job.seed,
            average=settings.average,
            settings=asdict(settings),
        )
    )


def crop(sound: FloatArray, samples: int, generator: np.random.Generator) -> FloatArray:
    """`samples` of a sound from a random place, or all of it with zeros before and after."""
    spare = len(sound) - samples
    if spare >= 0:
        begin = int(generator.integers(0, spare + 1))
        return sound[begin : begin + samples]
    before = int(generator.integers(0, -spare + 1))
    return np.pad(sound, (before, -spare - before))


def evaluate(net: MelNet, settings: Settings, train: Sounds, dev: Sounds) -> Mapping[str, float]:
    """Figures on dev: of the head, or without cross-entropy of the nearest class mean."""
    classes = net.head.out_features
    values = embed(net, dev, np.arange(len(dev)))
    if settings.cross_entropy:
        weight, bias = net.head.weight.detach().numpy(), net.head.bias.detach().numpy()
        predicted: IntArray = (values @ weight.T + bias).argmax(1)
    else:
        chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:PROBED])
        predicted = nearest_mean(embed(net, train, chosen), train.targets[chosen], values, classes)
    return figures(dev.targets, predicted, classes)


@torch.inference_mode()
def embed(net: MelNet, sounds: Sounds, chosen: IntArray, batch: int = 64) -> FloatArray:
    """Embeddings [len(chosen), d] of the middle of each sound."""
    net.eval()
    parts = []
    for begin in range(0, len(chosen), batch):
        cut = [fitted(sounds.sound(i), net.look.samples) for i in chosen[begin : begin + batch]]
        parts.append(net(torch.from_numpy(np.stack(cut))).numpy())
    return np.concatenate(parts)


def _head(net: MelNet, settings: Settings, train: Sounds) -> Head | None:
    """The trained head, or a logistic regression on the embeddings; None if a class has no example."""
    classes = net.head.out_features
    if len(Counter(train.targets.tolist())) < classes:
        return None
    if settings.cross_entropy:
        weight, bias = net.head.weight.detach().numpy(), net.head.bias.detach().numpy()
    else:
        weight, bias = fit_logistic(embed(net, train, np.arange(len(train))), train.targets, classes)
    return Head(weight, bias, class_prior(train.targets, classes))
