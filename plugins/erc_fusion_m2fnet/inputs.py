"""From labelled features to padded batches of dialogues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from erc_cli.errors import ErcError
from erc_cli.fitting import bucketed
from erc_cli.learning import Labelled
from erc_cli.types import Conversation, Features, Modality

if TYPE_CHECKING:
    from erc_cli.types import IntArray


NO_WORDS = Conversation(())


@dataclass(frozen=True, slots=True)
class Dialogue:
    """k utterances in order: features and `targets` [k], -1 where there is no label.

    `conversation` holds the words, for branches that are fitted along.
    """

    features: Mapping[Modality, Features]
    targets: IntArray
    conversation: Conversation = NO_WORDS

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class Batch:
    """b dialogues, padded to k utterances: `values[m]` float32 [b, k, d], `present[m]` bool [b, k].

    `targets` int64 [b, k] is -1 where padded or without label; `real` bool [b, k] is false where padded.
    """

    values: Mapping[Modality, Tensor]
    present: Mapping[Modality, Tensor]
    targets: Tensor
    real: Tensor

    def without(self, gone: Mapping[Modality, Tensor]) -> Batch:
        """With modality m absent from the dialogues where `gone[m]` [b] is true.

        Exactly what a dialogue looks like that never had the modality.
        """
        present = {m: p & ~gone[m][:, None] if m in gone else p for m, p in self.present.items()}
        return replace(self, present=present)


def dialogues_of(data: Labelled, where: str) -> list[Dialogue]:
    """The dialogues of a split that have a label anywhere.

    Raises:
        ErcError: a present row holds NaN or infinity; `where` names the data set and the split.
    """
    for modality, features in data.features.items():
        check_finite(modality, features, where)
    found = []
    for number in np.unique(data.dialogues):
        rows = np.flatnonzero(data.dialogues == number)
        targets = data.targets[rows]
        if (targets >= 0).any():
            own = {m: _rows(f, rows) for m, f in data.features.items()}
            found.append(Dialogue(own, targets, data.conversations[int(number)]))
    return found


def _rows(features: Features, rows: IntArray) -> Features:
    status = tuple(features.status[i] for i in rows)
    return Features(features.values[rows], features.present[rows], status)


def check_finite(modality: Modality, features: Features, where: str) -> None:
    """See `dialogues_of`."""
    bad = np.flatnonzero(features.present & ~np.isfinite(features.values).all(axis=1))
    if len(bad):
        column = int(np.flatnonzero(~np.isfinite(features.values[bad[0]]))[0])
        value = features.values[bad[0], column]
        raise ErcError(
            f"{where}: the features of {modality} hold {value} in row {bad[0]}, column {column}"
            f" ({len(bad)} such row{'s' if len(bad) > 1 else ''}).",
            hint=f"Extract or import the features of {modality} anew, or leave it out: --drop {modality}",
        )


def collate(dialogues: Sequence[Dialogue], widths: Mapping[Modality, int]) -> Batch:
    """Padded to the longest. A modality of `widths` that a dialogue does not have is all absent."""
    b, k = len(dialogues), max(len(one) for one in dialogues)
    values = {m: np.zeros((b, k, d), dtype=np.float32) for m, d in widths.items()}
    present = {m: np.zeros((b, k), dtype=bool) for m in widths}
    targets, real = np.full((b, k), -1, dtype=np.int64), np.zeros((b, k), dtype=bool)
    for i, one in enumerate(dialogues):
        n = len(one)
        targets[i, :n], real[i, :n] = one.targets, True
        for m in widths:
            if m in one.features:
                here = one.features[m].present
                values[m][i, :n][here] = one.features[m].values[here]
                present[m][i, :n] = here
    return Batch(
        {m: torch.from_numpy(v) for m, v in values.items()},
        {m: torch.from_numpy(p) for m, p in present.items()},
        torch.from_numpy(targets),
        torch.from_numpy(real),
    )


def in_order(dialogues: Sequence[Dialogue], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, the short dialogues first: nothing is random."""
    order = np.argsort([len(one) for one in dialogues], kind="stable")
    for begin in range(0, len(order), size):
        yield order[begin : begin + size].tolist()


def shuffled(dialogues: Sequence[Dialogue], size: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Indices in batches of `size` and of like length, in random order."""
    yield from bucketed((len(one) for one in dialogues), size, generator)


def padding_waste(dialogues: Sequence[Dialogue], size: int, seed: int) -> float:
    """Share of the padded batches of an epoch that is padding."""
    lengths = [len(one) for one in dialogues]
    batches = list(shuffled(dialogues, size, np.random.default_rng((seed, 0))))
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    return 1 - sum(lengths) / max(padded, 1)


def absences(
    modalities: Sequence[Modality], count: int, share: float, generator: np.random.Generator
) -> dict[Modality, Tensor]:
    """Which of `count` dialogues go without which modality: `[m]` bool [count].

    A dialogue is shortened with probability `share`, to one of the proper subsets, all equally likely;
    never to nothing.
    """
    everything = 2 ** len(modalities) - 1
    kept = np.full(count, everything)
    if everything > 1:
        hit = generator.random(count) < share
        kept = np.where(hit, generator.integers(1, everything, count), everything)
    return {m: torch.from_numpy((kept >> i) & 1 == 0) for i, m in enumerate(modalities)}


def statistics(dialogues: Sequence[Dialogue], modality: Modality) -> tuple[Tensor, Tensor]:
    """Mean and deviation [d] of the rows that are present (0 and 1 where there are none)."""
    parts = [one.features[modality] for one in dialogues]
    rows = np.concatenate([p.values[p.present] for p in parts]).astype(np.float64)
    if not len(rows):
        d = parts[0].values.shape[1]
        return torch.zeros(d), torch.ones(d)
    scale = rows.std(axis=0)
    # A constant column says nothing: as it stands, it is zero after its mean is taken off.
    scale = np.where(scale > 1e-6, scale, 1.0)
    return torch.from_numpy(rows.mean(axis=0)).float(), torch.from_numpy(scale).float()


def known_targets(dialogues: Sequence[Dialogue]) -> IntArray:
    """The labels of all utterances that have one."""
    targets = np.concatenate([one.targets for one in dialogues])
    return targets[targets >= 0]
