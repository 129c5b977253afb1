"""`mel`: M2FNet's audio branch, a ResNet18 that looks at mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Trained, TrainJob
from erc_cli.options import Between
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality

Share = Annotated[float, Between(0, 1)]
Above = Annotated[float, Between(0.0, exclusive=True)]
Count = Annotated[int, Between(1)]


def build(*, weights: Path, silence_db: float = -60.0, device: str = "cpu") -> Extractor:
    """The middle of every utterance, of the length that the network was trained on.

    `silence_db`: an utterance that nowhere reaches this level is silent (dB below full scale).
    """
    from erc_audio_mel.extractor import MelExtractor

    return MelExtractor(weights, silence_db=silence_db, device=device)


def train(
    job: TrainJob,
    *,
    seconds: Above = 3.0,
    bands: Annotated[int, Between(16, 256)] = 128,
    hop: Annotated[int, Between(40, 1600)] = 160,
    image: Literal["grey", "rgb"] = "rgb",
    level: Literal["relative", "absolute"] = "relative",
    width: Count = 64,
    projection: Count = 300,
    epochs: Count = 60,
    lr: Above = 1e-4,
    weight_decay: float = 1e-6,
    batch: Annotated[int, Between(2)] = 64,
    average: Annotated[float, Between(0, 0.9999)] = 0.0,
    variant: Literal["printed", "detached", "fixed-margin"] = "fixed-margin",
    margin: Above = 0.3,
    cross_entropy: Annotated[float, Between(0)] = 0.0,
    warp: Share = 0.1,
    snr: float | None = 10.0,
    gain: Annotated[float, Between(0)] = 6.0,
    room: Share = 0.0,
    telephone: Share = 0.0,
) -> Trained:
    """Train on every data set of the job that has sound; the defaults are the paper's where it speaks."""
    from erc_audio_mel.augment import Augment
    from erc_audio_mel.spectrogram import Look
    from erc_audio_mel.training import Settings, train_mel

    look, augment = Look(seconds, bands, hop, image, level), Augment(warp, snr, gain, room, telephone)
    sizes = (width, projection, epochs, lr, weight_decay, batch, average)
    return train_mel(job, Settings(look, augment, *sizes, variant, margin, cross_entropy))


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `mel`."""
    return [
        ExtractorSpec(
            name="mel",
            modality=Modality.AUDIO,
            summary="mel spectrograms read by a ResNet18 (M2FNet's audio branch)",
            build=build,
            licence="none of its own; trained weights carry the terms of their data",
            train=train,
            own_space=True,
        )
    ]
