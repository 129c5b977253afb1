"""Small random encoders in the real file layout, for the tests of the text branches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from conftest import PHRASES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Conversation, Utterance

TALK = Conversation(
    (
        Utterance(0, 1, "the report is on the table", "Anna"),
        Utterance(1, 2, "please hide me", "Ben"),
        Utterance(2, 3, "thank you", None),
        Utterance(3, 4, "", "Ben"),
        Utterance(4, 5, "get out of my house now", "Anna"),
    )
)
NOTHING = [None] * len(TALK.utterances)
POSITIONS = 66  # of which RoBERTa uses 64


def byte_level_tokenizer() -> Tokenizer:
    """RoBERTa's kind: byte-level pieces, `<s>` … `</s>`, two separators between texts."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(PHRASES.values(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.enable_truncation(7)  # as published files have it; not our lengths
    tokenizer.enable_padding(length=9)
    return tokenizer


def published_roberta_tokenizer(folder: Path) -> Tokenizer:
    """RoBERTa's own, from the files of its authors: `<s>` 0, `<pad>` 1, `</s>` 2, `<mask>` last."""
    inner = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    by_number = {str(number): piece for piece, number in inner.items()}
    counts = (folder / "dict.txt").read_text(encoding="utf-8").splitlines()
    pieces = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces += [by_number.get(line.split()[0], line.split()[0]) for line in counts]
    merges = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "<mask>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(m.split(" ")) for m in merges if m]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def write_model(folder: Path, kind: str, *, task: bool = False, **shape_of: int) -> Path:
    """A random encoder as transformers itself saves it, bare or with a language model's head."""
    prepare()
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    if kind == "distilbert":
        shape: dict[str, Any] = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}
    else:
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        shape = dict(zip(names, (32, 64, 2, 4), strict=True))
    if kind in {"electra", "albert"}:
        shape["embedding_size"] = 16
    if kind == "modernbert":
        shape |= {"cls_token_id": 0, "sep_token_id": 2}
    if "roberta" in kind:
        shape["type_vocab_size"] = 1
    shape = {"vocab_size": 340, "max_position_embeddings": POSITIONS, **shape, **shape_of}
    ends = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, **shape, **ends)
    torch.manual_seed(1)
    model = (AutoModelForMaskedLM if task else AutoModel).from_config(config)
    for name, value in model.named_parameters():  # start values of 0 and 1 would hide a mistake
        value.data.add_(torch.randn_like(value) * (0.1 if "weight" in name else 0.3))
    model.save_pretrained(folder)
    byte_level_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
