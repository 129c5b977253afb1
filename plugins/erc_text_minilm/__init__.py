"""`minilm` and `roberta`: encoders that read an utterance in its context (M2FNet's text branch)."""

from __future__ import annotations

from collections.abc import Sequence

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Modality
from erc_text_minilm import minilm, roberta

NEEDS = ("transformers", "tokenizers")
HEEDS = ("device", "precision")


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractors `minilm` and `roberta`."""
    return [
        ExtractorSpec(
            name="minilm",
            modality=Modality.TEXT,
            summary="22 M-parameter encoder of an utterance in context, with speaker names",
            build=minilm.build,
            needs=NEEDS,
            extra="text",
            licence="Apache-2.0 (all-MiniLM-L6-v2)",
            train=minilm.train,
            joint=minilm.joint,
            heeds=HEEDS,
        ),
        ExtractorSpec(
            name="roberta",
            modality=Modality.TEXT,
            summary="any Hugging Face encoder by name or folder (RoBERTa, BERT, DeBERTa, …), in context",
            build=roberta.build,
            needs=NEEDS,
            extra="text",
            licence="the model's own (RoBERTa: MIT)",
            train=roberta.train,
            joint=roberta.joint,
            heeds=HEEDS,
        ),
    ]
