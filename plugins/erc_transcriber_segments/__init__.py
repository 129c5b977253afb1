"""`segments`: speech cut into utterances without words, by Silero VAD. Needs no model to be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between, Model
from erc_cli.specs import TranscriberSpec
from erc_cli.types import Transcriber

Seconds = Annotated[float, Between(0, 60)]


def build(
    *,
    threshold: Annotated[float, Between(0, 1, exclusive=True)] = 0.5,
    min_speech: Seconds = 0.25,
    min_silence: Seconds = 0.4,
    pad: Seconds = 0.1,
    max_seconds: Annotated[float, Between(1)] = 20.0,
    speaker_model: Annotated[Path, Model()] | Literal["auto"] | None = "auto",
    speaker_threshold: Annotated[float, Between(0, 2)] = 0.7,
    speakers: Annotated[int, Between(1)] | None = None,
    device: str = "cpu",
) -> Transcriber:
    """Spans of speech as utterances; with a speaker model, with their speakers."""
    from erc_cli.speech_spans import Cutting
    from erc_cli.voices import Voices, speaker_file
    from erc_transcriber_segments.segments import Segments

    cutting = Cutting(threshold, min_speech, min_silence, pad, max_seconds)
    return Segments(cutting, Voices(speaker_file(speaker_model), speaker_threshold, speakers), device)


@hookimpl
def erc_transcribers() -> Sequence[TranscriberSpec]:
    """The transcriber `segments`."""
    return [
        TranscriberSpec(
            name="segments",
            summary="speech cut into utterances without words (Silero VAD); needs no model to be pulled",
            build=build,
            needs=("silero_vad", "onnxruntime"),
            extra="vad",
            licence="Silero VAD: MIT",
        )
    ]
