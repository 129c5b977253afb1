"""Fine-tuning of the context encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from erc_cli.device import PRECISIONS
from erc_cli.errors import UsageError
from erc_cli.fitting import Plan, bucketed, fit, seed_everything
from erc_cli.learning import Report, Trained, TrainJob
from erc_cli.metrics import class_prior, confusion, scores
from erc_text_minilm.context import Window
from erc_text_minilm.material import Examples, gather_examples
from erc_text_minilm.network import ContextEncoder, Inputs, Kind, Pooling, load, save
from erc_text_minilm.pretrained import TOKENIZER, TRAINED, check_fit, find_init, pretrained, read_tokenizer


@dataclass(frozen=True, slots=True)
class Settings:
    """The trainer's options; `average` is the decay per step of the averaged weights, `members` the
    number of runs whose weights are averaged in the end, `freeze` the number of lowest layers that stay
    as they are, with the embeddings; `first` names data sets to fit to before the others. `kind` is the
    extractor; `dtype` what its networks reckon in while they are fitted (the weights stay float32), unless
    the job has a precision of its own."""

    init: str
    epochs: int
    lr: float
    layer_decay: float
    batch: int
    average: float
    members: int = 1
    freeze: int = 0
    first: tuple[str, ...] = ()
    first_epochs: int = 2
    kind: Kind = "minilm"
    pooling: Pooling = "own"
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Phase:
    """One fit: its name in logs and checkpoints, how long, from which seed, where."""

    stage: str
    epochs: int
    seed: int
    folder: Path


def train_encoder(job: TrainJob, settings: Settings, window: Window) -> Trained:
    """Fine-tune `members` times, each to its best epoch on dev, and average the weights.

    Writes `text.safetensors` and `tokenizer.json`. Members start from the same weights and differ
    in the order of examples and in dropout, so that their average is a network too (Wortsman et
    al. 2022, model soups); it is kept even if dev likes one member better: picking that one would pick
    noise. A finished member is kept in a file until the stage is done. A fold has one member: five of each
    would be twenty-five trainings.
    """
    settings = _in_precision(job, settings)
    if job.fold:
        settings = replace(settings, members=1)
    tokenizer = read_tokenizer(find_init(settings.init) / TOKENIZER)
    names = [name for name in job.data if name not in settings.first]
    train, dev = (gather_examples(job, names, split, tokenizer, window) for split in ("train", "dev"))
    model = begin(job, settings, window)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    networks: dict[str, dict[str, Tensor]] = {}
    for member in range(settings.members):
        model.load_state_dict(start)
        networks[f"member {member + 1}"] = _member(job, settings, window, model, train, dev, member)
    if settings.members > 1:
        networks["average"] = _mean(list(networks.values()))
    figures = {name: _score(model, weights, dev) for name, weights in networks.items()}  # the last one stays
    save(model, class_prior(train.targets, len(job.labels)), job.folder / TRAINED, job.labels)
    tokenizer.save(str(job.folder / TOKENIZER))
    for member in range(settings.members):
        _member_path(job, member).unlink(missing_ok=True)
    return Trained(options_of(window, settings), {"dev": figures, "init": settings.init})


def _in_precision(job: TrainJob, settings: Settings) -> Settings:
    """The settings in the job's precision.

    Raises:
        UsageError: fp16 without CUDA: gradients are scaled there only, and vanish elsewhere.
    """
    if job.precision != "fp32":
        settings = replace(settings, dtype=PRECISIONS[job.precision])
    if settings.dtype == "float16" and not job.device.startswith("cuda"):
        raise UsageError(
            f"train.text: fp16 trains on CUDA only, and the device is {job.device}.",
            hint="Type: --precision bf16, or fp32",
        )
    return settings


def options_of(window: Window, settings: Settings) -> dict[str, Any]:
    """What the trained extractor is built with."""
    more = {} if settings.kind == "minilm" else {"pooling": settings.pooling}
    return {"weights": TRAINED, "tokenizer": TOKENIZER, **asdict(window), **more}


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
    """The weights of the member's best epoch, as they are stored, fitted now or by an earlier run."""
    path = _member_path(job, member)
    if not path.exists():
        stage = "text" if settings.members == 1 else f"text-{member + 1}"
        # Members of neighbouring runs do not meet; one run of five has the members of five runs of one.
        seed = 100 * (job.seed * settings.members + member)
        phase = Phase(stage, settings.epochs, seed, job.folder)
        _fit(phase, settings, window, model, train, dev, job.report)
        save(model, class_prior(train.targets, len(job.labels)), path, job.labels)
    return load(path, settings.kind)[0].state_dict()


