"""Networks from folders as Hugging Face's hub has them: shape from `config.json`, tensors from safetensors.

Nothing is looked up on a hub, nothing is unpickled, and no code that a configuration points to is run:
only architectures of the installed transformers library are built, by the caller's own list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from erc_cli.errors import UsageError
from erc_cli.torchaudio_guard import prepare

CONFIG = "config.json"
SOUND = "preprocessor_config.json"
WEIGHTS = "model.safetensors"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

# What is not about the network's shape, or would have other code or other number types fetched.
_LEFT_OUT = frozenset(
    {
        "architectures",
        "attn_implementation",
        "auto_map",
        "dtype",
        "experts_implementation",
        "finetuning_task",
        "gradient_checkpointing",
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
_DRAWS = (Tensor.normal_, Tensor.uniform_)
#: names of weight-normalised weights before and after torch 2.0
_OLD_NAMES = (
    (re.compile(r"\.weight_g$"), ".parametrizations.weight.original0"),
    (re.compile(r"\.weight_v$"), ".parametrizations.weight.original1"),
)


def check_files(folder: Path, names: Sequence[str], option: str) -> Path:
    """The folder, which has these files; `option` is what it was given by, such as `audio.weights`.

    Raises:
        UsageError: it is no folder, or a file is missing.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{option}: {folder} is not a folder.",
            hint=f"Give the model's folder, with {', '.join(names)}: --set {option}=FOLDER",
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if WEIGHTS in missing:
        check_pickles(folder / WEIGHTS, [folder / name for name in PICKLES], option)
    if missing:
        raise UsageError(
            f"{option}: {folder} has no {', '.join(missing)}.",
            hint=f"Get the whole model anew, or give another: --set {option}=FOLDER",
        )
    return folder


def check_pickles(wanted: Path, pickles: Sequence[Path], option: str) -> None:
    """Say what to do where there is a checkpoint of PyTorch in place of the `wanted` safetensors file.

    Raises:
        UsageError: there is one.
    """
    found = next((path for path in pickles if path.is_file()), None)
    if found is not None:
        source = found.parent if found.suffix == ".json" else found  # an index of parts: all of them
        raise UsageError(
            f"{option}: {found.parent} has no {wanted.name}, only {found.name}, a pickle, which erc does not "
            "open.",
            hint=f"Type: erc models convert '{source}' -o '{wanted}'",
        )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model.

    Raises:
        UsageError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="Get the model anew.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} does not hold a JSON object.", hint="Get the model anew.")
    return found


def shape_of(folder: Path, kinds: Collection[str], option: str, hint: str | None = None) -> dict[str, Any]:
    """What `config.json` says of the network, which is one of `kinds`.

    Raises:
        UsageError: it is damaged, or of another architecture.
    """
    path = folder / CONFIG
    found = read_object(path)
    kind = found.get("model_type")
    if kind not in kinds:
        raise UsageError(
            f"{path}: model_type is {kind!r}, not {' or '.join(sorted(kinds))}.",
            hint=hint or f"Give another model: --set {option}=FOLDER",
        )
    return network_keys(found)


def network_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a `config.json` is about the network."""
    return {k: v for k, v in config.items() if k not in _LEFT_OUT and not k.startswith("_")}


class NoDraws(TorchFunctionMode):
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


def new_network(shape: Mapping[str, Any], make: Callable[[Any], nn.Module]) -> nn.Module:
    """`make` of the transformers configuration that `shape` describes, in float32, not yet filled.

    Raises:
        UsageError: the shape makes no network.
    """
    prepare()  # transformers imports torchaudio wherever it is installed, working or not
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar on stderr is ours
    odd = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, AssertionError)
    try:
        with NoDraws():
            return make(AutoConfig.for_model(**shape))
    except (*odd, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"No {shape.get('model_type')} network can be made of the model's {CONFIG} ({reason}).",
            hint="Get the model anew.",
        ) from None


def read_tensors(path: Path, option: str, wanted: Callable[[str], bool] | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, all or those whose names are wanted.

    Raises:
        UsageError: it is not one, or cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            names = [n for n in stream.keys() if wanted is None or wanted(n)]  # noqa: SIM118 - not a dict
            return {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path}: not a safetensors file, or not all of it ({error}).",
            hint=f"Get the model anew, or give another: --set {option}=FOLDER",
        ) from None


def without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix` with it taken off; all of them where none has it.

    What is beside the prefix belongs to a task's head, which the bare network does not have.
    """
    inside = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    return inside or dict(tensors)


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    path: Path,
    option: str,
    *,
    idle: Collection[str] = (),
) -> None:
    """Give a network the tensors of a checkpoint, each exactly one; `idle` ones may be there or not.

    Raises:
        UsageError: one is missing, has another shape or no place in the network.
    """
    named = {_today(name): value for name, value in tensors.items()}
    known = network.state_dict()
    needed = {name: value for name, value in known.items() if name not in idle}
    problems = [f"{name} is missing" for name in sorted(needed.keys() - named.keys())]
    problems += [
        f"{name} is {list(named[name].shape)} instead of {list(value.shape)}"
        for name, value in needed.items()
        if name in named and named[name].shape != value.shape
    ]
    problems += [f"{name} has no place in it" for name in sorted(named.keys() - known.keys() - set(idle))]
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UsageError(
            f"{path}: not the weights of the network that belongs to it: {problems[0]}{more}.",
            hint=f"Get the model anew, or give another: --set {option}=FOLDER",
        )
    network.load_state_dict({name: named[name] for name in needed}, strict=False)


def _today(name: str) -> str:
    """Names of parameters as they are now."""
    for old, new in _OLD_NAMES:
        name = old.sub(new, name)
    return name


def ready(network: nn.Module, device: str) -> nn.Module:
    """The network on its device, to be used and not to be trained."""
    return network.requires_grad_(False).eval().to(torch.device(device))
