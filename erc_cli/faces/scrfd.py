"""SCRFD by insightface: Guo, Deng, Lattas, Zafeiriou, "Sample and Computation Redistribution for Efficient
Face Detection", ICLR 2022 (arXiv 2105.04714).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.faces.onnx_file import Kind, Network, find_network, need
from erc_cli.faces.onnx_run import device_of, errors, open_session, refused
from erc_cli.faces.record import Face

if TYPE_CHECKING:
    from erc_cli.types import ByteArray

LIBRARIES = ("insightface", "onnx", "onnxruntime", "cv2")
EXTRA = "insightface"
THRESHOLD = 0.5
CELL = 32  # the coarsest stride: sides of a free input are multiples of it


class Scrfd:
    """The detector. `weights`: an ONNX file, or a folder with one; `min_face`: in pixels of the frame.

    Exports with a fixed input (640x640) are run at the frame's own size if their operations allow it, which
    takes two thirds of the time for 640x360. A frame is never enlarged: of a face that fills the picture
    SCRFD is unsure then (one of the test clips: score 0.39 at 640x640, 0.76 at its own 512x512).

    Raises:
        ErcError: a library is missing.
        UsageError: the file is something else.
    """

    def __init__(
        self,
        weights: Path | Network,
        *,
        min_face: int = 40,
        device: str = "cpu",
        threshold: float = THRESHOLD,
    ) -> None:
        need(LIBRARIES, "The detector scrfd", EXTRA)
        network = find_network(weights, Kind.SCRFD)
        self.path = network.path
        self._min_face = min_face
        self._threshold = threshold
        try:
            self._open(_freed(network), device)
        except UsageError:
            self._open(network.path, device)

    def _open(self, model: Path | bytes, device: str) -> None:
        """Make the network, and run it once: what cannot be run is known now."""
        from insightface.model_zoo import SCRFD

        session = open_session(model, device, self.path)
        self.device = device_of(session, device)
        self._net: Any = SCRFD(session=session)
        self._run(np.zeros((2 * CELL, 3 * CELL, 3), np.uint8))

    def detect_batch(self, frames: Sequence[ByteArray]) -> list[list[Face]]:
        """Faces of each uint8 frame [height, width, 3], best first.

        One by one: the networks of the packs take one picture at a time.
        """
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: ByteArray) -> list[Face]:
        if min(frame.shape[:2]) < self._min_face:
            return []
        boxes, points = self._run(frame)
        found = [
            Face((float(a), float(b), float(c), float(d)), min(float(score), 1.0), marks.astype(np.float32))
            for (a, b, c, d, score), marks in zip(boxes, points, strict=True)
        ]
        return [face for face in found if face.side >= self._min_face]

    def _run(self, frame: ByteArray) -> tuple[Any, Any]:
        """Boxes and scores [n, 5], landmarks [n, 5, 2]."""
        height, width = frame.shape[:2]
        size = self._canvas(height, width)
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        canvas[:height, :width] = frame[..., ::-1]  # insightface, as OpenCV, has blue first
        try:
            boxes, points = self._net.detect(canvas, input_size=size, det_thresh=self._threshold)
        except errors() as error:
            raise refused(self.path, error) from None
        return boxes, points

    def _canvas(self, height: int, width: int) -> tuple[int, int]:
        """Width and height of the picture that the frame is laid into: of the input's proportions."""
        fixed = self._net.static_input_size
        if fixed is None:
            return math.ceil(width / CELL) * CELL, math.ceil(height / CELL) * CELL
        scale = max(width / fixed[0], height / fixed[1], 1.0)
        return math.ceil(fixed[0] * scale), math.ceil(fixed[1] * scale)


def _freed(network: Network) -> bytes:
    """The model with any height and width."""
    import onnx

    model = onnx.load_model_from_string(network.path.read_bytes())
    value = next(v for v in model.graph.input if v.name == network.inputs[0][0])
    for place, name in ((2, "height"), (3, "width")):
        value.type.tensor_type.shape.dim[place].dim_param = name
    for output in model.graph.output:
        sizes = output.type.tensor_type.shape.dim
        if len(sizes) >= 2:
            sizes[-2].ClearField("dim_value")  # how many anchors
    return bytes(model.SerializeToString())
