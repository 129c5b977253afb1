"""The options of `roberta`: any Hugging Face encoder of text from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from erc_cli.learning import JointBranch, Trained, TrainJob
from erc_cli.options import Between
from erc_cli.types import Extractor


def build(
    *,
    weights: Path,
    tokenizer: Path | None = None,
    past: Annotated[int, Between(0)] = 1,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 256,
    pooling: Literal["own", "first"] = "own",
    dtype: Literal["float32", "bfloat16"] = "float32",
    batch: Annotated[int, Between(1)] = 32,
    device: str = "cpu",
) -> Extractor:
    """The encoder with `past` and `future` utterances around each one.

    `weights`: a trained branch's `text.safetensors`, or the folder of a published model.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.extractor import Running, open_encoder

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    return open_encoder(weights, tokenizer, window, Running(batch, device, dtype, pooling))


def train(
    job: TrainJob,
    *,
    init: str,
    first: Sequence[str] = (),
    first_epochs: Annotated[int, Between(1)] = 2,
    epochs: Annotated[int, Between(1)] = 5,
    lr: Annotated[float, Between(0.0)] = 1e-5,
    layer_decay: Annotated[float, Between(0.0, 1.0)] = 1.0,
    batch: Annotated[int, Between(1)] = 16,
    average: Annotated[float, Between(0.0, 1.0)] = 0.99,
    members: Annotated[int, Between(1)] = 1,
    freeze: Annotated[int, Between(0)] = 0,
    past: Annotated[int, Between(0)] = 1,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 256,
    pooling: Literal["own", "first"] = "own",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Trained:
    """Fine-tune on every data set of the job that has conversations.

    `init`: a folder with `model.safetensors`, `config.json` and `tokenizer.json` of an encoder, or a
    run folder with a text branch of this extractor. The other options are those of `minilm`.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.training import Settings, train_encoder

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    settings = Settings(
        kind="roberta",
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
        pooling=pooling,
        dtype=dtype,
    )
    return train_encoder(job, settings, window)


def joint(job: TrainJob, **options: Any) -> JointBranch:
    """The encoder to be fitted together with the fusion, as `minilm` is."""
    from erc_text_minilm.joint import JointEncoder

    return JointEncoder(job, options, kind="roberta")
