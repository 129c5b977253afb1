"""The three variants of M2FNet's extractor loss against plain cross-entropy, on real data.

    python benchmarks/compare_losses.py DATA -o losses

DATA holds the folders ravdess, emodb and fer2013; those that are missing are left out. A narrow
ResNet18 is trained with each loss, from several seeds; what its embeddings know is measured by a
logistic probe and by the five nearest neighbours, both fitted on the training part. RAVDESS and EmoDB
are cut into three folds with no speaker in two of them; FER2013 is trained on a part of its training
split and measured on its validation split. Nothing is chosen by these figures: epochs and rate are
fixed, and the same for all losses.

Each run is written to OUT/losses.json when it is done, so a run that was cut off goes on; the table is
OUT/losses.md. On one core: about 25 minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from erc_audio_mel.spectrogram import Look, Spectrogram, fitted
from erc_cli.files import atomic_write
from erc_cli.media import probe, read_clips
from erc_cli.nets.margin_loss import VARIANTS, MarginLoss, distances
from erc_cli.nets.probe import figures, fit_logistic, nearest_neighbours
from erc_cli.nets.resnet import ResNet18
from erc_cli.types import Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray

LOSSES = ("untrained", "cross-entropy", *VARIANTS)
FOLDS = 3
WIDTH, PROJECTION = 12, 300
RATE, DECAY, BATCH = 1e-3, 1e-6, 64
EPOCHS = {"ravdess": 15, "emodb": 20, "fer2013": 6}
FACES = 6000  # of FER2013's 28,709 training pictures, another draw for each seed
SOUND = Look(seconds=3.0, bands=48, hop=160, image="grey")
SHORTER = 4  # columns of the spectrogram that are averaged into one: 40 ms


@dataclass(frozen=True, slots=True)
class Data:
    """Pictures [n, h, w] about -2..2 with labels [n], and who is seen or heard in each [n]."""

    pictures: FloatArray
    targets: IntArray
    groups: IntArray

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.targets.max()) + 1


# --- data ----------------------------------------------------------------------------------


def ravdess(folder: Path) -> Data:
    """All 1440 clips; groups are blocks of eight actors, four men and four women."""
    files = sorted(folder.glob("Actor_*/*.ogg"))
    fields = [[int(f) for f in file.stem.split("-")] for file in files]
    return Data(
        spectrograms(files), np.array([f[2] - 1 for f in fields]), np.array([(f[6] - 1) // 8 for f in fields])
    )


def emodb(folder: Path) -> Data:
    """All 535 clips; groups are four, three and three of the ten speakers."""
    files = sorted(folder.glob("*.ogg"))
    speakers = sorted({file.stem[:2] for file in files})
    targets = ["WLEAFTN".index(file.stem[5]) for file in files]
    return Data(
        spectrograms(files),
        np.array(targets),
        np.array([(speakers.index(f.stem[:2]) * FOLDS) // len(speakers) for f in files]),
    )


def fer2013(folder: Path) -> Data:
    """The training split (group 1) and the validation split (group 0), blank pictures left out."""
    with np.load(folder / "fer2013.npz") as archive:
        parts = [(archive[f"{p}_images"], archive[f"{p}_labels"]) for p in ("validation", "train")]
    pictures = np.concatenate([images for images, _ in parts]).astype(np.float32)
    targets = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    groups = np.repeat([0, 1], [len(labels) for _, labels in parts])
    deviation = pictures.std((1, 2), keepdims=True)
    pictures = (pictures - pictures.mean((1, 2), keepdims=True)) / (deviation + 8)
    kept = deviation[:, 0, 0] > 0
    return Data(pictures[kept], targets[kept], groups[kept])


READERS: Mapping[str, Callable[[Path], Data]] = {"ravdess": ravdess, "emodb": emodb, "fer2013": fer2013}


@torch.inference_mode()
def spectrograms(files: list[Path]) -> FloatArray:
    """Spectrograms [n, bands, columns] of the middle three seconds of each file."""
    net, found = Spectrogram(SOUND), []
    for file in files:
        info = probe(file)
        ((_, clip),) = read_clips(info, [Wish(sound=(0.0, info.duration))])
        if clip.sound is None:
            sys.exit(f"{file}: {clip.sound_status}")
        sound = torch.from_numpy(fitted(clip.sound, SOUND.samples))[None]
        found.append(nn.functional.avg_pool2d(net(sound), (1, SHORTER))[0, 0].numpy())
    return np.stack(found)


def load(name: str, folder: Path, cache: Path) -> Data:
    """A data set, decoded once."""
    path = cache / f"{name}.npz"
    if not path.exists():
        data = READERS[name](folder / name)
        with atomic_write(path) as draft:
            np.savez(draft, pictures=data.pictures, targets=data.targets, groups=data.groups)
    with np.load(path) as archive:
        return Data(archive["pictures"], archive["targets"], archive["groups"])


# --- one run -------------------------------------------------------------------------------


def run(name: str, data: Data, loss: str, fold: int, seed: int) -> dict[str, Any]:
    """Train with `loss` on all groups but `fold`, and measure on that one."""
    begun = time.process_time()
    torch.manual_seed(1000 * seed + fold)
    generator = np.random.default_rng((seed, fold))
    train, test = np.flatnonzero(data.groups != fold), np.flatnonzero(data.groups == fold)
    if name == "fer2013":
        train = np.sort(generator.choice(train, FACES, replace=False))
    net = ResNet18(width=WIDTH, channels=1, projection=PROJECTION)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if loss != "untrained":
        fit(net, loss, Data(data.pictures[train], data.targets[train], data.groups[train]), name, generator)
    inside, outside = embed(net, data.pictures[train]), embed(net, data.pictures[test])
    known, wanted = data.targets[train], data.targets[test]
    weight, bias = fit_logistic(inside, known, data.classes)
    linear = figures(wanted, (outside @ weight.T + bias).argmax(1), data.classes)
    near = figures(wanted, nearest_neighbours(inside, known, outside), data.classes)
    return {
        "data": name,
        "loss": loss,
        "fold": fold,
        "seed": seed,
        "linear_uar": linear["uar"],
        "linear_weighted_f1": linear["weighted_f1"],
        "neighbours_uar": near["uar"],
        "neighbours_weighted_f1": near["weighted_f1"],
        **spread(inside, known, "train"),
        **spread(outside, wanted, "test"),
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def fit(net: ResNet18, loss: str, data: Data, name: str, generator: np.random.Generator) -> None:
    """Adam with cosine decay; cross-entropy gets a linear layer of its own on the embedding."""
    head = nn.Linear(PROJECTION, data.classes)
    weights = [*net.parameters(), *(head.parameters() if loss == "cross-entropy" else ())]
    optimizer = torch.optim.Adam(weights, lr=RATE, weight_decay=DECAY)
    steps = EPOCHS[name] * (len(data.targets) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    margin = None if loss == "cross-entropy" else MarginLoss(loss)  # type: ignore[arg-type]
    net.train()
    for _ in range(EPOCHS[name]):
        for pictures, targets in batches(data, mirrored=name == "fer2013", generator=generator):
            embeddings = net(pictures)
            if margin is None:
                value = nn.functional.cross_entropy(head(embeddings), targets)
            else:
                value = margin(embeddings, targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            schedule.step()


def batches(data: Data, *, mirrored: bool, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in random order: faces are mirrored, spectrograms moved in time, by up to 0.4 s."""
    order = generator.permutation(len(data.targets))
    for begin in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[begin : begin + BATCH]
        pictures = data.pictures[chosen]
        for i in range(BATCH):
            if mirrored and generator.random() < 0.5:
                pictures[i] = pictures[i, :, ::-1]
            elif not mirrored:
                pictures[i] = np.roll(pictures[i], generator.integers(-10, 11), axis=1)
        ready = torch.from_numpy(pictures)[:, None].contiguous(memory_format=torch.channels_last)
        yield ready, torch.from_numpy(data.targets[chosen])


