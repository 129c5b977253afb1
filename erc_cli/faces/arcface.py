"""Face embeddings by insightface: Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep
Face Recognition", CVPR 2019 (arXiv 1801.07698).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.faces.align import ARCFACE, aligned
from erc_cli.faces.onnx_file import Kind, Network, find_network, need
from erc_cli.faces.onnx_run import device_of, errors, open_session, refused

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray, FloatArray

LIBRARIES = ("insightface", "onnx", "onnxruntime", "cv2")
SIDE = 112
BATCH = 32


class ArcFace:
    """An embedder of faces. `weights`: an ONNX file, or a folder with one of that kind.

    Raises:
        ErcError: a library is missing.
        UsageError: the file is something else.
    """

    def __init__(self, weights: Path | Network, *, device: str = "cpu") -> None:
        need(LIBRARIES, "ArcFace", "insightface")
        from insightface.model_zoo import ArcFaceONNX

        network = find_network(weights, Kind.ARCFACE)
        self.path = network.path
        session = open_session(self.path, device, self.path)
        self.device = device_of(session, device)
        self._net: Any = ArcFaceONNX(model_file=str(self.path), session=session)
        self._batch = network.inputs[0][1][0] or BATCH
        blank = self._answers([np.zeros((SIDE, SIDE, 3), np.uint8)])
        if blank.ndim != 2 or blank.shape[1] < 2:
            raise UsageError(
                f"{self.path} answers {list(blank.shape)} numbers, no embedding.", hint="Name another file."
            )
        self.dim = int(blank.shape[1])

    def embed(self, rgb: ByteArray, faces: Sequence[Face]) -> FloatArray:
        """The faces of a uint8 frame [h, w, 3] -> unit vectors [n, d]."""
        return self.embed_pictures(aligned(rgb, faces, ARCFACE, SIDE))

    def embed_pictures(self, pictures: ByteArray) -> FloatArray:
        """Aligned uint8 pictures [n, 112, 112, 3] -> unit vectors [n, d]."""
        parts = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(pictures), self._batch):
            parts.append(self._answers([one[..., ::-1] for one in pictures[start : start + self._batch]]))
        vectors = np.concatenate(parts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)

    def _answers(self, pictures: list[ByteArray]) -> FloatArray:
        """Pictures with blue first -> [n, d]. A network of a fixed batch gets blank ones to fill it."""
        blank = np.zeros((SIDE, SIDE, 3), np.uint8)
        fixed = self._net.session.get_inputs()[0].shape[0]
        filled = [*pictures, *[blank] * (fixed - len(pictures))] if isinstance(fixed, int) else pictures
        try:
            answers = np.asarray(self._net.get_feat([np.ascontiguousarray(one) for one in filled]))
        except errors() as error:
            raise refused(self.path, error) from None
        return answers[: len(pictures)].astype(np.float32)
