"""`prosody`: eight figures of how an utterance is spoken, by Praat's algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality


def build(
    *,
    max_seconds: Annotated[float, Between(0.0, exclusive=True)] = 30.0,
    silence_db: float = -60.0,
    log: bool = False,
    context: bool = False,
) -> Extractor:
    """Prosody of the first `max_seconds` of every utterance.

    `silence_db`: an utterance that nowhere reaches this level is silent (dB of the root mean square
    below full scale). `log`: figures with long tails on a logarithmic scale. `context`: beside an
    utterance's figures, its difference from the mean of what was heard so far, and the neighbours' figures.
    """
    from erc_audio_prosody.extractor import ProsodyExtractor

    return ProsodyExtractor(max_seconds=max_seconds, silence_db=silence_db, log=log, context=context)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `prosody`."""
    return [
        ExtractorSpec(
            name="prosody",
            modality=Modality.AUDIO,
            summary="duration, intensity, pitch, articulation rate and harmonicity of the voice",
            build=build,
            needs=("parselmouth",),
            extra="audio",
            late=("log", "context"),
            licence="no weights; the library praat-parselmouth is GPL-3.0-or-later",
        )
    ]
