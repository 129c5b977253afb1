"""Out-of-fold features of a branch that begins at random: with one start, with a linear map, with both.

    python benchmarks/fold_features.py DATA --seeds 2

DATA holds the folder ravdess. A narrow ResNet18 is trained by cross-entropy on twelve actors (the whole
branch) and on eight of them at a time (three folds). A logistic regression is fitted to what the folds say
of the actors that each did not hear, and scored on what the whole branch says of eight other actors; four
more are dev, by which the map is fitted. Printed is that score, the mean recall over the eight emotions
(chance: 12.5). On one core: about 4 minutes a seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from compare_losses import PROJECTION, WIDTH, Data, embed, fit, ravdess

from erc_cli.alignment import carry
from erc_cli.nets.probe import figures, fit_logistic
from erc_cli.nets.resnet import ResNet18
from erc_cli.types import Features, Status

if TYPE_CHECKING:
    from erc_cli.types import BoolArray, FloatArray, IntArray

FOLDS = 3


def branch(data: Data, heard: BoolArray, start: int, seed: int) -> ResNet18:
    """A network with the weights of `start`, fitted in the order of `seed`."""
    torch.manual_seed(start)
    net = ResNet18(width=WIDTH, channels=1, projection=PROJECTION)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    part = Data(data.pictures[heard], data.targets[heard], data.groups[heard])
    fit(net, "cross-entropy", part, "ravdess", np.random.default_rng(seed))
    return net


def measure(data: Data, actors: IntArray, seed: int) -> dict[str, float]:
    """The score for each way of making the folds' features."""
    order = np.random.default_rng(seed).permutation(24)
    test, dev, train = (np.isin(actors, part) for part in (order[:8], order[8:12], order[12:]))
    whole = branch(data, train, 10 * seed, 10 * seed)
    at_dev, at_test = (embed(whole, data.pictures[part]) for part in (dev, test))

    def score(values: FloatArray, targets: IntArray) -> float:
        weight, bias = fit_logistic(values, targets, data.classes)
        predicted = (at_test @ weight.T + bias).argmax(1)
        return float(figures(data.targets[test], predicted, data.classes)["uar"])

    found = {"not out of fold": score(embed(whole, data.pictures[train]), data.targets[train])}
    for start in ("own start", "one start"):
        plain, mapped, targets = [], [], []
        for k in range(FOLDS):
            held_out = np.isin(actors, order[12 + k :: FOLDS])
            own = 10 * seed + 1 + k
            net = branch(data, train & ~held_out, own if start == "own start" else 10 * seed, own)
            plain.append(embed(net, data.pictures[held_out]))
            there = features(embed(net, data.pictures[dev]))
            mapped.append(carry(features(plain[-1]), there, features(at_dev)).values)
            targets.append(data.targets[held_out])
        known = np.concatenate(targets)
        found[start] = score(np.concatenate(plain), known)
        found[f"{start}, map"] = score(np.concatenate(mapped), known)
    return found


def features(values: FloatArray) -> Features:
    """All present."""
    return Features(values, np.ones(len(values), bool), (Status.OK,) * len(values))


def main() -> None:
    """Print the table."""
    as_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_is)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted((options.data / "ravdess").glob("Actor_*/*.ogg"))
    actors = np.array([int(file.stem.split("-")[6]) - 1 for file in files])
    data = ravdess(options.data / "ravdess")
    found = [measure(data, actors, seed) for seed in range(options.seeds)]
    for name in found[0]:
        each = [one[name] for one in found]
        print(f"{name}: {np.mean(each):.1f} ({', '.join(f'{value:.1f}' for value in each)})")


if __name__ == "__main__":
    main()
