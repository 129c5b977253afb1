"""`wav2vec2`, `wavlm`, `hubert`, `whisper-encoder`: what large speech models hear in an utterance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between, Model
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality

Weights = Annotated[Path, Model()]
Count = Annotated[int, Between(1)]
Normalise = Literal["none", "speaker", "dialogue"]
Pooling = Literal["mean", "mean_std", "max"]


def _build(
    kind: str,
    *,
    weights: Weights,
    layer: int = -1,
    average: Count = 1,
    pooling: Pooling = "mean",
    max_seconds: Annotated[float, Between(1)] = 20.0,
    silence_db: float = -60.0,
    normalise: Normalise = "none",
    device: str = "cpu",
    precision: str | None = None,
) -> Extractor:
    """The mean state of a layer over the utterance; longer ones are read in pieces of `max_seconds`."""
    from erc_audio_transformers.extractors import speech
    from erc_cli.nets.speech import Reading

    reading = Reading(layer, average, pooling, max_seconds)
    return speech(kind, weights, reading, device, precision, silence_db=silence_db, normalise=normalise)


def build_whisper(
    *,
    weights: Weights,
    layer: int = -1,
    average: Count = 1,
    pooling: Pooling = "mean",
    max_seconds: Annotated[float, Between(1, 30)] = 30.0,
    silence_db: float = -60.0,
    normalise: Normalise = "none",
    device: str = "cpu",
    precision: str | None = None,
) -> Extractor:
    """The mean state of Whisper's encoder over the frames of the utterance, its padding left out."""
    from erc_audio_transformers.extractors import whisper
    from erc_cli.nets.speech import Reading

    reading = Reading(layer, average, pooling, max_seconds)
    return whisper(weights, reading, device, precision, silence_db=silence_db, normalise=normalise)


def _spec(name: str, whose: str, build: Callable[..., Extractor]) -> ExtractorSpec:
    summary = f"states of {whose}, pooled over the utterance"
    terms = "none of its own; weights carry the terms of their publisher"
    late = ("normalise",)
    return ExtractorSpec(name, Modality.AUDIO, summary, build, ("transformers",), "speech", terms, late=late)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """Four extractors, each for models of one architecture."""
    names = {"wav2vec2": "wav2vec 2.0", "wavlm": "WavLM", "hubert": "HuBERT"}
    specs = [_spec(kind, f"a {name} model", partial(_build, kind)) for kind, name in names.items()]
    return [*specs, _spec("whisper-encoder", "Whisper's encoder", build_whisper)]
