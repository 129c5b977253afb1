"""A branch that stays as another preset's weights, under labels of its own or of others."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import EMOTIONS, PHRASES, Erc

from erc_cli.errors import ErcError
from erc_cli.preset import build_extractor, find_preset
from erc_cli.registry import load_registry
from erc_cli.types import Modality

FUSION = {"epochs": 10, "width": 16, "attention_heads": 2, "lr": 0.01}
TONES = ("up", "down")  # what the frozen branch never heard of: joy and surprise, and all others


def write(path: Path, text: Mapping[str, Any], labels: tuple[str, ...], stage: Mapping[str, Any]) -> Path:
    content = {
        "summary": "tiny",
        "labels": list(labels),
        "extractors": {"text": {"use": "minilm", "max_tokens": 60, **text}},
        "fusion": {"use": "concat"},
        "train": {"text": dict(stage), "fusion": FUSION},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return found


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, tiny_meld: Path, erc: Erc) -> Path:
    """A run whose text branch knows the seven emotions."""
    home = tmp_path_factory.mktemp("branch")
    stage = {"init": str(tiny_bert), "epochs": 4, "lr": 0.01, "batch": 16, "max_tokens": 60, "average": 0.5}
    recipe = write(home / "seven.yaml", {}, EMOTIONS, stage)
    done = erc("train", recipe, "--data", f"meld:{tiny_meld}", "-o", home / "run", "--folds", 0)
    assert done.returncode == 0, done.stderr
    return home / "run"


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues under two labels, as a table."""
    path = tmp_path_factory.mktemp("talks") / "talks.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["split", "dialogue", "turn", "speaker", "text", "emotion"])
        for d in range(15):
            for u in range(5):
                emotion = EMOTIONS[(d + u * 2) % len(EMOTIONS)]
                tone = TONES[emotion not in ("joy", "surprise")]
                split = "train" if d < 10 else "dev"
                table.writerow([split, f"{split}{d}", u, "Anna" if u % 2 else "Ben", PHRASES[emotion], tone])
    return path


def frozen(home: Path, branch: Path) -> Path:
    files = {name: str(branch / f"{name}") for name in ("text.safetensors", "tokenizer.json")}
    text = {"weights": files["text.safetensors"], "tokenizer": files["tokenizer.json"]}
    return write(home / "frozen.yaml", text, TONES, {"frozen": True})


def test_the_fusion_learns_other_labels_from_a_frozen_branch(
    branch: Path, talks: Path, erc: Erc, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = erc("train", frozen(tmp_path, branch), "--data", f"manifest:{talks}", "-o", run)
    assert done.returncode == 0, done.stderr
    kept = (run / "text.safetensors").read_bytes()
    assert kept == (branch / "text.safetensors").read_bytes()
    assert not (run / "text.safetensors").samefile(branch / "text.safetensors")
    assert set(record(run)["stages"]["text"]["metrics"]["frozen"]) == {"text.safetensors", "tokenizer.json"}
    assert [p.name for p in (run / "features").iterdir() if "of-" in p.name] == []  # nothing out of fold
    branch_of_run = find_preset(str(run), load_registry()).extractors[Modality.TEXT]
    assert not Path(str(branch_of_run.options["weights"])).is_absolute()
    scored = erc("evaluate", run, "--data", f"manifest:{talks}", "--split", "dev", "--json")
    assert scored.returncode == 0, scored.stderr
    systems = json.loads(scored.stdout)["systems"]
    assert systems["text"]["weighted_f1"]["mean"] > 90
    # Its own head answers other labels, so the fusion speaks for it.
    assert systems["text (own head)"]["weighted_f1"] == systems["text"]["weighted_f1"]


def test_a_head_of_other_labels_is_left_out(branch: Path) -> None:
    registry = load_registry()
    use = find_preset(str(branch), registry).extractors[Modality.TEXT]
    assert build_extractor(use, registry, labels=EMOTIONS).head is not None
    assert build_extractor(use, registry, labels=EMOTIONS[::-1]).head is None
    assert build_extractor(use, registry, labels=TONES).head is None


def test_seeds_share_it_and_from_takes_it_over(branch: Path, talks: Path, erc: Erc, tmp_path: Path) -> None:
    recipe, data = frozen(tmp_path, branch), ("--data", f"manifest:{talks}")
    done = erc("train", recipe, *data, "-o", tmp_path / "s", "--seeds", 2)
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "s" / f"seed-{n}" for n in (0, 1))
    assert (first / "text.safetensors").read_bytes() == (second / "text.safetensors").read_bytes()
    assert (first / "fusion.safetensors").read_bytes() != (second / "fusion.safetensors").read_bytes()
    again = erc("train", recipe, *data, "-o", tmp_path / "t", "--seeds", 2, "--from", tmp_path / "s")
    assert again.returncode == 0, again.stderr
    for run in (tmp_path / "s", tmp_path / "t"):  # what is the same for every seed is computed once
        kept = sorted(path.relative_to(run).as_posix() for path in run.rglob("*-text.safetensors"))
        assert kept == [f"features/manifest-{split}-text.safetensors" for split in ("dev", "train")]
    for part in ("text", "fusion"):
        name = f"seed-1/{part}.safetensors"
        assert (tmp_path / "t" / name).read_bytes() == (tmp_path / "s" / name).read_bytes(), part
    (tmp_path / "other.safetensors").write_bytes((branch / "text.safetensors").read_bytes())
    others = ("--set", f"text.weights={tmp_path / 'other.safetensors'}", "-o", tmp_path / "u")
    refused = erc("train", recipe, *data, *others, "--from", first)
    assert refused.returncode == 2
    assert "its text branch was trained with other settings" in refused.stderr


def test_what_is_frozen_must_be_there(branch: Path, talks: Path, erc: Erc, tmp_path: Path) -> None:
    without = write(tmp_path / "a.yaml", {}, TONES, {"frozen": True})
    done = erc("train", without, "--data", f"manifest:{talks}", "-o", tmp_path / "a")
    assert done.returncode == 2
    assert "train.text.frozen: the preset names no weights of 'minilm'" in done.stderr
    assert "--set text.weights=FILE" in done.stderr
    assert not (tmp_path / "a").exists()
    odd = write(tmp_path / "b.yaml", {}, TONES, {"frozen": "maybe"})
    done = erc("train", odd, "--data", f"manifest:{talks}", "-o", tmp_path / "b")
    assert done.returncode == 2
    assert "train.text.frozen" in done.stderr
    recipe, data = frozen(tmp_path, branch), ("--data", f"manifest:{talks}")
    both = erc("train", recipe, *data, "-o", tmp_path / "c", "--joint")
    assert both.returncode == 2
    assert "can be trained jointly" in both.stderr


def test_damaged_weights_are_told(branch: Path, talks: Path, erc: Erc, tmp_path: Path) -> None:
    recipe = frozen(tmp_path, branch)
    content = yaml.safe_load(recipe.read_text())
    (tmp_path / "half.safetensors").write_bytes((branch / "text.safetensors").read_bytes()[:1000])
    content["extractors"]["text"]["weights"] = "half.safetensors"
    recipe.write_text(yaml.safe_dump(content))
    done = erc("train", recipe, "--data", f"manifest:{talks}", "-o", tmp_path / "run")
    assert done.returncode == ErcError.exit_code
    assert "half.safetensors" in done.stderr
    assert "Traceback" not in done.stderr
