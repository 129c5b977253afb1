"""Data sets as training and evaluation see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from erc_cli.errors import ErcError, UsageError
from erc_cli.types import (
    Dataset,
    Encoded,
    Extractor,
    Features,
    Labelled,
    Modality,
    PictureExtractor,
    Progress,
    Report,
    Split,
)

if TYPE_CHECKING:
    from erc_cli.registry import Registry
    from erc_cli.types import IntArray

TRAINING_SPLITS = ("train", "dev")


def open_datasets(names: Iterable[str], registry: Registry) -> dict[str, Dataset]:
    """Open every `NAME:PATH`.

    Raises:
        UsageError: not of that form, an unknown name, a path that is not such a data set.
    """
    opened: dict[str, Dataset] = {}
    for text in names:
        name, colon, path = text.partition(":")
        if not colon or not path:
            raise UsageError(
                f"--data {text}: expected NAME:PATH.", hint="For instance: --data meld:data/MELD"
            )
        spec = registry.dataset(name)
        registry.require(spec)
        if name in opened:
            raise UsageError(f"--data names {name} twice.", hint="Give each data set once.")
        opened[name] = spec.open(Path(path).expanduser())
    return opened


def training_reader(datasets: Mapping[str, Dataset], labels: tuple[str, ...]) -> Callable[[str, str], Split]:
    """Reads train and dev splits, each once; anything else is refused, so no choice can see it."""
    seen: dict[tuple[str, str], Split] = {}

    def read(name: str, split: str) -> Split:
        if split not in TRAINING_SPLITS:
            raise ErcError(
                f"Training asked for the split {split!r} of {name}.",
                hint="Training reads train and dev only; use erc evaluate for the others.",
            )
        if (name, split) not in seen:
            seen[name, split] = relabel(datasets[name].read(split), labels, name)
        return seen[name, split]

    return read


def relabel(split: Split, labels: tuple[str, ...], name: str) -> Split:
    """The split as it is, once its labels are known to be the preset's, in the preset's order.

    Raises:
        UsageError: they are others.
    """
    if split.labels != labels:
        raise UsageError(
            f"The labels of {name} ({', '.join(split.labels)}) are not those of the preset"
            f" ({', '.join(labels)}).",
            hint="Train a preset with these labels: erc presets copy default my.yaml",
        )
    return split


def features_of(
    split: Split,
    extractors: Mapping[Modality, tuple[str, Extractor]],
    report: Report = lambda progress: None,
) -> Labelled | None:
    """Features of every branch that the split has something for; None where it has nothing.

    `extractors` gives each modality its extractor's registered name and the extractor.
    """
    if split.pictures is not None:
        return _picture_features(split, extractors)
    usable = {
        m: (name, e) for m, (name, e) in extractors.items() if m is Modality.TEXT or name in split.ready
    }
    if not split.conversations or not usable:
        return None
    parts: dict[Modality, list[Features]] = {m: [] for m in usable}
    for i, conversation in enumerate(split.conversations):
        report(Progress(f"features of {split.name}", i, len(split.conversations)))
        for modality, (name, extractor) in usable.items():
            empty: tuple[Encoded | None, ...] = (None,) * len(conversation.utterances)
            rows = split.ready[name][i] if name in split.ready else empty
            parts[modality].append(extractor.gather(conversation, rows))
    report(Progress(f"features of {split.name}", len(split.conversations), len(split.conversations)))
    targets = np.array([t for row in split.targets for t in row], dtype=np.int64)
    dialogues = np.repeat(np.arange(len(split.targets)), [len(row) for row in split.targets])
    labelled = targets >= 0
    return Labelled(
        targets[labelled],
        dialogues[labelled],
        {m: take(_join(found), labelled.nonzero()[0]) for m, found in parts.items()},
    )


def _picture_features(split: Split, extractors: Mapping[Modality, tuple[str, Extractor]]) -> Labelled | None:
    named = extractors.get(Modality.VISUAL)
    if named is None or not hasattr(named[1], "encode_pictures"):
        return None
    pictures, targets = split.pictures, split.picture_targets
    if pictures is None or targets is None:
        return None
    features = cast("PictureExtractor", named[1]).encode_pictures(pictures)
    return Labelled(targets, np.arange(len(targets)), {Modality.VISUAL: features})


def _join(parts: list[Features]) -> Features:
    return Features(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.present for p in parts]),
        tuple(s for p in parts for s in p.status),
    )


def take(features: Features, rows: IntArray) -> Features:
    """The rows of that number."""
    return Features(features.values[rows], features.present[rows], tuple(features.status[i] for i in rows))