@torch.inference_mode()
def embed(net: ResNet18, pictures: FloatArray) -> FloatArray:
    """Embeddings [n, projection]."""
    net.eval()
    inputs = torch.from_numpy(pictures)[:, None]
    return np.concatenate([net(inputs[i : i + 256]).numpy() for i in range(0, len(inputs), 256)])


def spread(embeddings: FloatArray, targets: IntArray, part: str) -> dict[str, float]:
    """Mean distance D (0..1) between two of one class and of two classes, of at most 1000 rows."""
    chosen = np.random.default_rng(0).permutation(len(targets))[:1000]
    found = distances(torch.from_numpy(embeddings[chosen])).numpy()
    same = targets[chosen, None] == targets[None, chosen]
    pairs = ~np.eye(len(chosen), dtype=bool)
    return {
        f"{part}_same": round(float(found[same & pairs].mean()), 4),
        f"{part}_other": round(float(found[~same].mean()), 4),
    }


# --- the table -----------------------------------------------------------------------------


def table(runs: list[dict[str, Any]]) -> str:
    """Mean over seeds of the mean over folds, with the deviation over seeds; whole seeds only."""
    names = ("linear_uar", "linear_weighted_f1", "neighbours_uar", "neighbours_weighted_f1")
    head = "| data | loss | seeds | linear UAR | linear W-F1 | 5-NN UAR | 5-NN W-F1 | D same | D other |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for data in EPOCHS:
        for loss in LOSSES:
            found = whole([r for r in runs if (r["data"], r["loss"]) == (data, loss)])
            if not found:
                continue
            seeds = len({r["seed"] for r in found})
            cells = [f"{mean:.1f} ± {std:.1f}" for mean, std in (over_seeds(found, n) for n in names)]
            apart = [f"{over_seeds(found, n)[0]:.2f}" for n in ("test_same", "test_other")]
            lines.append(f"| {data} | {loss} | {seeds} | {' | '.join([*cells, *apart])} |")
    return "\n".join(lines) + "\n"


