"""One vector of a sound's frames, which come piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

Pooling = Literal["mean", "mean_std", "max"]


def width_of(pooling: Pooling, dim: int) -> int:
    """Width of the vector of frames [t, `dim`]."""
    return 2 * dim if pooling == "mean_std" else dim


class Pool:
    """Mean, mean and deviation, or maximum of frames over time, whatever the pieces they come in.

    Deviations are those of the population, so that a single frame has 0. Pieces are joined in float64
    as Chan et al. (1983) do it; memory does not grow with their number.
    """

    def __init__(self, pooling: Pooling) -> None:
        self._pooling = pooling
        self._count = 0
        self._mean: Tensor | None = None
        self._spread = torch.zeros(())  # sum of squared differences from the mean
        self._max: Tensor | None = None

    def add(self, frames: Tensor) -> None:
        """Frames [t, d], t at least 1."""
        if self._pooling == "max":
            high = frames.amax(0).float().cpu()
            self._max = high if self._max is None else torch.maximum(self._max, high)
            return
        # reduced where they are, joined on the CPU: not every device knows float64
        variance, mean = torch.var_mean(frames.float(), 0, correction=0)
        count, mean, spread = len(frames), mean.cpu().double(), variance.cpu().double() * len(frames)
        if self._mean is None:
            self._count, self._mean, self._spread = count, mean, spread
            return
        total, gap = self._count + count, mean - self._mean
        self._spread = self._spread + spread + gap.square() * (self._count * count / total)
        self._mean = self._mean + gap * (count / total)
        self._count = total

    def vector(self) -> FloatArray:
        """float32 [d], or [2 d] for `mean_std`.

        Raises:
            ValueError: nothing was added.
        """
        made = self._max if self._pooling == "max" else self._mean
        if made is None:
            raise ValueError("nothing was added")
        if self._pooling == "mean_std":
            made = torch.cat([made, (self._spread / self._count).sqrt()])
        values: FloatArray = made.numpy().astype(np.float32)
        return values


def pieces(sound: FloatArray, most: int) -> list[FloatArray]:
    """A sound in as few equal pieces as have at most `most` samples each; views, not copies."""
    return np.array_split(sound, max(1, -(-len(sound) // most)))
