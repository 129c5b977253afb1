"""Which detector of faces the option `detector` means."""

from __future__ import annotations

from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.faces.record import Detector

DETECTORS = ("mtcnn", "scrfd", "yunet")
MTCNN_WEIGHTS = Path(__file__).parent / "weights" / "mtcnn.safetensors"


def make_detector(name: str, weights: Path | None, min_face: int, device: str) -> Detector:
    """The detector `name`. MTCNN brings its weights, the others need theirs.

    Raises:
        UsageError: weights are given where none are wanted, or the other way round, or do not fit.
        ErcError: a library is missing.
    """
    if name == "mtcnn":
        if weights is not None:
            raise UsageError(
                "visual.detector_weights: mtcnn has its own weights.",
                hint="Leave it out, or choose the detector: --set visual.detector=scrfd (or yunet)",
            )
        from erc_visual_faces.mtcnn import Mtcnn

        # The detector's sums need double precision, which Apple's GPUs do not have.
        device = "cpu" if device.startswith("mps") else device
        return Mtcnn(MTCNN_WEIGHTS, min_face=min_face, device=device)
    if weights is None:
        raise UsageError(
            f"visual.detector: {name} needs its network, an ONNX file.",
            hint="Type: --set visual.detector_weights=FILE   (see: erc models list)",
        )
    if name == "scrfd":
        from erc_cli.faces.scrfd import Scrfd

        return Scrfd(weights, min_face=min_face, device=device)
    from erc_visual_faces.yunet import YuNet

    return YuNet(weights, min_face=min_face)