def whole(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of those seeds that have every fold."""
    return [r for r in runs if sum(other["seed"] == r["seed"] for other in runs) == folds(r["data"])]


def folds(data: str) -> int:
    """How many folds a data set has."""
    return 1 if data == "fer2013" else FOLDS


def over_seeds(runs: list[dict[str, Any]], figure: str) -> tuple[float, float]:
    """Mean and sample deviation over seeds of the mean over folds."""
    seeds = sorted({r["seed"] for r in runs})
    means = [float(np.mean([r[figure] for r in runs if r["seed"] == seed])) for seed in seeds]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else 0.0


def main() -> None:
    """Run what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("losses"))
    parser.add_argument("--seeds", type=int, default=3, help="0: only the table of what is done")
    parser.add_argument("--only", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--into", type=Path, help="a Markdown page between whose marks the table goes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "losses.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    done = {(r["data"], r["loss"], r["fold"], r["seed"]) for r in runs}
    names = [n for n in given.only if given.seeds and (given.data / n).is_dir()]
    data = {name: load(name, given.data, given.out) for name in names}
    # Seed by seed, so that what is there at any time is a whole comparison.
    for seed in range(given.seeds):
        for name in names:
            for fold in range(folds(name)):
                for loss in LOSSES:
                    if (name, loss, fold, seed) in done:
                        continue
                    runs.append(run(name, data[name], loss, fold, seed))
                    with atomic_write(path, force=True) as draft:
                        draft.write_text(json.dumps(runs, indent=1) + "\n")
                    with atomic_write(given.out / "losses.md", force=True) as draft:
                        draft.write_text(table(runs))
                    print(runs[-1], file=sys.stderr, flush=True)
    (given.out / "losses.md").write_text(table(runs))
    if given.into is not None:
        fill(given.into, table(runs))
    print(table(runs))


def fill(page: Path, content: str) -> None:
    """Put the table between the page's marks."""
    first, second = "<!-- losses -->\n", "<!-- /losses -->"
    before, _, rest = page.read_text().partition(first)
    _, found, after = rest.partition(second)
    if not found:
        sys.exit(f"{page}: no {first.strip()} and {second} to write between")
    page.write_text(before + first + content + second + after)


if __name__ == "__main__":
    main()
