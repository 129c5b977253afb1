"""A face, and what a detector of faces does.

Coordinates are continuous: pixel i covers i to i + 1, so a box may begin at a fraction of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from erc_cli.types import ByteArray, FloatArray

#: keys of `Encoded.detail`: where faces were found (see `boxes_of`), and which of them are the speaker's
BOXES, SPEAKER_BOXES = "boxes", "speaker_boxes"


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face. `box` is (left, top, right, bottom) in pixels and may reach outside the frame.

    `score` is the detector's, from 0 to 1. `landmarks` float32 [5, 2] are x, y in pixels of the eye on
    the left of the picture, the eye on the right, the nose, and the left and right corner of the mouth.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: FloatArray

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return max(right - left, 0.0) * max(bottom - top, 0.0)

    @property
    def side(self) -> float:
        """The longer side of the box in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


class Detector(Protocol):
    """Finds faces in pictures."""

    @property
    def device(self) -> str:
        """Where it runs, which may not be what was asked for."""

    def detect_batch(self, frames: Sequence[ByteArray]) -> list[list[Face]]:
        """Faces of each of several uint8 pictures [height, width, 3] of one size, best first."""


def detect_all(detector: Detector, pictures: Sequence[ByteArray]) -> list[list[Face]]:
    """Faces of each picture; pictures of one size go through the detector together."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, picture in enumerate(pictures):
        sizes.setdefault(picture.shape, []).append(i)
    found: list[list[Face]] = [[] for _ in pictures]
    for places in sizes.values():
        for i, faces in zip(places, detector.detect_batch([pictures[i] for i in places]), strict=True):
            found[i] = faces
    return found


def boxes_of(
    times: Sequence[float], pictures: Sequence[ByteArray], found: Sequence[Sequence[Face]]
) -> list[list[float]]:
    """For `Encoded.detail`: of every face [seconds, left, top, right, bottom], the sides as shares of the
    picture's width and height; in order of the frames."""
    boxes = []
    for time, picture, faces in zip(times, pictures, found, strict=True):
        height, width = picture.shape[:2]
        for face in faces:
            left, top, right, bottom = face.box
            sides = (left / width, top / height, right / width, bottom / height)
            boxes.append([round(time, 3), *(round(float(side), 4) for side in sides)])
    return boxes


class Embedder(Protocol):
    """Tells faces apart."""

    @property
    def device(self) -> str:
        """Where it runs, which may not be what was asked for."""

    def embed(self, rgb: ByteArray, faces: Sequence[Face]) -> FloatArray:
        """The faces of a uint8 frame [h, w, 3] -> unit vectors [n, d]: the closer, the more alike."""
