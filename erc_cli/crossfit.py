"""Features for the fusion: kept once computed, and out of fold where a branch knows the labels.

A branch that was fitted on the training dialogues gives features of them that already carry their
labels; a fusion fitted on those trusts the branch too much. Cross-fitting avoids it: the dialogues
are dealt into folds, and each fold's features come from a branch fitted on the other folds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from erc_cli.dataset import features_of, join, take
from erc_cli.learning import Progress, Report, Split, Trained, TrainJob
from erc_cli.types import Extractor, Features, Modality, Status
from erc_cli.weights import read_weights, write_weights

SCHEMA = "erc.run-features/1"


def remember(path: Path, make: Callable[[], Features]) -> Features:
    """The features kept at `path`, or made now and kept."""
    if path.exists():
        found = read_weights(path, SCHEMA)
        status = tuple(Status(s) for s in json.loads(found.metadata["status"]))
        return Features(found.tensors["values"], found.tensors["present"], status)
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"status": json.dumps([str(s) for s in made.status])}
    write_weights(path, {"values": made.values, "present": made.present}, SCHEMA, about)
    return made


def branch_features(
    split: Split, modality: Modality, name: str, extractor: Extractor, report: Report
) -> Features:
    """Features [n, d] of all utterances of the split from the extractor registered as `name`.

    The split must have something for it, see `branches_for`.
    """
    data = features_of(split, {modality: (name, extractor)}, report)
    if data is None:
        raise ValueError(f"{split.name} has nothing for {name}")
    return data.features[modality]


def deal(count: int, folds: int, seed: int) -> list[list[int]]:
    """The dialogues 0..count-1 dealt into folds at random, each fold sorted.

    With fewer dialogues than folds, each dialogue is a fold.
    """
    order = np.random.default_rng((seed, count)).permutation(count)
    folds = max(1, min(folds, count))
    return [sorted(order[k::folds].tolist()) for k in range(folds)]


def out_of_fold(
    job: TrainJob,
    name: str,
    folds: int,
    fit: Callable[[TrainJob], Trained],
    features: Callable[[Trained, Path, Split], Features],
) -> Features:
    """Features of the train split of data set `name`, each row from a branch that never saw its dialogue.

    `fit` is the branch's `train` with its options; `features(trained, folder, split)` computes them.
    A finished fold is kept in `job.folder`, its weights are not: a run that was cut off goes on with
    the fold it was in.
    """
    whole = job.read(name, "train")
    dealt = deal(len(whole.conversations), folds, job.seed)
    starts = np.cumsum([0, *(len(c.utterances) for c in whole.conversations)])
    parts: list[Features] = []
    rows: list[int] = []
    for k, held_out in enumerate(dealt):
        report = _labelled_report(job.report, f"fold {k + 1}/{len(dealt)}: ")
        folder = job.folder / f"fold-{k + 1}"

        def make(
            folder: Path = folder, held_out: Sequence[int] = held_out, report: Report = report
        ) -> Features:
            folder.mkdir(parents=True, exist_ok=True)
            rest = [i for i in range(len(whole.conversations)) if i not in set(held_out)]
            seen = replace(job, read=_without(job.read, name, rest), folder=folder, report=report)
            made = features(fit(seen), folder, pick(whole, held_out))
            shutil.rmtree(folder)
            return made

        parts.append(remember(job.folder / f"fold-{k + 1}.safetensors", make))
        rows += [row for i in held_out for row in range(starts[i], starts[i + 1])]
    return take(join(parts), np.argsort(rows))


def pick(split: Split, chosen: Sequence[int]) -> Split:
    """The split with only the conversations of those numbers."""
    shares = None
    if split.shares is not None:
        ends = np.cumsum([len(c.utterances) for c in split.conversations])
        shares = np.concatenate([np.split(split.shares, ends[:-1])[i] for i in chosen])
    return replace(
        split,
        conversations=tuple(split.conversations[i] for i in chosen),
        targets=tuple(split.targets[i] for i in chosen),
        shares=shares,
        ready={name: tuple(rows[i] for i in chosen) for name, rows in split.ready.items()},
        sources=tuple(split.sources[i] for i in chosen) if split.sources else (),
    )


def _without(
    read: Callable[[str, str], Split], name: str, rest: Sequence[int]
) -> Callable[[str, str], Split]:
    """`read`, but data set `name` has only the dialogues `rest` in its train split."""

    def reduced(data_set: str, split: str) -> Split:
        found = read(data_set, split)
        return pick(found, rest) if (data_set, split) == (name, "train") else found

    return reduced


def _labelled_report(report: Report, label: str) -> Report:
    return lambda p: report(Progress(p.stage, p.done, p.total, label + p.note))
