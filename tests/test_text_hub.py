"""A RoBERTa in the layout of the Hugging Face hub, from a name to a prediction, as users run it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import EMOTIONS, ROOT, Erc
from textkit import published_roberta_tokenizer, write_model

from erc_cli.types import Conversation, Utterance
from erc_text_minilm.roberta import build

MEDIA = ROOT / "examples" / "conversation.mp4"
REVISION = "1234567890abcdef1234567890abcdef12345678"
#: named, so that it is taken for one that knows the branch
FUSION = ("--set", f"fusion.weights={ROOT / 'presets' / 'default' / 'fusion.safetensors'}")


def into_cache(folder: Path, hub: Path, name: str) -> Path:
    """As `hf download` leaves a model: content under its hash, a snapshot of links, a reference."""
    base = hub / f"models--{name.replace('/', '--')}"
    snapshot = base / "snapshots" / REVISION
    for part in (snapshot, base / "blobs", base / "refs"):
        part.mkdir(parents=True)
    (base / "refs" / "main").write_text(REVISION)
    for number, file in enumerate(sorted(folder.iterdir())):
        blob = base / "blobs" / f"{number:040x}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As wide as the shipped preset's text branch, so that its fusion takes it."""
    shape = {"hidden_size": 384, "intermediate_size": 64, "num_hidden_layers": 1}
    return write_model(tmp_path_factory.mktemp("fitting"), "roberta", max_position_embeddings=258, **shape)


def test_a_name_in_the_cache_runs_end_to_end(fitting: Path, tmp_path: Path, erc: Erc) -> None:
    into_cache(fitting, tmp_path / "hub", "someone/tiny")
    swap = ("--set", "text.use=roberta", "--set", "text.weights=someone/tiny", *FUSION)
    done = erc("predict", MEDIA, "--keep", "text", "--json", *swap, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert done.returncode == 0, done.stderr
    assert "text: cpu, fp32" in done.stderr
    found = json.loads(done.stdout)
    assert found["meta"]["plugins"]["text"].startswith("roberta ")
    assert len(found["utterances"]) == 8
    assert {u["modalities"]["text"]["status"] for u in found["utterances"]} == {"ok"}
    folder = erc("predict", MEDIA, "--keep", "text", "--json", "--set", "text.use=roberta", "--set",
                 f"text.weights={fitting}", *FUSION)  # fmt: skip
    assert json.loads(folder.stdout)["utterances"] == found["utterances"]


def test_a_name_that_is_not_here_says_how_to_get_it(tmp_path: Path, erc: Erc) -> None:
    empty = {"HF_HUB_CACHE": str(tmp_path / "hub"), "ERC_MODELS": str(tmp_path / "models")}
    for name in ("roberta-large", "FacebookAI/roberta-large"):
        swap = ("--set", "text.use=roberta", "--set", f"text.weights={name}", *FUSION)
        done = erc("predict", MEDIA, "--keep", "text", *swap, **empty)
        assert done.returncode == 2, done.stderr
        assert f"{name!r} is not on this computer" in done.stderr
        assert "erc models pull roberta-large" in done.stderr
        assert "Traceback" not in done.stderr
    done = erc("presets", "check", "m2fnet-meld", "m2fnet-iemocap", **empty)
    assert done.stdout.count("erc models pull roberta-large") == 2


def test_a_preset_of_its_own_width(tmp_path: Path, tiny_meld: Path, erc: Erc) -> None:
    """A small encoder trained into a preset, its name relative to the preset's folder."""
    write_model(tmp_path / "models" / "tiny", "roberta")
    recipe = tmp_path / "tiny.yaml"
    content = {
        "summary": "tiny",
        "labels": list(EMOTIONS),
        "extractors": {"text": {"use": "roberta", "pooling": "first"}},
        "fusion": {"use": "m2fnet"},
        "train": {
            "text": {
                "data": ["meld"],
                "init": "models/tiny",
                "epochs": 1,
                "max_tokens": 60,
                "pooling": "first",
            },
            "fusion": {"data": ["meld"], "folds": 0, "epochs": 1, "layers": 1, "width": 16, "hidden": 8},
        },
    }
    recipe.write_text(yaml.safe_dump(content))
    run = tmp_path / "run"
    done = erc("train", recipe, "--data", f"meld:{tiny_meld}", "-o", run)
    assert done.returncode == 0, done.stderr
    assert "text: cpu, fp32" in done.stderr
    shutil.rmtree(tmp_path / "models")  # a trained preset needs what it began from no more
    done = erc("predict", MEDIA, "-p", run, "--keep", "text", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["meta"]["stages"]["text"] == {"device": "cpu", "precision": "fp32"}
    assert erc("presets", "check", run).returncode == 0


def test_a_name_given_from_the_current_folder_trains(
    tmp_path: Path, tiny_meld: Path, monkeypatch: pytest.MonkeyPatch, erc: Erc
) -> None:
    """`--set train.text.init=models/tiny` means the folder in which it is typed."""
    write_model(tmp_path / "models" / "tiny", "roberta")
    monkeypatch.chdir(tmp_path)
    few = ("--set", "train.text.max_tokens=60", "--set", "train.text.epochs=1")
    rest = ("--drop", "audio", "--drop", "visual", "--stage", "text", "--data", f"meld:{tiny_meld}")
    done = erc("train", "m2fnet-meld", "-o", "run", *rest, *few, "--set", "train.text.init=models/tiny")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "text.safetensors").is_file()


def test_the_published_vocabulary(shared: Path, tmp_path: Path) -> None:
    """RoBERTa's own 50265 pieces with a small network: every text is read, rare signs included."""
    tokenizer = published_roberta_tokenizer(shared / "data" / "models" / "roberta_bpe")
    shape = {"vocab_size": 50265, "hidden_size": 32, "max_position_embeddings": 514}
    folder = write_model(tmp_path / "model", "roberta", task=True, **shape)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert tokenizer.encode("Hello world").ids == [0, 31414, 232, 2]
    texts = ("There's nothing to tell!", "¿Qué? 你好 🙂", "He's just some guy I work with. " * 60)
    talk = Conversation(tuple(Utterance(i, i + 1, text, "Monica") for i, text in enumerate(texts)))
    found = build(weights=folder, max_tokens=512).gather(talk, [None] * 3)
    assert found.values.shape == (3, 32)
    assert torch.from_numpy(found.values).isfinite().all()
    assert found.present.all()


def test_older_files_say_how_to_make_a_tokenizer(tmp_path: Path, erc: Erc) -> None:
    folder = write_model(tmp_path / "model", "roberta")
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    swap = ("--set", "text.use=roberta", "--set", f"text.weights={folder}", *FUSION)
    done = erc("predict", MEDIA, "--keep", "text", *swap)
    assert done.returncode == 2, done.stderr
    assert "has no tokenizer.json" in done.stderr
    assert "save_pretrained" in done.stderr


def test_a_tag_that_would_run_code_is_refused(tmp_path: Path, erc: Erc) -> None:
    trap = tmp_path / "ran"
    tag = f"!!python/object/apply:os.system ['touch {trap}']"
    preset = tmp_path / "p.yaml"
    lines = ("summary: x", "labels: [a]", f"extractors: {{text: {{use: roberta, weights: {tag}}}}}")
    preset.write_text("\n".join([*lines, "fusion: {use: late}", ""]))
    runs = [
        erc("predict", MEDIA, "--keep", "text", "-p", preset),
        erc("predict", MEDIA, "--keep", "text", "--set", "text.use=roberta", "--set", f"text.weights={tag}"),
    ]
    for done in runs:
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    assert not trap.exists()
