"""From a face in a frame to a picture in which every face's landmarks are in the same place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray

MAX_SAMPLES = 16  # per side of an output pixel; beyond, faces are far larger than any frame asked for

#: where ArcFace's training pictures of 112x112 have the five landmarks (Deng et al. 2019, InsightFace);
#: SphereFace's of 96x112 (Liu et al. 2017) are the same without eight columns on either side
ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
SPHEREFACE = ARCFACE - [8.0, 0.0]
#: where our own detector finds them in FER2013's pictures of 48x48, see `erc_visual_faces.faces`
FER2013 = np.array([[15.26, 18.22], [32.74, 18.22], [24.0, 28.29], [16.64, 37.49], [31.36, 37.49]])


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cut picture lies in the frame: point (u, v) of it is `origin` + step * (u + iv).

    Complex numbers stand for points x + iy: multiplying by one turns and scales at once.
    """

    origin: complex
    step: complex

    @property
    def scale(self) -> float:
        """Pixels of the frame per pixel of the picture."""
        return abs(self.step)


def as_points(places: np.ndarray) -> np.ndarray:
    """[n, 2] -> complex [n]."""
    return places[:, 0].astype(np.float64) + 1j * places[:, 1]


def place_on(face: Face, template: np.ndarray) -> Placement:
    """Turn, scale and shift that bring the face's landmarks [5, 2] nearest to the template's.

    Least squares in the template's pixels, as those who trained the networks did it (Umeyama 1991).
    """
    found, known = as_points(face.landmarks), as_points(template)
    spread, wanted = found - found.mean(), known - known.mean()
    forth = complex(np.vdot(spread, wanted) / max(np.vdot(spread, spread).real, 1e-9))
    # Landmarks all but in one place: as large as the box, upright.
    step = 1 / forth if 1e-3 < abs(forth) < 1e3 else complex(max(face.side, 1.0) / 112)
    return Placement(complex(found.mean() - step * known.mean()), step)


def aligned(rgb: ByteArray, faces: Sequence[Face], template: np.ndarray, width: int) -> ByteArray:
    """uint8 frame [h, w, 3] and its faces -> uint8 pictures [n, 112, width, 3]."""
    pictures = np.zeros((len(faces), 112, width, 3), dtype=np.uint8)
    for i, face in enumerate(faces):
        samples = sampled(rgb, place_on(face, template), 112, width)
        pictures[i] = samples.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return pictures


@torch.inference_mode()
def sampled(
    rgb: ByteArray, where: Placement, height: int, width: int, mix: Sequence[float] | None = None
) -> Tensor:
    """uint8 frame [h, w, 3] -> float [3, height, width]: the mean of the area under each output pixel.

    `mix`: weights of the three colours, for one grey channel instead. Each output pixel is the mean of
    samples at most one frame pixel apart. Beyond the frame its edge is repeated.
    """
    count = min(max(math.ceil(where.scale), 1), MAX_SAMPLES)
    across = (np.arange(width * count) + 0.5) / count
    down = (np.arange(height * count) + 0.5) / count
    points = where.origin + where.step * (across[None, :] + 1j * down[:, None])
    # Only the part of the frame that is needed is taken.
    left, right = _span(points.real, rgb.shape[1])
    top, bottom = _span(points.imag, rgb.shape[0])
    part = rgb[top:bottom, left:right].astype(np.float32)
    if mix is not None:
        part = (part @ np.array(mix, dtype=np.float32))[..., None]
    x = (points.real - left) * 2 / (right - left) - 1
    y = (points.imag - top) * 2 / (bottom - top) - 1
    grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32))
    channels = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))
    samples = grid_sample(channels[None], grid[None], padding_mode="border", align_corners=False)
    return avg_pool2d(samples, count)[0]


def _span(places: np.ndarray, size: int) -> tuple[int, int]:
    """First and last pixel (exclusive) needed to sample at places along an axis of `size` pixels."""
    first = min(max(math.floor(places.min()) - 1, 0), size - 1)
    last = max(min(math.ceil(places.max()) + 1, size), first + 1)
    return first, last
