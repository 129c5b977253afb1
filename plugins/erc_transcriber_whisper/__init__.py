"""`whisper`: words and their times by a Whisper model that was pulled, or lies in a folder."""

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
    weights: Annotated[Path, Model()] | None = None,
    language: str | None = None,
    batch: Annotated[int, Between(1)] = 4,
    threshold: Annotated[float, Between(0, 1, exclusive=True)] = 0.5,
    min_silence: Seconds = 0.4,
    max_seconds: Annotated[float, Between(1, 30)] = 28.0,
    speaker_model: Annotated[Path, Model()] | Literal["auto"] | None = "auto",
    speaker_threshold: Annotated[float, Between(0, 2)] = 0.7,
    speakers: Annotated[int, Between(1)] | None = None,
    device: str = "cpu",
    precision: str | None = None,
) -> Transcriber:
    """Whisper on the parts in which somebody speaks; without `weights`, the largest one that was pulled."""
    from erc_cli.speech_spans import Cutting
    from erc_cli.voices import Voices, speaker_file
    from erc_transcriber_whisper.transcriber import Listening, open_whisper

    listening = Listening(
        Cutting(threshold, min_silence=min_silence, pad=0.2, max_seconds=max_seconds),
        Voices(speaker_file(speaker_model), speaker_threshold, speakers),
        batch,
    )
    return open_whisper(weights, language, listening, device, precision)


@hookimpl
def erc_transcribers() -> Sequence[TranscriberSpec]:
    """The transcriber `whisper`."""
    return [
        TranscriberSpec(
            name="whisper",
            summary="words and their times by a Whisper model; needs one: erc models pull whisper-base",
            build=build,
            needs=("transformers", "tokenizers", "silero_vad", "onnxruntime"),
            extra="asr",
            licence="none of its own; OpenAI's models: Apache-2.0 (as on the hub), Silero VAD: MIT",
        )
    ]
