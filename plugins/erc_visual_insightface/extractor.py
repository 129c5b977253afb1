"""The extractor `insightface`: M2FNet's weighted face model on the networks of a model pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import ErcError, UsageError
from erc_cli.faces.align import ARCFACE, FER2013, aligned
from erc_cli.faces.arcface import BATCH, SIDE, ArcFace
from erc_cli.faces.onnx_file import Kind, pick, read_folder
from erc_cli.faces.reader import Frames, Reader, placed
from erc_cli.faces.record import Face
from erc_cli.faces.scrfd import Scrfd
from erc_cli.faces.weighted import Sampling
from erc_cli.types import Encoded, Features, Status, Wish

if TYPE_CHECKING:
    from erc_cli.device import Placement
    from erc_cli.types import ByteArray, Clip, Conversation, FloatArray, Utterance

FER_SIDE = 48


@dataclass(frozen=True, slots=True)
class Pack:
    """The networks of a pack, and the device that was asked for."""

    detector: Scrfd
    embedding: ArcFace
    device: str


def open_pack(folder: Path, min_face: int, device: str) -> Pack:
    """The detector and the embedding of a pack. The library itself never looks for one: a pack that is
    missing would be asked for on the network, and leave an empty folder.

    Raises:
        UsageError: it is no folder, a file in it is damaged, or one of the two is not in it.
        ErcError: a library is missing.
    """
    hint = "Type: erc models list   (InsightFace's packs are for non-commercial research)"
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise UsageError(f"visual.pack: {folder} {what}; a pack is a folder of *.onnx files.", hint=hint)
    networks = read_folder(folder)
    if not networks:
        raise UsageError(f"visual.pack: {folder} holds no *.onnx file.", hint=hint)
    detector, embedding = (pick(networks, kind, folder) for kind in (Kind.SCRFD, Kind.ARCFACE))
    made = Scrfd(detector, min_face=min_face, device=device), ArcFace(embedding, device=device)
    return Pack(*made, device)


class InsightFaceExtractor:
    """Fulfils `PictureExtractor`: the faces of some frames of an utterance -> a vector [d].

    M2FNet's weighted face model, see `erc_cli.faces.weighted`, on ArcFace's unit vectors (d = 512 in the
    packs). With `tell_apart` the speaker's face is preferred to the others, see `erc_cli.faces.identity`.
    """

    head = None

    def __init__(self, pack: Pack, sampling: Sampling, *, pool: str, tell_apart: bool) -> None:
        detector, embedding, self._device = pack.detector, pack.embedding, pack.device
        self._embedding = embedding
        self._reader = Reader(sampling, detector, self._embed_faces, pool, embedding if tell_apart else None)

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._embedding.dim

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return placed(
            self._device, {"detector": self._reader.detector, "face embedding": self._embedding}, alone=True
        )

    @property
    def reach(self) -> tuple[int, int] | None:
        """None where speakers' faces are sought in the whole conversation; else an utterance is by itself."""
        return (0, 0) if self._reader.identify is None else None

    def wish(self, utterance: Utterance) -> Wish:
        """Some frames of the utterance, see `Sampling`."""
        return self._reader.sampling.wish(utterance)

    def encode(self, clip: Clip) -> Encoded:
        """The weighted face model; `detail` says how many faces were seen."""
        seen = self._reader.read(clip)
        if isinstance(seen, Encoded):
            return seen
        return Encoded(seen.face, Status.NO_FACE if seen.face is None else Status.OK, seen.detail)

    def encode_pictures(self, pictures: ByteArray) -> Features:
        """Features [n, d] of uint8 pictures [n, height, width] (grey) of one face each, cut as in FER2013.

        Raises:
            ErcError: the array is not of that kind.
        """
        if pictures.ndim != 3 or pictures.dtype != np.uint8:
            raise ErcError(
                f"Pictures are uint8 [n, height, width], not {pictures.dtype} {list(pictures.shape)}.",
                hint="Turn colour pictures to grey first.",
            )
        count, height, width = pictures.shape
        face = Face((0, 0, width, height), 1.0, (FER2013 * [width, height] / FER_SIDE).astype(np.float32))
        parts = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, count, BATCH):
            every = [np.repeat(picture[..., None], 3, 2) for picture in pictures[start : start + BATCH]]
            cut = [aligned(rgb, [face], ARCFACE, SIDE) for rgb in every]
            parts.append(self._embedding.embed_pictures(np.concatenate(cut)))
        return Features(np.concatenate(parts), np.ones(count, dtype=np.bool_), (Status.OK,) * count)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """The rows as they are, or with the speakers' faces preferred."""
        return self._reader.features(conversation, rows, self.dim, slice(0, self.dim))

    def _embed_faces(self, frames: Frames) -> FloatArray:
        """Aligned faces of frames -> [n, d]."""
        cut = [aligned(rgb, faces, ARCFACE, SIDE) for rgb, faces in frames]
        return self._embedding.embed_pictures(np.concatenate(cut))
