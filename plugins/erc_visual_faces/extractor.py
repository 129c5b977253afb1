"""The extractor `faces`: M2FNet's weighted face model on a detector and our expression network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from erc_cli.errors import ErcError, UsageError, nearest
from erc_cli.faces.reader import Frames, Reader, placed
from erc_cli.faces.weighted import Sampling, pooled
from erc_cli.types import Encoded, Features, Status, Wish
from erc_visual_faces.detectors import DETECTORS, make_detector
from erc_visual_faces.faces import SIDE, cut_faces
from erc_visual_faces.identifier import make_identifier
from erc_visual_faces.mtcnn import CELL
from erc_visual_faces.network import load_expression_net
from erc_visual_faces.scene import FLAGS, joined, joined_head, whole_frame
from erc_visual_faces.scene import SIDE as SCENE_SIDE

if TYPE_CHECKING:
    from erc_cli.device import Placement
    from erc_cli.types import ByteArray, Clip, Conversation, FloatArray, Head, Utterance

POOLS = ("mean", "max")
SPREADS = ("evenly", "successive")
WHOSE = ("all", "speaker")
BATCH = 256


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the extractor, see `build` in the plugin's front page.

    Raises:
        UsageError: an option has a value that means nothing.
    """

    frames: int = 5
    detector: str = "mtcnn"
    min_face: int = 40
    longest_side: int = 640
    pool: str = "mean"
    device: str = "cpu"
    scene: bool = False
    spread: str = "evenly"
    fps: float = 25.0
    detector_weights: Path | None = None
    faces: str = "all"
    identity_weights: Path | None = None

    def __post_init__(self) -> None:
        words = {"detector": DETECTORS, "pool": POOLS, "spread": SPREADS, "faces": WHOSE}
        for option, known in words.items():
            value = getattr(self, option)
            if value not in known:
                raise UsageError(
                    f"visual.{option}: {value!r} is not known.{nearest(value, known)}",
                    hint=f"Choose one of: {', '.join(known)}.",
                )
        least = {"frames": 1, "min_face": CELL, "longest_side": self.min_face}
        for option, limit in least.items():
            if getattr(self, option) < limit:
                raise UsageError(
                    f"visual.{option}: {getattr(self, option)} is too small.",
                    hint=f"Choose {limit} or more.",
                )


class FacesExtractor:
    """Fulfils `PictureExtractor`: the faces of some frames of an utterance -> a vector [d].

    M2FNet's weighted face model, see `erc_cli.faces.weighted`, on embeddings of the expression.

    The paper pools by maximum. The default here is the mean: the network's own head is linear, so
    the head of a mean of embeddings is the mean of what it says of each, while the elementwise
    maximum over frames is no embedding of any face and the head was never trained on such a thing.

    With `scene` the same network, as in the paper, also reads every frame as a whole, pooled in the
    same way; `scene.py` says how both streams become one feature. With `faces: speaker` the speaker's
    face is preferred to the others, see `erc_cli.faces.identity`.
    """

    def __init__(self, weights: Path, options: Options) -> None:
        identify = None
        if options.faces == "speaker":
            identify = make_identifier(options.identity_weights, options.device)
        self._net, self._head = load_expression_net(weights)
        self._net.to(options.device).eval()
        self._options = options
        self._reader = Reader(
            Sampling(options.frames, options.longest_side, options.spread, options.fps),
            make_detector(options.detector, options.detector_weights, options.min_face, options.device),
            self._embed_faces,
            options.pool,
            identify,
        )

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return 2 * self._net.dim + FLAGS if self._options.scene else self._net.dim

    @property
    def head(self) -> Head | None:
        """The classifier that the expression network was trained with; it sees faces only."""
        return joined_head(self._head) if self._options.scene else self._head

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        parts = {"detector": self._reader.detector, "face embedding": self._reader.identify}
        return placed(self._options.device, parts)

    @property
    def reach(self) -> tuple[int, int] | None:
        """None where speakers' faces are sought in the whole conversation; else an utterance is by itself."""
        return (0, 0) if self._reader.identify is None else None

    def wish(self, utterance: Utterance) -> Wish:
        """Some frames of the utterance, see `Sampling`."""
        return self._reader.sampling.wish(utterance)

    def encode(self, clip: Clip) -> Encoded:
        """The weighted face model, and the scene if it is on; `detail` says how many faces were seen."""
        seen = self._reader.read(clip)
        if isinstance(seen, Encoded):
            return seen
        if not self._options.scene:
            return Encoded(seen.face, Status.NO_FACE if seen.face is None else Status.OK, seen.detail)
        frames = np.stack([whole_frame(rgb) for rgb in seen.pictures])
        scene = pooled(self._embed(frames, SCENE_SIDE), self._options.pool)
        return Encoded(joined(scene, seen.face, self._net.dim), Status.OK, seen.detail)

    def encode_pictures(self, pictures: ByteArray) -> Features:
        """Features [n, d] of uint8 pictures [n, height, width] (grey) of one face each.

        Pictures of another size than 48x48 are brought to it. With the scene on, theirs is absent.

        Raises:
            ErcError: the array is not of that kind.
        """
        if pictures.ndim != 3 or pictures.dtype != np.uint8:
            raise ErcError(
                f"Pictures are uint8 [n, height, width], not {pictures.dtype} {list(pictures.shape)}.",
                hint="Turn colour pictures to grey first.",
            )
        count, faces = len(pictures), self._embed(pictures)
        values = joined(None, faces, self._net.dim) if self._options.scene else faces
        return Features(values, np.ones(count, dtype=np.bool_), (Status.OK,) * count)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """The rows as they are, or with the speakers' faces preferred."""
        first = self._net.dim if self._options.scene else 0
        return self._reader.features(conversation, rows, self.dim, slice(first, first + self._net.dim))

    def _embed_faces(self, frames: Frames) -> FloatArray:
        """The faces of frames, each cut as in FER2013 -> [n, d]."""
        return self._embed(np.concatenate([cut_faces(rgb, faces) for rgb, faces in frames]))

    @torch.inference_mode()
    def _embed(self, pictures: ByteArray, side: int = SIDE) -> FloatArray:
        """uint8 [n, h, w], brought to `side` x `side` -> float32 [n, d]."""
        parts = [np.zeros((0, self._net.dim), dtype=np.float32)]
        for start in range(0, len(pictures), BATCH):
            batch = torch.from_numpy(pictures[start : start + BATCH].astype(np.float32))
            parts.append(self._net(_to_side(batch[:, None].to(self._options.device), side)).cpu().numpy())
        return np.concatenate(parts)


def _to_side(pictures: Tensor, side: int) -> Tensor:
    """[n, 1, h, w] -> [n, 1, side, side]."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    return interpolate(pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
