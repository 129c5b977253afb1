"""YuNet by OpenCV: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 20, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.faces.onnx_file import Kind, Network, find_network, need
from erc_cli.faces.onnx_run import threads
from erc_cli.faces.record import Face

if TYPE_CHECKING:
    from erc_cli.types import ByteArray

EXTRA = "yunet"
THRESHOLD, OVERLAP, MOST = 0.6, 0.3, 5000
SIZE = 640  # what a free input is fixed to: OpenCV cannot read one, and asks for the real size later


class YuNet:
    """The detector, on the processor. `weights`: an ONNX file, or a folder with one.

    Raises:
        ErcError: OpenCV or onnx is missing.
        UsageError: the file is something else.
    """

    device = "cpu"

    def __init__(self, weights: Path, *, min_face: int = 40, threshold: float = THRESHOLD) -> None:
        need(("cv2", "onnx"), "The detector yunet", EXTRA)
        import cv2

        network = find_network(weights, Kind.YUNET)
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # its errors are raised, and told by us
        cv2.setNumThreads(threads())
        nothing = np.zeros(0, np.uint8)
        try:
            self._net: Any = cv2.FaceDetectorYN.create(
                "onnx", _fixed(network), nothing, (SIZE, SIZE), threshold, OVERLAP, MOST
            )
            self._net.detect(np.zeros((SIZE, SIZE, 3), np.uint8))
        except cv2.error as error:
            said = " ".join(str(error).split())[:200]
            raise UsageError(
                f"{network.path} cannot be run by OpenCV {cv2.__version__}: {said}",
                hint="Name another file. See: erc models list",
            ) from None
        self._min_face = min_face

    def detect_batch(self, frames: Sequence[ByteArray]) -> list[list[Face]]:
        """Faces of each uint8 frame [height, width, 3], best first; OpenCV takes one at a time."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: ByteArray) -> list[Face]:
        height, width = frame.shape[:2]
        if min(height, width) < self._min_face:
            return []
        self._net.setInputSize((width, height))
        _, rows = self._net.detect(np.ascontiguousarray(frame[..., ::-1]))
        faces = [_face(row) for row in ([] if rows is None else rows)]
        return [face for face in sorted(faces, key=_worst) if face.side >= self._min_face]


def _worst(face: Face) -> float:
    return -face.score


def _face(row: np.ndarray) -> Face:
    """OpenCV's row: left, top, width, height, five points (the eye on the picture's left first), score."""
    left, top, width, height = (float(value) for value in row[:4])
    landmarks = row[4:14].reshape(5, 2).astype(np.float32)
    return Face((left, top, left + width, top + height), min(float(row[14]), 1.0), landmarks)


def _fixed(network: Network) -> np.ndarray:
    """The file's bytes, a free input size fixed."""
    if None not in network.inputs[0][1]:
        return np.fromfile(network.path, np.uint8)
    import onnx

    model = onnx.load_model_from_string(network.path.read_bytes())
    value = next(v for v in model.graph.input if v.name == network.inputs[0][0])
    for place, size in zip(value.type.tensor_type.shape.dim, (1, 3, SIZE, SIZE), strict=True):
        place.ClearField("dim_param")
        place.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.shape.ClearField("dim")
    return np.frombuffer(model.SerializeToString(), np.uint8)
