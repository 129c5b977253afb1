"""Parts of pictures at another size, each new pixel the mean colour of the area that it covers.

A table of sums (Crow 1984, "Summed-area tables for texture mapping") is made once per frame and
answers for whole frames and for any number of windows, however large the reduction, with four
look-ups per corner. Coordinates are continuous: pixel i covers i to i + 1. The answers are what
MTCNN's networks take: float32 [n, 3, height, width] in (value - 127.5) / 128.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Indices = NDArray[np.int64]

GREY = 127.5  # the value that the networks see as zero


def sums_table(frames: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] -> integers [n, h + 1, w + 1, 3]: sums over all above and to the left."""
    n, height, width, channels = frames.shape
    kind = torch.int32 if 255 * height * width < 2**31 else torch.int64
    table = torch.zeros((n, height + 1, width + 1, channels), dtype=kind, device=frames.device)
    torch.cumsum(frames.cumsum(1, dtype=kind), 2, dtype=kind, out=table[:, 1:, 1:])
    return table


def _between(table: Tensor, dim: int, places: Tensor) -> Tensor:
    """The table at fractional places [k] along one dimension, exact for pictures made of pixels."""
    low = places.floor().long().clamp(0, table.shape[dim] - 2)
    shape = [1] * table.dim()
    shape[dim] = -1
    share = (places - low).view(shape)
    below, above = table.index_select(dim, low), table.index_select(dim, low + 1)
    return below.double().lerp_(above.double(), share)


def shrink(table: Tensor, height: int, width: int) -> Tensor:
    """Whole frames shrunk to [n, 3, height, width], as the networks want them."""
    tall, wide = table.shape[1] - 1, table.shape[2] - 1
    rows = torch.linspace(0, tall, height + 1, dtype=torch.float64, device=table.device)
    columns = torch.linspace(0, wide, width + 1, dtype=torch.float64, device=table.device)
    means = _between(_between(table, 1, rows).diff(dim=1), 2, columns).diff(dim=2)
    return _normalise(means.mul_(height * width / (tall * wide)))


def cut(table: Tensor, owner: Indices, boxes: Doubles, size: int) -> Tensor:
    """Boxes [n, 4] of frames `owner` [n] as pictures [n, 3, size, size]; outside the frame they are grey.

    Grey is the networks' zero. Of 132 frames cut through the face it lost 1 and black 2, and the
    landmarks moved by 0.9 % of the face's width against 1.4 %.
    """
    device = table.device
    _, tall, wide, channels = table.shape
    box = torch.from_numpy(boxes).to(device)
    steps = torch.linspace(0, 1, size + 1, dtype=torch.float64, device=device)
    x = (box[:, :1] + (box[:, 2:3] - box[:, :1]) * steps).clamp(0, wide - 1)  # [n, size + 1]
    y = (box[:, 1:2] + (box[:, 3:4] - box[:, 1:2]) * steps).clamp(0, tall - 1)
    left, top = x.floor().long().clamp(max=wide - 2), y.floor().long().clamp(max=tall - 2)
    first = torch.from_numpy(owner).to(device)[:, None] * tall
    corner = ((first + top)[:, :, None] * wide + left[:, None, :]).flatten()
    flat = table.view(-1, channels)

    def at(offset: int) -> Tensor:
        return flat.index_select(0, corner + offset).view(len(box), size + 1, size + 1, channels).double()

    across = (x - left)[:, None, :, None]
    upper, lower = at(0).lerp_(at(1), across), at(wide).lerp_(at(wide + 1), across)
    sums = upper.lerp_(lower, (y - top)[:, :, None, None])
    cell = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / size**2
    inside = y.diff(dim=1)[:, :, None] * x.diff(dim=1)[:, None, :] / cell[:, None, None]
    means = sums.diff(dim=1).diff(dim=2) / cell[:, None, None, None]
    return _normalise(means + GREY * (1 - inside[..., None]))


def _normalise(means: Tensor) -> Tensor:
    """[n, h, w, 3] in 0..255 -> float32 [n, 3, h, w] in -1..1."""
    return ((means - GREY) / 128).float().permute(0, 3, 1, 2)
