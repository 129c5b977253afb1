"""M2FNet's weighted face model (paper, section "Visual"), whatever finds and embeds the faces.

Every face of a frame is embedded, the frame's vector is the sum of its faces' weighted by the area of
their boxes (normalised here to a sum of 1), and the utterance's is pooled over its frames. A frame
without a face contributes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from erc_cli.types import Encoded, Features, Status, Wish

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray, FloatArray, Utterance


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of an utterance are looked at: see `wish`."""

    frames: int = 5
    longest_side: int = 640
    spread: str = "evenly"
    fps: float = 25.0

    def wish(self, utterance: Utterance) -> Wish:
        """Frames in the middle of `frames` equal parts of the utterance, or one if it has no length.

        Successive ones lie about its middle, 1 / `fps` seconds apart, as many as it has room for.
        """
        length = max(utterance.end - utterance.start, 0.0)
        count = self.frames if length > 0 else 1
        if self.spread == "successive":
            count = max(min(count, int(length * self.fps)), 1)
            length = min(length, count / self.fps)
        start = (utterance.start + max(utterance.end, utterance.start) - length) / 2
        times = tuple(start + length * (i + 0.5) / count for i in range(count))
        return Wish(frames=times, longest_side=self.longest_side)


def prepared(rgb: ByteArray, longest_side: int) -> ByteArray:
    """A frame as uint8 [h, w, 3], grey ones given three equal channels, large ones scaled down."""
    if rgb.ndim == 2:
        rgb = rgb[..., None]
    if rgb.shape[2] != 3:
        rgb = np.repeat(rgb[..., :1], 3, 2)
    height, width = rgb.shape[:2]
    scale = longest_side / max(height, width, 1)
    if scale >= 1:
        return rgb
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    picture = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None]
    small = interpolate(picture, size=size, mode="area")
    return small[0].permute(1, 2, 0).round().byte().numpy()


def shares(faces: Sequence[Face]) -> FloatArray:
    """Each face's share [n] of the area of all boxes of its frame; they sum to 1."""
    areas = np.array([face.area for face in faces])
    return np.asarray(areas / areas.sum(), dtype=np.float32)


def weighted(frames: Sequence[Sequence[Face]], embeddings: Sequence[FloatArray], pool: str) -> FloatArray:
    """The utterance's vector [d]: `frames` with at least one face each, and the embeddings [n, d] of
    each one's faces."""
    return pooled([shares(faces) @ vectors for faces, vectors in zip(frames, embeddings, strict=True)], pool)


def pooled(vectors: FloatArray | Sequence[FloatArray], pool: str) -> FloatArray:
    """[frames, d] -> [d], by `mean` or `max`."""
    return np.asarray(np.max(vectors, 0) if pool == "max" else np.mean(vectors, 0), dtype=np.float32)


def by_frame(frames: Sequence[Sequence[Face]], rows: FloatArray) -> list[FloatArray]:
    """One row for each face of all frames [n, ...] -> the rows of each frame."""
    return np.split(rows, np.cumsum([len(faces) for faces in frames])[:-1])


def seen(found: Sequence[Sequence[Face]]) -> dict[str, float | int]:
    """What was seen, for `Encoded.detail`: faces per frame, and frames that show any."""
    with_face = sum(bool(faces) for faces in found)
    return {"faces": round(sum(map(len, found)) / len(found), 3), "frames_with_face": with_face}


def as_features(rows: Sequence[Encoded | None], dim: int) -> Features:
    """The rows as they are, [n, dim]: a face is read without its context."""
    status = tuple(Status.NO_VIDEO if row is None else row.status for row in rows)
    values = np.zeros((len(rows), dim), dtype=np.float32)
    for i, row in enumerate(rows):
        if row is not None and row.values is not None:
            values[i] = row.values
    return Features(values, np.array([s is Status.OK for s in status], dtype=np.bool_), status)
