"""`faces`: faces found by MTCNN and read by an expression network (M2FNet's weighted face model)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.types import ExtractorSpec, Modality, PictureExtractor, Trained, TrainJob


def build(
    *,
    weights: Path,
    frames: Annotated[int, Between(1)] = 5,
    detector: Literal["mtcnn"] = "mtcnn",
    min_face: Annotated[int, Between(12)] = 40,
    longest_side: Annotated[int, Between(12)] = 640,
    pool: Literal["mean", "max"] = "mean",
    device: str = "cpu",
) -> PictureExtractor:
    """`frames` pictures per utterance (the paper takes 15), scaled down to `longest_side` pixels.

    Faces smaller than `min_face` pixels are not looked for. `pool` is mean or max over the frames.
    """
    from erc_visual_faces.extractor import FacesExtractor, Options

    return FacesExtractor(weights, Options(frames, detector, min_face, longest_side, pool, device))


def train(
    job: TrainJob,
    *,
    epochs: int = 16,
    lr: float = 2e-3,
    batch: int = 64,
    side: int = 42,
    smoothing: float = 0.1,
    average: float = 0.995,
) -> Trained:
    """Train the expression network on every data set of the job that has pictures of faces."""
    from erc_visual_faces.training import Settings, train_faces

    return train_faces(job, Settings(epochs, lr, batch, side, smoothing, average))


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `faces`."""
    return [
        ExtractorSpec(
            name="faces",
            modality=Modality.VISUAL,
            summary="MTCNN faces, weighted by their size, and an expression embedding",
            build=build,
            extra="visual",
            licence="MIT (MTCNN weights)",
            train=train,
        )
    ]
