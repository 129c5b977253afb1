"""`opensmile`: 88 figures of the voice (eGeMAPS), measured by openSMILE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality


def build(
    *,
    max_seconds: Annotated[float, Between(1)] = 60.0,
    silence_db: float = -60.0,
    normalise: Literal["none", "speaker", "dialogue"] = "none",
) -> Extractor:
    """eGeMAPSv02 functionals of an utterance; of a longer one, the mean of equal pieces' figures."""
    from erc_audio_opensmile.smile import SmileNet
    from erc_cli.hearing import SoundExtractor

    return SoundExtractor(SmileNet(max_seconds), silence_db, normalise)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `opensmile`."""
    return [
        ExtractorSpec(
            name="opensmile",
            modality=Modality.AUDIO,
            summary="eGeMAPS: 88 figures of pitch, loudness, timbre and rhythm of the voice",
            build=build,
            needs=("opensmile",),
            extra="opensmile",
            licence="openSMILE by audEERING: free for private use and research, not for commercial products",
            late=("normalise",),
        )
    ]
