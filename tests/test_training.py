"""`erc train` and `erc evaluate` end to end, with a tiny encoder on tiny data in the real formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import EMOTIONS, Erc

from erc_cli.dataset import training_reader
from erc_cli.errors import ErcError
from erc_data_fer2013.fer2013 import Fer2013
from erc_data_meld.meld import Meld

RECIPE = {
    "summary": "tiny",
    "labels": list(EMOTIONS),
    "extractors": {
        "text": {"use": "minilm", "max_tokens": 60},
        "audio": {"use": "prosody"},
        "visual": {"use": "faces", "frames": 2},
    },
    "fusion": {"use": "late"},
    "train": {
        "text": {
            "data": ["meld"],
            "epochs": 8,
            "lr": 0.01,
            "batch": 8,
            "max_tokens": 60,
            "average": 0.5,
            "members": 2,
        },
        "visual": {"data": ["fer2013"], "epochs": 2, "batch": 16},
        "fusion": {"epochs": 150, "lr": 0.02, "dropout": 0.0, "ensemble": 1},
    },
    "meta": {"terms": "made in a test"},
}


def recipe(folder: Path, tiny_bert: Path) -> Path:
    content = json.loads(json.dumps(RECIPE))
    content["train"]["text"]["init"] = str(tiny_bert)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, erc: Erc, tiny_bert: Path, tiny_meld: Path, tiny_fer: Path
) -> Path:
    """A run folder made by the command."""
    folder = tmp_path_factory.mktemp("train")
    out = folder / "run"
    data = ["--data", f"meld:{tiny_meld}", "--data", f"fer2013:{tiny_fer}"]
    done = erc("train", recipe(folder, tiny_bert), *data, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_run_is_a_preset_that_learnt(run: Path, erc: Erc) -> None:
    names = {p.name for p in run.iterdir()}
    assert {"preset.yaml", "card.md", "training.json", "text.safetensors", "tokenizer.json"} <= names
    assert {
        "visual.safetensors",
        "fusion.safetensors",
        "log-text-1.csv",
        "log-text-2.csv",
        "log-visual.csv",
    } <= names
    assert not [n for n in names if n.startswith(("checkpoint", "member")) or n.endswith(".tmp")]
    record = json.loads((run / "training.json").read_text())
    assert record["selected_on"] == "dev"
    text = record["stages"]["text"]["metrics"]["dev"]
    assert set(text) == {"member 1", "member 2", "average"}
    assert text["average"]["weighted_f1"] > 90
    assert record["stages"]["fusion"]["metrics"]["dev"]["meld"]["audio"]["weighted_f1"] > 80
    assert record["data"]["meld"]["dev"]["dialogues"] == 6
    assert len(record["data"]["fer2013"]["train"]["sha256"]) == 64
    assert record["data"]["fer2013"]["train"]["pictures"] == 69  # one of 70 is blank
    checked = erc("presets", "check", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_training_cannot_read_the_test_split(tiny_meld: Path, run: Path) -> None:
    """The test tables of the tiny data hold a label that does not exist: `run` would have failed."""
    assert run.is_dir()
    read = training_reader({"meld": Meld(tiny_meld)}, EMOTIONS)
    assert read("meld", "dev").name == "dev"
    with pytest.raises(ErcError, match="asked for the split 'test'"):
        read("meld", "test")
    with pytest.raises(ErcError, match="unknown emotion 'trap'"):
        Meld(tiny_meld).read("test")


def test_a_second_run_gives_the_same_bytes(
    run: Path, tmp_path: Path, erc: Erc, tiny_bert: Path, tiny_meld: Path, tiny_fer: Path
) -> None:
    data = ["--data", f"meld:{tiny_meld}", "--data", f"fer2013:{tiny_fer}"]
    done = erc("train", recipe(tmp_path, tiny_bert), *data, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for name in ("text.safetensors", "visual.safetensors", "fusion.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes(), name


def test_evaluate_prints_the_contract(run: Path, erc: Erc, tiny_meld: Path, tiny_fer: Path) -> None:
    done = erc("evaluate", run, "--data", f"meld:{tiny_meld}", "--split", "dev", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "erc.evaluation/1"
    assert document["selected_on"] == "dev"
    assert document["seeds"] == [0]
    assert document["data"]["name"] == "meld"
    assert document["data"]["utterances"] == 30
    heads = {"text (own head)", "audio (own head)"}
    assert set(document["systems"]) == {"text", "audio", "text+audio"} | heads
    system = document["systems"]["text+audio"]
    low, high = system["weighted_f1"]["ci95"]
    assert low <= system["weighted_f1"]["mean"] <= high
    assert sum(map(sum, system["confusion"])) == 30
    assert set(system["per_class"]) == set(EMOTIONS)
    parts = {"text", "audio"} | heads
    assert set(document["differences"]) == {f"text+audio - {part}" for part in parts}


def test_evaluate_saves_figures_and_card(run: Path, erc: Erc, tiny_meld: Path, tiny_fer: Path) -> None:
    data = ["--data", f"meld:{tiny_meld}", "--data", f"fer2013:{tiny_fer}"]
    done = erc("evaluate", run, *data, "--split", "dev", "--save")
    assert done.returncode == 0, done.stderr
    assert "text+audio" in done.stdout
    saved = json.loads((run / "metrics.json").read_text())
    assert [d["data"]["name"] for d in saved["evaluations"]] == ["meld", "fer2013"]
    card = (run / "card.md").read_text()
    mean = saved["evaluations"][0]["systems"]["text"]["weighted_f1"]["mean"]
    assert f"{mean:.2f}" in card
    assert "made in a test" in card


def test_what_training_refuses(tmp_path: Path, run: Path, erc: Erc, tiny_bert: Path, tiny_meld: Path) -> None:
    path = recipe(tmp_path, tiny_bert)
    meld = ["--data", f"meld:{tiny_meld}"]
    cases = [
        ([path, *meld, "--drop", "visual", "-o", run], "holds a finished preset"),
        ([path, *meld, "-o", tmp_path / "r1"], "learns from fer2013, which is not given"),
        ([path, "--data", "meld", "-o", tmp_path / "r2"], "expected NAME:PATH"),
        ([path, "--data", f"meldd:{tiny_meld}", "-o", tmp_path / "r3"], "'meld'"),
        ([path, "--data", f"meld:{tmp_path}", "-o", tmp_path / "r4"], "not MELD's annotation folder"),
    ]
    before = {p: p.stat().st_mtime_ns for p in run.iterdir()}
    for arguments, message in cases:
        done = erc("train", *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert {p: p.stat().st_mtime_ns for p in run.iterdir()} == before
    assert not (tmp_path / "r1").exists()  # nothing was trained before the missing data were told


def test_a_data_set_with_other_labels_is_refused(
    tmp_path: Path, erc: Erc, tiny_bert: Path, tiny_meld: Path
) -> None:
    path = recipe(tmp_path, tiny_bert)
    content = yaml.safe_load(path.read_text())
    content["labels"] = ["joy", "anger"]
    path.write_text(yaml.safe_dump(content))
    done = erc("train", path, "--data", f"meld:{tiny_meld}", "-o", tmp_path / "run", "--drop", "visual")
    assert done.returncode == 2
    assert "are not those of the preset (joy, anger)" in done.stderr


def test_a_modality_without_data_is_told(tmp_path: Path, erc: Erc, tiny_bert: Path, tiny_meld: Path) -> None:
    """MELD without its prosodic tables: no fusion that silently lacks sound."""
    bare = tmp_path / "meld"
    shutil.copytree(tiny_meld, bare, ignore=shutil.ignore_patterns("prosody"))
    options = ["--drop", "visual", "--set", "train.text.epochs=1"]
    done = erc(
        "train", recipe(tmp_path, tiny_bert), "--data", f"meld:{bare}", "-o", tmp_path / "run", *options
    )
    assert done.returncode == 2, done.stderr
    assert "no data set has features for audio" in done.stderr
    assert "--drop audio" in done.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2 - 7], "cut short"),
        (lambda text: text.replace("Emotion", "Feeling", 1), "no column Emotion"),
        (lambda text: text.replace("00:00:03,000", "three", 1), "StartTime is"),
    ],
)
def test_a_damaged_table_is_told(
    tmp_path: Path, tiny_meld: Path, damage: Callable[[str], str], message: str
) -> None:
    folder = tmp_path / "meld"
    shutil.copytree(tiny_meld, folder)
    table = folder / "dev_sent_emo.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(ErcError, match=message):
        Meld(folder).read("dev")


def test_a_damaged_archive_is_told(tmp_path: Path, tiny_fer: Path) -> None:
    content = bytearray((tiny_fer / "fer2013.npz").read_bytes())
    (tmp_path / "fer2013.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ErcError, match="no readable train_images"):
        Fer2013(tmp_path).read("train")
    assert Fer2013(tiny_fer).read("train").picture_targets is not None
