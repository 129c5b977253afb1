"""Model folders that `roberta` must not take, and one that it takes without running its code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from textkit import NOTHING, POSITIONS, TALK, write_model

from erc_cli.errors import ErcError
from erc_text_minilm.roberta import build


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny_roberta"), "roberta", task=True)


def _config(folder: Path, **change: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def _tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


WORD = "roberta.embeddings.word_embeddings.weight"


def _few_words(folder: Path) -> None:
    _config(folder, vocab_size=300)
    _tensors(folder, lambda t: t.update({WORD: t[WORD][:300].contiguous()}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"has no tokenizer\.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"has no model\.safetensors"),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"has no model\.safetensors[\s\S]*is a pickle, which erc does not open",
    ),
    "cut short": (_cut, "not a safetensors file, or not all of it"),
    "an error page": (
        lambda f: (f / "model.safetensors").write_text("<html>404</html>"),
        "not a safetensors file",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "does not hold a JSON object"),
    "sound": (
        lambda f: _config(f, model_type="wav2vec2"),
        "model_type is 'wav2vec2', which is not an encoder",
    ),
    "no type": (lambda f: _config(f, model_type=None), "model_type is None"),
    "decoder": (lambda f: _config(f, is_decoder=True), "is a decoder"),
    "no heads": (lambda f: _config(f, num_attention_heads=5), "No roberta network can be made"),
    "a word for a number": (lambda f: _config(f, hidden_size="large"), "No roberta network can be made"),
    "odd activation": (lambda f: _config(f, hidden_act="zap"), "No roberta network can be made"),
    "another architecture": (lambda f: _config(f, model_type="deberta"), "not the weights of the encoder"),
    "one layer more": (
        lambda f: _config(f, num_hidden_layers=3),
        r"encoder\.layer\.2\S+ is missing, and 15 more",
    ),
    "one layer less": (lambda f: _config(f, num_hidden_layers=1), r"encoder\.layer\.1\S+ has no place in it"),
    "wider": (lambda f: _config(f, intermediate_size=128), r"is \[64, 32\] instead of \[128, 32\]"),
    "a tensor lost": (lambda f: _tensors(f, lambda t: t.pop(WORD)), "word_embeddings.weight is missing"),
    "no words": (lambda f: (f / "tokenizer.json").write_text("{}"), "not a tokenizer"),
    "another's words": (_few_words, "the tokenizer has 330 tokens, the model 300"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused(damage: str, tiny_roberta: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_roberta, tmp_path / "model")
    spoil, message = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(ErcError, match=message) as caught:
        build(weights=folder, max_tokens=64)
    assert caught.value.hint


def test_code_that_a_configuration_names_is_not_run(tiny_roberta: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_roberta, tmp_path / "model")
    trap = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(trap)!r}, 'w')\nclass Model: ...\n")
    named = {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Model"}
    _config(folder, auto_map=named, attn_implementation="somebody/kernel", _attn_implementation="x/y")
    same = build(weights=folder, max_tokens=64).gather(TALK, NOTHING).values
    np.testing.assert_array_equal(
        same, build(weights=tiny_roberta, max_tokens=64).gather(TALK, NOTHING).values
    )
    assert not trap.exists()


def test_the_first_bert_files_have_other_names_for_a_norm(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "bert")
    before = build(weights=folder, max_tokens=64).gather(TALK, NOTHING).values

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
            tensors[f"bert.{old}"] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(POSITIONS)[None]

    _tensors(folder, rename)
    np.testing.assert_array_equal(before, build(weights=folder, max_tokens=64).gather(TALK, NOTHING).values)
