"""From a face in a frame to the grey 48x48 picture that the expression network was trained on.

FER2013's pictures are tight crops, upright on the whole. `LANDMARKS` and `BOX` say where our own
detector finds a face in them: means over the 2585 of 3000 training pictures (drawn with seed 0,
enlarged three times, margins of 12 pixels repeated from the edge) that gave a face with a score
above 0.9, made symmetric about the middle column. Standard deviations over the pictures are 3.2 to
4.7 pixels for the landmarks and 4.3 to 6.1 for the edges of the box; roll is -1 degrees on average
with a deviation of 9, so a face turned upright is in the middle of what the network knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.faces.align import FER2013, Placement, as_points, sampled

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray

SIDE = 48
LANDMARKS = FER2013
BOX = np.array([4.5, -1.9, 43.5, 49.4])
FITTED = [0, 1, 3, 4]  # eyes and mouth; the tip of the nose moves with the head's turn
LUMA = (0.299, 0.587, 0.114)


def place(face: Face) -> Placement:
    """The placement that puts a face where FER2013's faces are.

    Turn and scale: least squares from the face's eyes and mouth corners to `LANDMARKS`. Position:
    the point halfway between the middle of those four and the middle of the box. In a head turned
    sideways the landmarks lie on the near side and the box keeps to the skull; halfway, FER2013's
    own pictures are found again with a sideways deviation of 2.6 pixels (3.9 for the fifth that is
    turned most), by the landmarks alone with 2.9 (4.6).
    """
    found, known = as_points(face.landmarks[FITTED]), as_points(LANDMARKS[FITTED])
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


def cut_face(rgb: ByteArray, where: Placement) -> ByteArray:
    """uint8 frame [h, w, 3] -> uint8 [48, 48]: mean grey of the area under each output pixel."""
    grey = sampled(rgb, where, SIDE, SIDE, LUMA)[0]
    return grey.round().clamp(0, 255).byte().numpy()
