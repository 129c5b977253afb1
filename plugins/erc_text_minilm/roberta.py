"""The options of `roberta`: any Hugging Face encoder of text, by name or from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from erc_cli.device import Precision
from erc_cli.learning import JointBranch, Trained, TrainJob
from erc_cli.options import Between, Model
from erc_cli.types import Extractor

_Pooling = Literal["own", "first", "mean"]
_Number = Literal["float32", "bfloat16", "float16"]
_PRECISION: dict[_Number, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def build(
    *,
    weights: Annotated[Path, Model()],
    tokenizer: Path | None = None,
    past: Annotated[int, Between(0)] = 1,
    future: Annotated[int, Between(0)] = 1,
    speakers: bool = True,
    max_tokens: Annotated[int, Between(3)] = 256,
    pooling: _Pooling = "own",
    dtype: _Number = "float32",
    compile: bool = False,
    batch: Annotated[int, Between(1)] = 32,
    device: str = "cpu",
    precision: Precision | None = None,
    labels: Sequence[str] = (),
) -> Extractor:
    """The encoder with `past` and `future` utterances around each one.

    `weights`: a trained branch's `text.safetensors`, or the folder or name of a published model.
    `precision`, the command line's, goes before `dtype`.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.extractor import open_encoder
    from erc_text_minilm.running import Running

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    running = Running(batch, device, precision or _PRECISION[dtype], pooling, compile)
    return open_encoder(weights, tokenizer, window, running, labels)


def train(
    job: TrainJob,
    *,
    init: Annotated[Path, Model()],
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
    pooling: _Pooling = "own",
    dtype: _Number = "float32",
) -> Trained:
    """Fine-tune on every data set of the job that has conversations.

    `init`: a folder with `model.safetensors`, `config.json` and `tokenizer.json` of an encoder, the
    name of such a model, or a run folder with a text branch of this extractor. The other options are
    those of `minilm`.
    """
    from erc_text_minilm.context import Window
    from erc_text_minilm.training import Settings, train_encoder

    window = Window(past=past, future=future, speakers=speakers, max_tokens=max_tokens)
    settings = Settings(
        kind="roberta",
        init=str(init),
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

    return JointEncoder(job, {**options, "init": str(options["init"])}, kind="roberta")
