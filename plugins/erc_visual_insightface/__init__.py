"""`insightface`: SCRFD faces and ArcFace embeddings from a local pack, in M2FNet's weighted face model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between, Model
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Modality, PictureExtractor


def build(
    *,
    pack: Annotated[Path, Model()],
    frames: Annotated[int, Between(1)] = 5,
    min_face: Annotated[int, Between(12)] = 40,
    longest_side: Annotated[int, Between(12)] = 640,
    pool: Literal["mean", "max"] = "mean",
    spread: Literal["evenly", "successive"] = "evenly",
    fps: Annotated[float, Between(0.0, exclusive=True)] = 25.0,
    faces: Literal["all", "speaker"] = "all",
    device: str = "cpu",
) -> PictureExtractor:
    """`pack`: a folder with the ONNX files of an SCRFD detector and an ArcFace network, as in InsightFace's.

    The other options are those of `faces`. The embedding tells who a face is more than what it expresses.
    """
    from erc_cli.faces.weighted import Sampling
    from erc_visual_insightface.extractor import InsightFaceExtractor, open_pack

    sampling = Sampling(frames, longest_side, spread, fps)
    opened = open_pack(pack, min_face, device)
    return InsightFaceExtractor(opened, sampling, pool=pool, tell_apart=faces == "speaker")


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `insightface`."""
    return [
        ExtractorSpec(
            name="insightface",
            modality=Modality.VISUAL,
            summary="SCRFD faces, weighted by their size, and an ArcFace embedding",
            build=build,
            needs=("insightface", "onnx", "onnxruntime", "cv2"),
            extra="insightface",
            licence="InsightFace's model packs: non-commercial research only (its code: MIT)",
        )
    ]
