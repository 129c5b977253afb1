"""The extractor `faces`: M2FNet's weighted face model on our detector and expression network."""

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
from erc_cli.types import Encoded, Features, Status, Wish
from erc_visual_faces.faces import SIDE, cut_faces
from erc_visual_faces.mtcnn import CELL, Face, Mtcnn
from erc_visual_faces.network import load_expression_net
from erc_visual_faces.scene import FLAGS, joined, joined_head, whole_frame
from erc_visual_faces.scene import SIDE as SCENE_SIDE

if TYPE_CHECKING:
    from erc_cli.types import ByteArray, Clip, Conversation, FloatArray, Head, Utterance

DETECTORS = ("mtcnn",)
POOLS = ("mean", "max")
SPREADS = ("evenly", "successive")
MTCNN_WEIGHTS = Path(__file__).parent / "weights" / "mtcnn.safetensors"
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

    def __post_init__(self) -> None:
        words = {"detector": DETECTORS, "pool": POOLS, "spread": SPREADS}
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

    M2FNet, section "Visual": every face of a frame is embedded, the frame's vector is the sum of
    its faces' weighted by the area of their boxes (normalised here to a sum of 1), and the
    utterance's is pooled over its frames. A frame without a face contributes nothing.

    The paper pools by maximum. The default here is the mean: the network's own head is linear, so
    the head of a mean of embeddings is the mean of what it says of each, while the elementwise
    maximum over frames is no embedding of any face and the head was never trained on such a thing.

    With `scene` the same network, as in the paper, also reads every frame as a whole, pooled in the
    same way; `scene.py` says how both streams become one feature.
    """

    def __init__(self, weights: Path, options: Options) -> None:
        self._net, self._head = load_expression_net(weights)
        self._net.to(options.device).eval()
        self._options = options
        # The detector's sums need double precision, which Apple's GPUs do not have.
        device = "cpu" if options.device.startswith("mps") else options.device
        self._detector = Mtcnn(MTCNN_WEIGHTS, min_face=options.min_face, device=device)

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return 2 * self._net.dim + FLAGS if self._options.scene else self._net.dim

    @property
    def head(self) -> Head | None:
        """The classifier that the expression network was trained with; it sees faces only."""
        return joined_head(self._head) if self._options.scene else self._head

    def wish(self, utterance: Utterance) -> Wish:
        """Frames in the middle of `frames` equal parts of the utterance, or one if it has no length.

        Successive ones lie about its middle, 1 / `fps` seconds apart, as many as it has room for.
        """
        length = max(utterance.end - utterance.start, 0.0)
        count = self._options.frames if length > 0 else 1
        if self._options.spread == "successive":
            count = max(min(count, int(length * self._options.fps)), 1)
            length = min(length, count / self._options.fps)
        start = (utterance.start + max(utterance.end, utterance.start) - length) / 2
        times = tuple(start + length * (i + 0.5) / count for i in range(count))
        return Wish(frames=times, longest_side=self._options.longest_side)

    def encode(self, clip: Clip) -> Encoded:
        """The weighted face model, and the scene if it is on; `detail` says how many faces were seen."""
        if clip.frames_status is not Status.OK:
            return Encoded(None, clip.frames_status)
        if not clip.frames:
            return Encoded(None, Status.NO_VIDEO)
        pictures = [prepared(frame.rgb, self._options.longest_side) for frame in clip.frames]
        found = self._detect(pictures)
        with_face = [(rgb, faces) for rgb, faces in zip(pictures, found, strict=True) if faces]
        detail = {
            "faces": round(sum(map(len, found)) / len(found), 3),
            "frames_with_face": len(with_face),
        }
        face = self._face_stream(with_face) if with_face else None
        if not self._options.scene:
            return Encoded(face, Status.NO_FACE if face is None else Status.OK, detail)
        frames = np.stack([whole_frame(rgb) for rgb in pictures])
        scene = self._pooled(self._embed(frames, SCENE_SIDE))
        return Encoded(joined(scene, face, self._net.dim), Status.OK, detail)

    def _face_stream(self, with_face: Sequence[tuple[ByteArray, list[Face]]]) -> FloatArray:
        """The feature [d] of frames that show faces: weighted by area, pooled over the frames."""
        crops = np.concatenate([cut_faces(rgb, faces) for rgb, faces in with_face])
        embeddings = iter(np.split(self._embed(crops), np.cumsum([len(f) for _, f in with_face])[:-1]))
        return self._pooled([shares(faces) @ next(embeddings) for _, faces in with_face])

    def _pooled(self, vectors: FloatArray | Sequence[FloatArray]) -> FloatArray:
        """[frames, d] -> [d]."""
        pooled = np.max(vectors, 0) if self._options.pool == "max" else np.mean(vectors, 0)
        return np.asarray(pooled, dtype=np.float32)

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
        """The rows as they are: a face is read without its context."""
        status = tuple(Status.NO_VIDEO if row is None else row.status for row in rows)
        values = np.zeros((len(rows), self.dim), dtype=np.float32)
        for i, row in enumerate(rows):
            if row is not None and row.values is not None:
                values[i] = row.values
        return Features(values, np.array([s is Status.OK for s in status], dtype=np.bool_), status)

    def _detect(self, pictures: Sequence[ByteArray]) -> list[list[Face]]:
        """Faces of each picture; pictures of one size go through the detector together."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, picture in enumerate(pictures):
            sizes.setdefault(picture.shape, []).append(i)
        found: list[list[Face]] = [[] for _ in pictures]
        for places in sizes.values():
            for i, faces in zip(
                places, self._detector.detect_batch([pictures[i] for i in places]), strict=True
            ):
                found[i] = faces
        return found

    @torch.inference_mode()
    def _embed(self, pictures: ByteArray, side: int = SIDE) -> FloatArray:
        """uint8 [n, h, w], brought to `side` x `side` -> float32 [n, d]."""
        parts = [np.zeros((0, self._net.dim), dtype=np.float32)]
        for start in range(0, len(pictures), BATCH):
            batch = torch.from_numpy(pictures[start : start + BATCH].astype(np.float32))
            parts.append(self._net(_to_side(batch[:, None].to(self._options.device), side)).cpu().numpy())
        return np.concatenate(parts)


def shares(faces: Sequence[Face]) -> FloatArray:
    """Each face's share [n] of the area of all boxes of its frame; they sum to 1."""
    areas = np.array([face.area for face in faces])
    return np.asarray(areas / areas.sum(), dtype=np.float32)


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


def _to_side(pictures: Tensor, side: int) -> Tensor:
    """[n, 1, h, w] -> [n, 1, side, side]."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    return interpolate(pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
