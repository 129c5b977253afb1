"""`speechbrain`: speaker embeddings (ECAPA-TDNN) and emotion features from SpeechBrain's checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between, Model
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality


def build(
    *,
    weights: Annotated[Path, Model()],
    base: Annotated[Path, Model()] | None = None,
    output_norm: bool = True,
    max_seconds: Annotated[float, Between(1)] = 20.0,
    silence_db: float = -60.0,
    normalise: Literal["none", "speaker", "dialogue"] = "none",
    device: str = "cpu",
    precision: str | None = None,
) -> Extractor:
    """What the folder holds: `embedding_model.safetensors` (ECAPA-TDNN) or `wav2vec2.safetensors`.

    `base`: the hub folder of the model that the latter was fine-tuned from, for its shape. `output_norm`:
    as in the recipe of the latter. Longer utterances are read in pieces of `max_seconds`.
    """
    from erc_audio_speechbrain.checkpoint import Options, open_checkpoint

    options = Options(base, output_norm, max_seconds, silence_db, normalise)
    return open_checkpoint(weights, options, device, precision)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `speechbrain`."""
    return [
        ExtractorSpec(
            name="speechbrain",
            modality=Modality.AUDIO,
            summary="speaker embeddings (ECAPA-TDNN), or wav2vec 2.0/WavLM emotion features, of SpeechBrain",
            build=build,
            needs=("speechbrain", "transformers"),
            extra="speechbrain",
            licence="library Apache-2.0; weights carry the terms of their publisher",
            late=("normalise",),
        )
    ]
