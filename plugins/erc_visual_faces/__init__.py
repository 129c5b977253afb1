"""`faces`: faces read by an expression network (M2FNet's weighted face model)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Trained, TrainJob
from erc_cli.options import Between, Model
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Modality, PictureExtractor


def build(
    *,
    weights: Path,
    frames: Annotated[int, Between(1)] = 5,
    detector: Literal["mtcnn", "scrfd", "yunet"] = "mtcnn",
    detector_weights: Annotated[Path, Model()] | None = None,
    min_face: Annotated[int, Between(12)] = 40,
    longest_side: Annotated[int, Between(12)] = 640,
    pool: Literal["mean", "max"] = "mean",
    scene: bool = False,
    spread: Literal["evenly", "successive"] = "evenly",
    fps: Annotated[float, Between(0.0, exclusive=True)] = 25.0,
    faces: Literal["all", "speaker"] = "all",
    identity_weights: Annotated[Path, Model()] | None = None,
    device: str = "cpu",
) -> PictureExtractor:
    """`frames` pictures per utterance (the paper takes 15), scaled down to `longest_side` pixels.

    Faces smaller than `min_face` pixels are not looked for. `pool` is mean or max over the frames.
    `scene`: whole frames are read too. `spread`: over the utterance, or `fps` a second in its middle.
    `faces`: all, or the speaker's first, known by the embedding of `identity_weights`.
    """
    from erc_visual_faces.extractor import FacesExtractor, Options

    options = Options(
        frames, detector, min_face, longest_side, pool, device, scene, spread, fps, detector_weights, faces,
        identity_weights,
    )  # fmt: skip
    return FacesExtractor(weights, options)


def train(
    job: TrainJob,
    *,
    epochs: int = 16,
    lr: float = 2e-3,
    batch: int = 64,
    side: int = 42,
    smoothing: float = 0.1,
    average: float = 0.995,
    loss: Literal["cross_entropy", "margin"] = "cross_entropy",
    variant: Literal["printed", "detached", "fixed-margin"] = "fixed-margin",
    network: Literal["small", "resnet18"] = "small",
    width: Annotated[int, Between(1)] = 64,
    stem: Literal[2, 4] = 4,
    spoil: Annotated[float, Between(0, 0.5)] = 0.0,
) -> Trained:
    """Train the expression network on every data set of the job that has pictures of faces."""
    from erc_visual_faces.training import Settings, train_faces

    sizes = (network, width, stem, spoil)
    settings = Settings(epochs, lr, batch, side, smoothing, average, loss, variant, *sizes)
    return train_faces(job, settings)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `faces`."""
    return [
        ExtractorSpec(
            name="faces",
            modality=Modality.VISUAL,
            summary="Faces, weighted by their size, and an expression embedding",
            build=build,
            extra="visual",
            licence="MIT (MTCNN weights); files of SCRFD and ArcFace: non-commercial research",
            train=train,
        )
    ]
