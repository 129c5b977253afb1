"""Data sets as training and evaluation see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from erc_cli.errors import ErcError, UsageError, nearest
from erc_cli.learning import Dataset, Labelled, Progress, Report, Split
from erc_cli.options import NOTHING, bind
from erc_cli.types import Conversation, Encoded, Extractor, Features, Modality, PictureExtractor, Utterance

if TYPE_CHECKING:
    from erc_cli.registry import Registry
    from erc_cli.types import IntArray

TRAINING_SPLITS = ("train", "dev")


def open_datasets(
    names: Iterable[str],
    registry: Registry,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    folder: Path = Path(),
) -> dict[str, Dataset]:
    """Open every `NAME:PATH`, with `options[NAME]` (a preset's `data`; its files lie in `folder`).

    Raises:
        UsageError: not of that form, an unknown name, an option that does not fit, a path that is
            not such a data set.
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
        place = Path(path).expanduser()
        if not place.exists():
            close = nearest(place.name, [p.name for p in sorted(place.parent.glob("*"))])
            raise UsageError(
                f"{place}: no such file or folder.{close}", hint="What each data set needs: docs/datasets.md"
            )
        bound, wrong = bind(spec.open, (options or {}).get(name, {}), folder, NOTHING)
        if wrong:
            said = "\n".join(f"  {c.option}: {c.message}" for c in wrong)
            raise UsageError(
                f"The options of data.{name} do not fit:\n{said}", hint=f"See: erc plugins show {name}"
            )
        opened[name] = spec.open(place, **bound)
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
            found = datasets[name].read(split)
            same = set(found.labels) == set(labels)
            seen[name, split] = relabel(found, labels, name) if same else found
        return seen[name, split]

    return read


def relabel(split: Split, labels: tuple[str, ...], name: str) -> Split:
    """The split with its labels in the preset's order.

    Raises:
        UsageError: they are not the preset's.
    """
    if split.labels == labels:
        return split
    if set(split.labels) != set(labels):
        raise UsageError(
            f"The labels of {name} ({', '.join(split.labels)}) are not those of the preset"
            f" ({', '.join(labels)}).",
            hint="Train a preset with these labels: erc presets copy default my.yaml",
        )
    new = {old: labels.index(label) for old, label in enumerate(split.labels)} | {-1: -1}
    order = [split.labels.index(label) for label in labels]
    pictures = split.picture_targets
    return replace(
        split,
        labels=labels,
        targets=tuple(tuple(new[t] for t in row) for row in split.targets),
        shares=None if split.shares is None else split.shares[:, order],
        picture_targets=None if pictures is None else np.array([new[int(t)] for t in pictures]),
    )


def branches_for(split: Split, extractors: Mapping[Modality, tuple[str, Extractor]]) -> frozenset[Modality]:
    """The modalities that the split has something for: words, ready rows, or face pictures.

    `extractors` gives each modality its extractor's registered name and the extractor.
    """
    if split.pictures is not None:
        return frozenset(m for m, (_, e) in extractors.items() if hasattr(e, "encode_pictures"))
    if not split.conversations:
        return frozenset()
    return frozenset(m for m, (name, _) in extractors.items() if m is Modality.TEXT or name in split.ready)


def features_of(
    split: Split,
    extractors: Mapping[Modality, tuple[str, Extractor]],
    report: Report = lambda progress: None,
) -> Labelled | None:
    """Features of every branch that the split has something for; None where it has nothing."""
    found = branches_for(split, extractors)
    if not found:
        return None
    if split.pictures is not None:
        seer = cast("PictureExtractor", extractors[Modality.VISUAL][1])
        return labelled(split, {Modality.VISUAL: seer.encode_pictures(split.pictures)})
    usable = {m: extractors[m] for m in extractors if m in found}
    parts: dict[Modality, list[Features]] = {m: [] for m in usable}
    total = len(split.conversations)
    for i, conversation in enumerate(split.conversations):
        report(Progress(f"features of {split.name}", i, total))
        for modality, (name, extractor) in usable.items():
            empty: tuple[Encoded | None, ...] = (None,) * len(conversation.utterances)
            rows = split.ready[name][i] if name in split.ready else empty
            parts[modality].append(extractor.gather(conversation, rows))
    report(Progress(f"features of {split.name}", total, total))
    return labelled(split, {m: join(rows) for m, rows in parts.items()})


def labelled(split: Split, features: Mapping[Modality, Features]) -> Labelled:
    """The split's labels beside features of all its utterances.

    A picture is a conversation of one utterance without words.
    """
    if split.picture_targets is not None:
        count = len(split.picture_targets)
        alone = Conversation((Utterance(0, 0, ""),))
        return Labelled(split.picture_targets, np.arange(count), (alone,) * count, features)
    targets = np.array([t for row in split.targets for t in row], dtype=np.int64)
    dialogues = np.repeat(np.arange(len(split.targets)), [len(row) for row in split.targets])
    return Labelled(targets, dialogues, split.conversations, features)


def join(parts: Sequence[Features]) -> Features:
    """The rows of several conversations, one after the other."""
    return Features(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.present for p in parts]),
        tuple(s for p in parts for s in p.status),
    )


def take(features: Features, rows: IntArray) -> Features:
    """The rows of that number."""
    return Features(features.values[rows], features.present[rows], tuple(features.status[i] for i in rows))


def known_rows(data: Labelled) -> Labelled:
    """The rows that have a label; for what looks at each row by itself."""
    rows = np.flatnonzero(data.known)
    features = {m: take(f, rows) for m, f in data.features.items()}
    return replace(data, targets=data.targets[rows], dialogues=data.dialogues[rows], features=features)
