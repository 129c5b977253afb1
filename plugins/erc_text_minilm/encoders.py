"""Hugging Face encoders from a local folder: the network from `config.json`, tensors from safetensors.

Nothing is looked up by name on a hub, nothing is unpickled, and no code that a configuration points
to is run: only architectures of the installed transformers library are built.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from erc_cli.errors import UsageError
from erc_cli.torchaudio_guard import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

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
# What is not about the network's shape, or would have other code or other number types fetched.
_LEFT_OUT = frozenset(
    {
        "architectures",
        "attn_implementation",
        "auto_map",
        "dtype",
        "experts_implementation",
        "finetuning_task",
        "id2label",
        "label2id",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "quantization_config",
        "return_dict",
        "task_specific_params",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_BUFFERS = ("position_ids", "token_type_ids")  # saved by old releases; made anew
_DRAWS = (Tensor.normal_, Tensor.uniform_)
_OLD_NAMES = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON object in `config.json`.

    Raises:
        UsageError: it is damaged.
    """
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="Download the model anew.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} does not hold a JSON object.", hint="Download the model anew.")
    return found


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
    return {k: v for k, v in found.items() if k not in _LEFT_OUT and not k.startswith("_")}


class _NoDraws(TorchFunctionMode):
    """Zeros for the random start values: drawing takes seconds, and `fill` overwrites them all.

    Not whatever was in memory: `trunc_normal_` draws until everything is within its limits.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__module__", "") == nn.init.__name__ or func in _DRAWS:
            tensor: Tensor = args[0] if args else given["tensor"]
            tensor.detach().zero_()
            return tensor
        return func(*args, **given)


def new_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration in float32, its weights still to be filled in.

    Raises:
        UsageError: the configuration makes no network.
    """
    prepare()  # transformers imports torchaudio wherever it is installed, working or not
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar on stderr is ours
    odd = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
    try:
        with _NoDraws():
            return _build(AutoConfig.for_model(**config))
    except (*odd, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"No {config.get('model_type')} network can be made of the model's config.json ({reason}).",
            hint="Download the model anew.",
        ) from None


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


def read_tensors(path: Path, option: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        UsageError: it is not one, or cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path}: not a safetensors file, or not all of it ({error}).",
            hint=f"Download the model anew, or give another with --set {option}=FOLDER",
        ) from None
    return tensors


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
