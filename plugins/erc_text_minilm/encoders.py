"""Hugging Face encoders from a local folder: the network from `config.json`, tensors from safetensors.

Nothing is looked up by name on a hub, nothing is unpickled, and no code that a configuration points
to is run: only architectures of the installed transformers library are built.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.nets.hub import CONFIG, WEIGHTS, network_keys, new_network, read_object, read_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ARCHITECTURES",
    "CONFIG",
    "WEIGHTS",
    "fill",
    "new_encoder",
    "positions_of",
    "read_config",
    "read_tensors",
    "shape_of",
    "takes",
]

#: encoders of text whose states stand for the tokens one by one
ARCHITECTURES = (
    "albert",
    "bert",
    "camembert",
    "data2vec-text",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "modernbert",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
)
_BUFFERS = ("position_ids", "token_type_ids")  # saved by old releases; made anew
_OLD_NAMES = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON object in `config.json`.

    Raises:
        UsageError: it is damaged.
    """
    return read_object(folder / CONFIG)


def shape_of(folder: Path, option: str) -> dict[str, Any]:
    """What `config.json` says of the network; `option` is what the folder was given by.

    Raises:
        UsageError: it is damaged, or not of an encoder of text.
    """
    path, found = folder / CONFIG, read_config(folder)
    kind = found.get("model_type")
    if kind not in ARCHITECTURES:
        raise UsageError(
            f"{path}: model_type is {kind!r}, which is not an encoder of text that erc can use.",
            hint=f"Give another folder with --set {option}=FOLDER, of one of: {', '.join(ARCHITECTURES)}",
        )
    if found.get("is_decoder") or found.get("is_encoder_decoder"):
        raise UsageError(
            f"{path}: this {kind} is a decoder, which reads in one direction only.",
            hint=f"Give an encoder with --set {option}=FOLDER",
        )
    return network_keys(found)


def new_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration in float32, its weights still to be filled in.

    Raises:
        UsageError: the configuration makes no network.
    """
    return new_network(config, _build)


def _build(shape: Any) -> nn.Module:
    from transformers import MODEL_MAPPING, AutoModel

    # A pooler on the first token is of no use here; not every architecture has one.
    pooler = takes(MODEL_MAPPING[type(shape)].__init__, "add_pooling_layer")
    extra = {"add_pooling_layer": False} if pooler else {}
    made: nn.Module = AutoModel.from_config(shape, dtype=torch.float32, trust_remote_code=False, **extra)
    return made


def takes(function: Callable[..., object], parameter: str) -> bool:
    """Whether a function has a parameter of that name."""
    return parameter in inspect.signature(function).parameters


def positions_of(encoder: nn.Module) -> int:
    """The longest input in tokens, special ones included.

    RoBERTa counts positions from its padding id + 1, so that two of its 514 are never used.
    """
    tables = [m for n, m in encoder.named_modules() if n.endswith("embeddings.position_embeddings")]
    padding = getattr(tables[0], "padding_idx", None) if tables else None
    config: Any = encoder.config
    return int(config.max_position_embeddings) - (0 if padding is None else int(padding) + 1)


def fill(encoder: nn.Module, tensors: Mapping[str, Tensor], path: Path, option: str) -> None:
    """Give the network the tensors of a checkpoint, of the bare model or of one with a task's head.

    Raises:
        UsageError: one is missing, has another shape, or belongs to a larger network.
    """
    prefix = f"{getattr(encoder, 'base_model_prefix', 'bert')}."
    named = {_today(name.removeprefix(prefix)): value for name, value in tensors.items()}
    known = encoder.state_dict()
    parts = {name.partition(".")[0] for name in known}
    problems = [f"{name} is missing" for name in sorted(known.keys() - named.keys())]
    problems += [
        f"{name} is {list(named[name].shape)} instead of {list(value.shape)}"
        for name, value in known.items()
        if name in named and named[name].shape != value.shape
    ]
    problems += [
        f"{name} has no place in it"
        for name in sorted(named.keys() - known.keys())
        if name.partition(".")[0] in parts and not name.endswith(_BUFFERS)
    ]
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UsageError(
            f"{path}: not the weights of the encoder in its config.json: {problems[0]}{more}.",
            hint=f"Download the model anew, or give another with --set {option}=FOLDER",
        )
    encoder.load_state_dict({name: named[name] for name in known})


def _today(name: str) -> str:
    """Names of LayerNorm's parameters as they are now; the first BERT files have TensorFlow's."""
    for old, new in _OLD_NAMES:
        name = old.sub(new, name)
    return name
