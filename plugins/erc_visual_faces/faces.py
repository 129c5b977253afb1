"""From a face in a frame to the grey 48x48 picture that the expression network was trained on.

FER2013's pictures are tight crops, upright on the whole. `LANDMARKS` and `BOX` say where our own
detector finds a face in them: means over the 2585 of 3000 training pictures (drawn with seed 0,
enlarged three times, margins of 12 pixels repeated from the edge) that gave a face with a score
above 0.9, made symmetric about the middle column. Standard deviations over the pictures are 3.2 to
4.7 pixels for the landmarks and 4.3 to 6.1 for the edges of the box; roll is -1 degrees on average
with a deviation of 9, so a face turned upright is in the middle of what the network knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, grid_sample

if TYPE_CHECKING:
    from erc_cli.types import ByteArray
    from erc_visual_faces.mtcnn import Face

SIDE = 48
LANDMARKS = np.array([[15.26, 18.22], [32.74, 18.22], [24.0, 28.29], [16.64, 37.49], [31.36, 37.49]])
BOX = np.array([4.5, -1.9, 43.5, 49.4])
FITTED = [0, 1, 3, 4]  # eyes and mouth; the tip of the nose moves with the head's turn
LUMA = (0.299, 0.587, 0.114)
MAX_SAMPLES = 16  # per side of an output pixel; beyond, faces are far larger than any frame asked for


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the 48x48 picture lies in the frame: point (u, v) of it is `origin` + step * (u + iv).

    Complex numbers stand for points x + iy: multiplying by one turns and scales at once.
    """

    origin: complex
    step: complex

    @property
    def scale(self) -> float:
        """Pixels of the frame per pixel of the picture."""
        return abs(self.step)


def place(face: Face) -> Placement:
    """The placement that puts a face where FER2013's faces are.

    Turn and scale: least squares from the face's eyes and mouth corners to `LANDMARKS`. Position:
    the point halfway between the middle of those four and the middle of the box. In a head turned
    sideways the landmarks lie on the near side and the box keeps to the skull; halfway, FER2013's
    own pictures are found again with a sideways deviation of 2.6 pixels (3.9 for the fifth that is
    turned most), by the landmarks alone with 2.9 (4.6).
    """
    found, known = _points(face.landmarks[FITTED]), _points(LANDMARKS[FITTED])
    spread, wanted = found - found.mean(), known - known.mean()
    step = complex(np.vdot(wanted, spread) / np.vdot(wanted, wanted))
    left, top, right, bottom = face.box
    if abs(step) * SIDE < 0.2 * (bottom - top):
        step = complex((bottom - top) / (BOX[3] - BOX[1]))  # landmarks all but in one place
    centre = (found.mean() + complex(left + right, top + bottom) / 2) / 2
    target = (known.mean() + complex(BOX[0] + BOX[2], BOX[1] + BOX[3]) / 2) / 2
    return Placement(complex(centre - step * target), step)


def cut_faces(rgb: ByteArray, faces: Sequence[Face]) -> ByteArray:
    """uint8 frame [h, w, 3] and its faces -> uint8 pictures [n, 48, 48]."""
    pictures = np.zeros((len(faces), SIDE, SIDE), dtype=np.uint8)
    for i, face in enumerate(faces):
        pictures[i] = cut_face(rgb, place(face))
    return pictures


@torch.inference_mode()
def cut_face(rgb: ByteArray, where: Placement) -> ByteArray:
    """uint8 frame [h, w, 3] -> uint8 [48, 48]: mean grey of the area under each output pixel.

    Each output pixel is the mean of samples at most one frame pixel apart. Beyond the frame its
    edge is repeated.
    """
    count = min(max(math.ceil(where.scale), 1), MAX_SAMPLES)
    fine = (np.arange(SIDE * count) + 0.5) / count
    points = where.origin + where.step * (fine[None, :] + 1j * fine[:, None])
    # Only the part of the frame that is needed is made grey.
    height, width = rgb.shape[:2]
    left, right = _span(points.real, width)
    top, bottom = _span(points.imag, height)
    grey = rgb[top:bottom, left:right].astype(np.float32) @ np.array(LUMA, dtype=np.float32)
    x = (points.real - left) * 2 / (right - left) - 1
    y = (points.imag - top) * 2 / (bottom - top) - 1
    grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32))
    samples = grid_sample(
        torch.from_numpy(grey)[None, None], grid[None], padding_mode="border", align_corners=False
    )
    means = avg_pool2d(samples, count)[0, 0]
    return means.round().clamp(0, 255).byte().numpy()


def _points(places: np.ndarray) -> np.ndarray:
    """[n, 2] -> complex [n]."""
    return places[:, 0].astype(np.float64) + 1j * places[:, 1]


def _span(places: np.ndarray, size: int) -> tuple[int, int]:
    """First and last pixel (exclusive) needed to sample at places along an axis of `size` pixels."""
    first = min(max(math.floor(places.min()) - 1, 0), size - 1)
    last = max(min(math.ceil(places.max()) + 1, size), first + 1)
    return first, last