def _first(job: TrainJob, settings: Settings, window: Window, path: Path) -> None:
    """Fit to the data sets that come first; the same for every seed, so kept in the shared folder."""
    source = find_init(settings.init)
    tokenizer = read_tokenizer(source / TOKENIZER)
    train, dev = (
        gather_examples(job, settings.first, split, tokenizer, window) for split in ("train", "dev")
    )
    seed_everything(0)
    model = pretrained(source, job.labels, settings.kind, settings.pooling).to(job.device)
    check_fit(model, tokenizer, window, "train.text")
    phase = Phase("text-first", settings.first_epochs, 0, job.shared)
    _fit(phase, settings, window, model, train, dev, job.report)
    save(model, class_prior(train.targets, len(job.labels)), path, job.labels)


def _fit(
    phase: Phase,
    settings: Settings,
    window: Window,
    model: ContextEncoder,
    train: Examples,
    dev: Examples,
    report: Report,
) -> None:
    device = model.head.weight.device

    def batches(epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        generator = np.random.default_rng((phase.seed, epoch))
        for chosen in bucketed((len(s.ids) for s in train.samples), settings.batch, generator):
            shares = torch.from_numpy(train.shares[chosen]).to(device)
            yield model.inputs([train.samples[i] for i in chosen]), shares

    def loss(batch: tuple[Inputs, Tensor]) -> Tensor:
        with _reckoning(settings.dtype, device):
            logits = model(*batch[0])
        return nn.functional.cross_entropy(logits.float(), batch[1])

    fit(
        Plan(
            stage=phase.stage,
            model=model,
            optimizer=torch.optim.AdamW(optimizer_groups(model, settings), betas=(0.9, 0.98), fused=True),
            batches=batches,
            loss=loss,
            score=lambda _: evaluate(model, dev),
            epochs=phase.epochs,
            steps=-(-len(train.samples) // settings.batch),
            folder=phase.folder,
            report=report,
            seed=phase.seed,
            average=settings.average,
            settings={**_noted(settings), **asdict(window)},
            scaler=torch.amp.GradScaler(device.type) if settings.dtype == "float16" else None,
        )
    )


def _reckoning(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 or float16 where that is wanted."""
    return nullcontext() if dtype == "float32" else torch.autocast(device.type, getattr(torch, dtype))


def _noted(settings: Settings) -> dict[str, Any]:
    """What a checkpoint must agree with; those of minilm know of no other kind."""
    noted = asdict(settings)
    if settings.kind == "minilm":
        for name in ("kind", "pooling", *(["dtype"] if settings.dtype == "float32" else [])):
            del noted[name]
    return noted


def _mean(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}


def _score(model: ContextEncoder, weights: dict[str, Tensor], dev: Examples) -> Mapping[str, float]:
    model.load_state_dict(weights)
    return evaluate(model, dev)


def begin(job: TrainJob, settings: Settings, window: Window) -> ContextEncoder:
    """The network to start from: pretrained, and fitted to the data sets that come first.

    Raises:
        UsageError: those are not among the stage's data, or the network cannot be had.
    """
    # One new head for all seeds and folds: what it asks of the features decides which way each of them
    # points, and a fusion that is fitted to the features of some is given those of another.
    seed_everything(0)
    if not settings.first:
        source = find_init(settings.init)
        model = pretrained(source, job.labels, settings.kind, settings.pooling)
        check_fit(model, read_tokenizer(source / TOKENIZER), window, "train.text")
        return model.to(job.device)
    absent = [name for name in settings.first if name not in job.data]
    if absent:
        raise UsageError(
            f"train.text.first: {absent[0]} is not among the data sets of the stage.",
            hint=f"Add it to train.text.data and give --data {absent[0]}:PATH",
        )
    path = job.shared / "text-first.safetensors"
    job.shared.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # runs of other seeds wait for it
        if not path.exists():
            _first(job, settings, window, path)
    model = load(path, settings.kind)[0]
    return model.to(job.device)


@torch.inference_mode()
def evaluate(model: ContextEncoder, data: Examples, batch: int = 64) -> Mapping[str, float]:
    """Accuracy, weighted and macro F1 in percent."""
    model.eval()
    predicted = np.zeros_like(data.targets)
    order = np.argsort([len(sample.ids) for sample in data.samples], kind="stable")
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        logits = model(*model.inputs([data.samples[i] for i in chosen]))
        predicted[chosen] = logits.argmax(1).cpu().numpy()
    matrix = confusion(data.targets, predicted, model.head.out_features)
    return {name: round(value, 3) for name, value in scores(matrix).items()}


def optimizer_groups(model: ContextEncoder, settings: Settings) -> list[dict[str, Any]]:
    """The rate falls by `layer_decay` from each layer to the one below (head: 10 times lr)."""
    groups: list[dict[str, Any]] = []
    _freeze(model, settings.freeze)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        below = model.layers - 1 - model.level(name)
        head = name.startswith("head")
        rate = 10 * settings.lr if head else settings.lr * settings.layer_decay**below
        decay = 0.0 if parameter.ndim < 2 else 0.01
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


def _freeze(model: ContextEncoder, layers: int) -> None:
    """Keep the embeddings and the lowest `layers` layers as they are; 0 keeps nothing."""
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(layers == 0 or model.level(f".{name}") >= layers)
