"""Intervals and tests over dialogues: whole dialogues are drawn, or swapped, never single utterances.

A score is a function of the tallies of hits, predictions and annotations per label (`metrics.tally`),
and those of a resample are the sums over its dialogues. So a resample is a matrix product, and all
systems and seeds are scored on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.metrics import tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import IntArray

    #: from tallies [..., 3, classes] to figures [...]
    Figure = Callable[[NDArray[Any]], NDArray[np.float64]]

REPEATS = 2000
SWAPS = 10_000
_BLOCK = 200


def by_dialogue(
    targets: IntArray, predicted: IntArray, dialogues: IntArray, classes: int
) -> NDArray[np.float32]:
    """The tally of each dialogue [dialogues, 3, classes]."""
    names, place = np.unique(dialogues, return_inverse=True)
    cell = (place * classes + targets) * classes + predicted
    counts = np.bincount(cell, minlength=len(names) * classes * classes)
    return tally(counts.reshape(len(names), classes, classes))


def bootstrap(tallies: NDArray[np.float32], *, repeats: int = REPEATS, seed: int = 0) -> NDArray[np.float32]:
    """Tallies [systems, repeats, 3, classes] of resampled dialogues.

    `tallies` [systems, dialogues, 3, classes]. Every resample draws as many dialogues as there are,
    with replacement, and is the same for all systems.
    """
    systems, dialogues, three, classes = tallies.shape
    flat = np.moveaxis(tallies, 1, 0).reshape(dialogues, -1)
    rng = np.random.default_rng(seed)
    parts = []
    for size in _blocks(repeats):
        drawn = rng.integers(0, dialogues, (size, dialogues)) + dialogues * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * dialogues).reshape(size, dialogues)
        parts.append(times.astype(np.float32) @ flat)
    return np.moveaxis(np.concatenate(parts).reshape(repeats, systems, three, classes), 1, 0)


def interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of a figure's resamples."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def swap_test(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    figure: Figure,
    *,
    repeats: int = SWAPS,
    seed: int = 0,
) -> float:
    """Two-sided p-value of the difference of two systems, by approximate randomisation (Noreen 1989).

    `first`, `second` [seeds, dialogues, 3, classes], compared in the mean over seeds. If it made no
    difference which system answers a dialogue, their answers could be swapped: each repeat swaps them
    for a random half of the dialogues, the same for all seeds. p is the share of repeats, the observed
    one included, in which the figures differ at least as much as they do.
    """
    seeds, dialogues, three, classes = first.shape
    one, other = (np.moveaxis(x, 1, 0).reshape(dialogues, -1) for x in (first, second))
    total, base, gap = one.sum(axis=0) + other.sum(axis=0), other.sum(axis=0), one - other
    observed = abs(float(figure(first.sum(axis=1)).mean() - figure(second.sum(axis=1)).mean()))
    rng = np.random.default_rng(seed)
    extreme = 0
    for size in _blocks(repeats):
        kept = rng.integers(0, 2, (size, dialogues)).astype(np.float32)
        mixed = base + kept @ gap
        shape = (size, seeds, three, classes)
        differs = figure(mixed.reshape(shape)) - figure((total - mixed).reshape(shape))
        extreme += int((np.abs(differs.mean(axis=1)) >= observed - 1e-9).sum())
    return (extreme + 1) / (repeats + 1)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order, at most 1."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, values[place] * (len(values) - rank)))
        corrected[place] = largest
    return corrected


def _blocks(repeats: int) -> Iterator[int]:
    """Sizes of blocks of at most `_BLOCK`, which keep memory small."""
    for done in range(0, repeats, _BLOCK):
        yield min(_BLOCK, repeats - done)
