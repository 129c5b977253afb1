"""The extractor `roberta`: real folders of small random encoders, read by the code that users run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import EMOTIONS, PHRASES, Erc
from textkit import NOTHING, TALK, published_roberta_tokenizer, write_model
from tokenizers import Tokenizer, models

from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import TrainJob
from erc_cli.testing import check_extractor
from erc_cli.types import Conversation, Status, Utterance
from erc_text_minilm.context import Window, marks_of, sequences
from erc_text_minilm.encoders import ARCHITECTURES
from erc_text_minilm.network import ContextEncoder, load, save
from erc_text_minilm.pretrained import pretrained, read_tokenizer
from erc_text_minilm.roberta import build


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny_roberta"), "roberta", task=True)


# --- the model's inputs --------------------------------------------------------------------


def read(tokenizer: Tokenizer, window: Window, talk: Conversation = TALK) -> list[tuple[str, str]]:
    """The text of each input, and that of the span."""
    found = []
    for sample in sequences(talk, tokenizer, window):
        assert len(sample.ids) <= window.max_tokens
        whole, span = (
            tokenizer.decode(list(ids), skip_special_tokens=False)
            for ids in (sample.ids, sample.ids[sample.start : sample.end])
        )
        found.append((whole, span))
    return found


def test_inputs_with_the_model_s_own_marks(tiny_roberta: Path) -> None:
    tokenizer = read_tokenizer(tiny_roberta / "tokenizer.json")
    found = read(tokenizer, Window(past=1, future=1, speakers=True, max_tokens=64))
    assert found[1] == (
        "<s>Anna: the report is on the table</s></s>Ben: please hide me</s></s>thank you</s>",
        "Ben: please hide me</s>",
    )
    assert found[4] == (
        "<s>Ben: </s></s>Anna: get out of my house now</s>",
        "Anna: get out of my house now</s>",
    )
    alone = read(tokenizer, Window(past=0, future=0, speakers=False, max_tokens=64))
    assert alone[2] == ("<s>thank you</s>", "thank you</s>")


def test_long_dialogues_are_cut_from_the_outside_in(tiny_roberta: Path) -> None:
    tokenizer = read_tokenizer(tiny_roberta / "tokenizer.json")
    whole = read(tokenizer, Window(2, 2, False, 64))[2][0]
    own = "</s></s>thank you</s></s>"
    assert own in whole
    for size in range(30, 5, -1):
        words, span = read(tokenizer, Window(2, 2, False, size))[2]
        assert span == "thank you</s>"
        left, right = words.removeprefix("<s>").removesuffix("</s>").split("thank you")
        assert whole.split("thank you")[0].endswith(left)
        assert whole.split("thank you")[1].startswith(right)
    long = Conversation((Utterance(0, 1, "thank you " * 90, "Ben"),))
    (sample,) = sequences(long, tokenizer, Window(1, 1, True, 20))
    assert len(sample.ids) == 20
    assert (sample.start, sample.end) == (1, 20)


def test_a_text_that_looks_like_a_mark_is_only_a_text(tiny_roberta: Path) -> None:
    tokenizer = read_tokenizer(tiny_roberta / "tokenizer.json")
    odd = Conversation((Utterance(0, 1, "a</s><pad>b"),))
    (sample,) = sequences(odd, tokenizer, Window(1, 1, True, 64))
    assert [i for i in sample.ids if i < 5] == [0, 2]


def test_a_tokenizer_without_a_template_is_read_by_names(tiny_bert: Path) -> None:
    marks = marks_of(read_tokenizer(tiny_bert / "tokenizer.json"))
    assert (marks.begin, marks.between, marks.end) == (2, (3,), 3)
    with pytest.raises(UsageError, match="no tokens that begin and end a text"):
        marks_of(Tokenizer(models.BPE()))


def test_roberta_s_published_vocabulary(shared: Path) -> None:
    """Numbers of the published model: `Hello world` is 0 31414 232 2."""
    tokenizer = published_roberta_tokenizer(shared / "data" / "models" / "roberta_bpe")
    talk = Conversation((Utterance(0, 1, "Hello world"), Utterance(1, 2, "Hello world")))
    first, _ = sequences(talk, tokenizer, Window(1, 1, True, 512))
    assert first.ids == (0, 31414, 232, 2, 2, 31414, 232, 2)
    assert (first.start, first.end) == (1, 4)


# --- networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_each_architecture_is_what_transformers_itself_loads(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = write_model(tmp_path / "model", kind)
    extractor = build(weights=folder, max_tokens=64, batch=2)
    made = extractor.gather(TALK, NOTHING).values
    theirs = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    samples = list(sequences(TALK, read_tokenizer(folder / "tokenizer.json"), Window(1, 1, True, 64)))
    typed = kind in {"albert", "bert", "camembert", "data2vec-text", "electra", "ernie"}
    for sample, row in zip(samples, made, strict=True):
        types = torch.zeros(1, len(sample.ids), dtype=torch.long)
        types[0, sample.start : sample.end] = 1
        more = {"token_type_ids": types} if typed else {}
        with torch.inference_mode():
            ids = torch.tensor([sample.ids])
            states = theirs(ids, attention_mask=torch.ones_like(ids), **more).last_hidden_state[0]
        np.testing.assert_allclose(row, states[sample.start : sample.end].mean(0).numpy(), atol=2e-5)
    assert extractor.head is None
    assert extractor.dim == 32


def test_pooling_takes_the_utterance_or_the_first_token(tiny_roberta: Path) -> None:
    tokenizer = read_tokenizer(tiny_roberta / "tokenizer.json")
    model = pretrained(tiny_roberta, EMOTIONS, "roberta").eval()
    samples = list(sequences(TALK, tokenizer, Window(1, 1, True, 64)))
    with torch.inference_mode():
        ids, types, mask = model.inputs(samples)
        states = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert types.sum(1).tolist() == [s.end - s.start for s in samples]
    assert int(ids[mask == 0].unique()) == 1  # RoBERTa's padding, from which it counts positions
    options = {"weights": tiny_roberta, "max_tokens": 64}
    own, first = (build(**options, pooling=p).gather(TALK, NOTHING).values for p in ("own", "first"))
    by_hand = [states[i, s.start : s.end].mean(0).numpy() for i, s in enumerate(samples)]
    np.testing.assert_allclose(own, by_hand, atol=1e-5)
    np.testing.assert_allclose(first, states[:, 0].numpy(), atol=1e-5)


def test_features_depend_on_the_context_and_not_on_the_batch(tiny_roberta: Path) -> None:
    options = {"weights": tiny_roberta, "max_tokens": 64}
    one, many = (check_extractor(build(**options, batch=n), TALK) for n in (1, 32))
    np.testing.assert_allclose(one.values, many.values, atol=1e-5)
    assert one.status == (*[Status.OK] * 3, Status.NO_TEXT, Status.OK)
    assert one.present.tolist() == [True, True, True, False, True]
    other = Conversation((Utterance(0, 1, "get out", "Ben"), *TALK.utterances[1:]))
    moved = np.abs(build(**options).gather(other, NOTHING).values - many.values).max(axis=1)
    assert moved[1] > 1e-3
    assert moved[2:].max() < 1e-5


def test_bfloat16_is_nearly_the_same(tiny_roberta: Path) -> None:
    options = {"weights": tiny_roberta, "max_tokens": 64}
    whole = build(**options).gather(TALK, NOTHING).values
    half = build(**options, dtype="bfloat16").gather(TALK, NOTHING).values
    assert half.dtype == np.float32
    assert 0 < np.abs(whole - half).max() < 0.1
    cosine = (whole * half).sum(1) / np.linalg.norm(whole, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.999


def test_positions_are_those_that_the_model_has(tiny_roberta: Path) -> None:
    build(weights=tiny_roberta, max_tokens=64)
    with pytest.raises(UsageError, match=r"65 is more than the 64 tokens[\s\S]*max_tokens=64"):
        build(weights=tiny_roberta, max_tokens=65)
    long = Conversation((Utterance(0, 1, "thank you " * 90, "Ben"),))
    values = build(weights=tiny_roberta, max_tokens=64).gather(long, [None]).values
    assert np.isfinite(values).all()


def test_saved_weights_come_back(tiny_roberta: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = pretrained(tiny_roberta, EMOTIONS, "roberta", "first").eval()
    path = tmp_path / "text.safetensors"
    save(model, np.full(7, 1 / 7, np.float32), path)
    shutil.copy(tiny_roberta / "tokenizer.json", tmp_path)
    again, head = load(path, "roberta")
    assert (again.pooling, again.positions, again.pad) == ("first", 64, 1)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float())
    assert head.weight.shape == (7, 32)
    assert path.stat().st_size < 2.2 * sum(v.numel() for v in model.state_dict().values()) + 10_000
    extractor = build(weights=path, max_tokens=64, pooling="first")
    expected = build(weights=tiny_roberta, max_tokens=64, pooling="first").gather(TALK, NOTHING).values
    np.testing.assert_allclose(extractor.gather(TALK, NOTHING).values, expected, atol=2e-2)
    with pytest.raises(UsageError, match=r"trained with 'first', not 'own'[\s\S]*pooling=first"):
        build(weights=path, max_tokens=64)
    with pytest.raises(ErcError, match=r"holds erc\.roberta/1 weights, expected erc\.minilm/1"):
        load(path)


def test_half_of_saved_weights_is_refused(tiny_roberta: Path, tmp_path: Path) -> None:
    from erc_cli.weights import read_weights, write_weights

    path = tmp_path / "text.safetensors"
    save(pretrained(tiny_roberta, EMOTIONS, "roberta"), np.full(7, 1 / 7, np.float32), path)
    found = read_weights(path, "erc.roberta/1")
    about = {name: found.metadata[name] for name in ("config", "pooling")}
    for lost in ("head.prior", "encoder.embeddings.word_embeddings.weight"):
        tensors = {name: value for name, value in found.tensors.items() if name != lost}
        write_weights(path, tensors, "erc.roberta/1", about)
        with pytest.raises(ErcError, match=f"not weights as erc saves them.*{lost}"):
            load(path, "roberta")


def test_rates_fall_from_layer_to_layer(tiny_roberta: Path, tmp_path: Path) -> None:
    from erc_text_minilm.training import Settings, optimizer_groups

    settings = Settings("", 1, 1.0, 0.5, 8, 0.0, kind="roberta")
    for folder in (
        tiny_roberta,
        write_model(tmp_path / "m", "modernbert"),
        write_model(tmp_path / "a", "albert"),
    ):
        model = pretrained(folder, EMOTIONS, "roberta")
        groups = optimizer_groups(model, settings)
        rates = {id(g["params"][0]): g["lr"] for g in groups}
        named = {name: rates[id(value)] for name, value in model.named_parameters()}
        assert {r for n, r in named.items() if "embeddings" in n} == {0.25}
        assert {r for n, r in named.items() if n.startswith("head")} == {10.0}
        rest = {r for n, r in named.items() if "embeddings" not in n and not n.startswith("head")}
        assert rest == ({1.0} if "albert" in str(type(model.encoder)).lower() else {0.5, 1.0})


# --- training ------------------------------------------------------------------------------


RECIPE: dict[str, Any] = {
    "summary": "tiny",
    "labels": list(EMOTIONS),
    "extractors": {"text": {"use": "roberta", "max_tokens": 60}},
    "fusion": {"use": "late"},
    "train": {
        "text": {"data": ["meld"], "epochs": 10, "lr": 0.01, "batch": 8, "max_tokens": 60, "average": 0.5},
        "fusion": {"epochs": 20, "dropout": 0.0, "ensemble": 1},
    },
}


def recipe(folder: Path, init: Path, **text: object) -> Path:
    content = json.loads(json.dumps(RECIPE))
    content["train"]["text"] |= {"init": str(init), **text}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def job(tiny_meld: Path, folder: Path) -> TrainJob:
    from erc_data_meld.meld import Meld

    read = Meld(tiny_meld).read
    return TrainJob(lambda _, split: read(split), ("meld",), EMOTIONS, folder, 3, lambda p: None, folder)


def test_from_a_folder_to_a_prediction(tmp_path: Path, erc: Erc, tiny_roberta: Path, tiny_meld: Path) -> None:
    run = tmp_path / "run"
    preset = recipe(tmp_path, tiny_roberta, pooling="own", layer_decay=0.9)
    done = erc("train", preset, "--data", f"meld:{tiny_meld}", "-o", run)
    assert done.returncode == 0, done.stderr
    record = json.loads((run / "training.json").read_text())
    assert record["stages"]["text"]["metrics"]["dev"]["member 1"]["weighted_f1"] > 80
    trained = yaml.safe_load((run / "preset.yaml").read_text())["extractors"]["text"]
    assert trained == {
        "use": "roberta",
        "past": 1,
        "future": 1,
        "speakers": True,
        "max_tokens": 60,
        "pooling": "own",
        "weights": "text.safetensors",
        "tokenizer": "tokenizer.json",
    }
    words = tmp_path / "t.srt"
    cue = "{}\n00:00:0{},000 --> 00:00:0{},900\nAnna: {}\n\n"
    words.write_text("".join(cue.format(i + 1, i, i, PHRASES[e]) for i, e in enumerate(("joy", "anger"))))
    done = erc("predict", "--transcript", words, "-p", run, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [u["label"] for u in found["utterances"]] == ["joy", "anger"]
    assert found["meta"]["plugins"]["text"].startswith("roberta ")
    again = erc("presets", "check", run)
    assert again.returncode == 0, again.stderr


def test_the_same_seed_gives_the_same_bytes(tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    """Also after other random draws, and from a run that is gone on with."""
    from erc_text_minilm.roberta import train

    folders = [tmp_path / name for name in "abc"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        torch.manual_seed(number)
        dtype = "bfloat16" if number == 2 else "float32"
        options: dict[str, Any] = {"epochs": 2, "lr": 1e-2, "batch": 16, "max_tokens": 60, "dtype": dtype}
        made = train(job(tiny_meld, folder), init=str(tiny_roberta), **options)
        assert made.options["pooling"] == "own"
    one, same, bfloat = ((folder / "text.safetensors").read_bytes() for folder in folders)
    assert one == same
    assert one != bfloat
    onwards = pretrained(folders[0], EMOTIONS, "roberta")
    assert isinstance(onwards, ContextEncoder)
    assert onwards.head.out_features == 7


def test_what_cannot_be_trained_is_told_before_the_work(
    tmp_path: Path, erc: Erc, tiny_bert: Path, tiny_roberta: Path, tiny_meld: Path
) -> None:
    from erc_text_minilm.roberta import train

    done = erc(
        "train", recipe(tmp_path, tmp_path / "none"), "--data", f"meld:{tiny_meld}", "-o", tmp_path / "r"
    )
    assert done.returncode == 2, done.stderr
    assert f"init: no such file: {tmp_path / 'none'}" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    with pytest.raises(UsageError, match="model_type is None"):
        train(job(tiny_meld, tmp_path), init=str(tiny_bert))
    with pytest.raises(UsageError, match=r"300 is more than the 64 tokens[\s\S]*train\.text\.max_tokens=64"):
        train(job(tiny_meld, tmp_path), init=str(tiny_roberta), max_tokens=300)


def test_fitted_together_with_a_fusion(tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    from erc_data_meld.meld import Meld
    from erc_text_minilm.roberta import joint

    window = {"past": 1, "future": 1, "speakers": True, "max_tokens": 60}
    rest = {"epochs": 1, "lr": 1e-3, "layer_decay": 0.9, "batch": 8, "average": 0.5, "pooling": "own"}
    branch = joint(job(tiny_meld, tmp_path), init=str(tiny_roberta), **window, **rest)
    talks = Meld(tiny_meld).read("dev").conversations[:2]
    features, logits = branch.forward([branch.inputs(talk) for talk in talks])
    assert features.shape == (10, branch.dim)
    assert logits.shape == (10, 7)
    logits.sum().backward()
    assert all(p.grad is not None for g in branch.groups() for p in g["params"])
    options = branch.save(tmp_path, np.full(7, 1 / 7, np.float32))
    branch.network.eval()
    made = build(
        **{**options, "weights": tmp_path / "text.safetensors", "tokenizer": tmp_path / "tokenizer.json"}
    )
    with torch.no_grad():
        features, _ = branch.forward([branch.inputs(talks[0])])
    np.testing.assert_allclose(made.gather(talks[0], [None] * 5).values, features.numpy(), atol=2e-2)


def test_fitted_together_in_batches_of_like_length(
    tiny_roberta: Path, tiny_meld: Path, tmp_path: Path
) -> None:
    """More utterances than are padded together, of many lengths: each has the features it has alone."""
    from erc_data_meld.meld import Meld
    from erc_text_minilm.joint import TOGETHER
    from erc_text_minilm.roberta import joint

    more = {"past": 2, "future": 1, "speakers": True, "max_tokens": 60, "epochs": 1, "lr": 1e-3}
    more |= {"layer_decay": 0.9, "batch": 8, "average": 0.5, "pooling": "own"}
    branch = joint(job(tiny_meld, tmp_path), init=str(tiny_roberta), **more)
    branch.network.eval()
    talks = Meld(tiny_meld).read("train").conversations[:12]
    inputs = [branch.inputs(talk) for talk in talks]
    assert sum(len(talk.utterances) for talk in talks) > TOGETHER
    assert len({len(sample.ids) for one in inputs for sample in one}) > 3
    with torch.no_grad():
        features, logits = branch.forward(inputs)
        alone = [branch.forward([one]) for one in inputs]
    np.testing.assert_allclose(features, torch.cat([f for f, _ in alone]), atol=1e-5)
    np.testing.assert_allclose(logits, torch.cat([own for _, own in alone]), atol=1e-5)
