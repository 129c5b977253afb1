"""Features for the fusion: kept once computed, and out of fold where a branch knows the labels.

A branch that was fitted on the training dialogues gives features of them that already carry their
labels; a fusion fitted on those trusts the branch too much. Cross-fitting avoids it: the dialogues
are dealt into folds, and each fold's features come from a branch fitted on the other folds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from erc_cli.alignment import carry
from erc_cli.dataset import features_of, join, take
from erc_cli.files import own
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


@dataclass(frozen=True, slots=True)
class CrossFit:
    """How the train split of data set `name` gets features from branches that never saw the row's dialogue.

    `fit` is the branch's `train` with its options; `features(trained, folder, split)` computes them.
    `dev` gives what the branch that will be used says of the dev split: with it, every fold's branch
    is asked for the same, and its features are brought into the coordinates of that branch.
    A finished fold is kept in `job.folder`, its weights are not: a run that was cut off goes on with
    the fold it was in.
    """

    job: TrainJob
    name: str
    folds: int
    fit: Callable[[TrainJob], Trained]
    features: Callable[[Trained, Path, Split], Features]
    dev: Callable[[], Features] | None = None

    def dealt(self) -> list[list[int]]:
        """The dialogues of each fold."""
        whole = self.job.read(self.name, "train")
        return deal(len(whole.conversations), self.folds, self.job.seed)

    def path(self, number: int) -> Path:
        """Where the features of fold `number`, from 0, are kept."""
        return self.job.folder / f"fold-{number + 1}{'-and-dev' if self.dev else ''}.safetensors"


def lacking(plan: CrossFit) -> list[int]:
    """Numbers of the folds that are still to be made."""
    return [k for k in range(len(plan.dealt())) if not plan.path(k).exists()]


def one_fold(plan: CrossFit, number: int) -> Features:
    """Features of the dialogues of fold `number`, from 0, and then of dev if the plan has it.

    Made now, or by an earlier call.

    Raises:
        UsageError: another process is making them, for a run of another seed.
    """
    dealt = plan.dealt()
    job = plan.job

    def make() -> Features:
        folder = job.folder / f"fold-{number + 1}"
        whole = job.read(plan.name, "train")
        rest = [i for i in range(len(whole.conversations)) if i not in set(dealt[number])]
        seen = replace(
            job,
            read=_without(job.read, plan.name, rest),
            folder=folder,
            report=_labelled_report(job.report, f"fold {number + 1}/{len(dealt)}: "),
            fold=True,
        )
        with own(folder):
            trained = plan.fit(seen)
            parts = [pick(whole, dealt[number]), *([job.read(plan.name, "dev")] if plan.dev else [])]
            made = join([plan.features(trained, folder, part) for part in parts])
        shutil.rmtree(folder)
        return made

    return remember(plan.path(number), make)


def out_of_fold(plan: CrossFit) -> Features:
    """Features of all rows of the train split, in its order."""
    dealt = plan.dealt()
    sizes = [len(c.utterances) for c in plan.job.read(plan.name, "train").conversations]
    starts = np.cumsum([0, *sizes])
    rows = [row for held_out in dealt for i in held_out for row in range(starts[i], starts[i + 1])]
    found = [one_fold(plan, k) for k in range(len(dealt))]
    if plan.dev is not None:
        wanted = plan.dev()
        found = [_carried(one, wanted) for one in found]
    return take(join(found), np.argsort(rows))


def _carried(fold: Features, wanted: Features) -> Features:
    held_out = len(fold.values) - len(wanted.values)
    return carry(take(fold, np.arange(held_out)), take(fold, np.arange(held_out, len(fold.values))), wanted)


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
        ids=tuple(split.ids[i] for i in chosen) if split.ids else (),
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
