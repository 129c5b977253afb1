"""A fusion over the mel branch, which begins at random: its folds and seeds speak one language."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Erc
from safetensors.numpy import load_file
from test_mel_training import LABELS, QUICK, write_sound

DIALOGUES = {"train": 16, "dev": 8}
LENGTH = 4
RECIPE = {
    "labels": list(LABELS),
    "extractors": {"audio": {"use": "mel"}},
    "fusion": {"use": "concat"},
    "train": {
        "audio": {"data": ["manifest"], "cross_entropy": 1.0, **QUICK},
        "fusion": {
            "data": ["manifest"],
            "folds": 2,
            "encoders": 0,
            "width": 16,
            "epochs": 12,
            "lr": 5e-3,
            "batch": 4,
        },
    },
}


def write_data(folder: Path) -> Path:
    rows = []
    for split, dialogues in DIALOGUES.items():
        for d in range(dialogues):
            for turn in range(LENGTH):
                label = (d + turn * (1 + d % 2)) % 3
                sound = write_sound(
                    folder / f"{split}{d}_{turn}.wav", label, 1000 * (split == "dev") + 10 * d + turn
                )
                rows.append([split, f"{split}{d}", turn, "A", "hm", LABELS[label], sound.name])
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["split", "dialogue", "turn", "speaker", "text", "emotion", "media"])
        writer.writerows(rows)
    return folder / "table.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, erc: Erc) -> Path:
    folder = tmp_path_factory.mktemp("mel-folds")
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    table = write_data(folder)
    done = erc("train", recipe, "--data", f"manifest:{table}", "-o", folder / "run", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_every_fold_was_asked_about_dev(run: Path) -> None:
    kept = run / "features" / "manifest-train-audio-of-2"
    assert sorted(p.name for p in kept.iterdir()) == [f"fold-{k}-and-dev.safetensors" for k in (1, 2)]
    rows = [len(load_file(path)["values"]) for path in kept.iterdir()]
    assert rows == [(DIALOGUES["train"] // 2 + DIALOGUES["dev"]) * LENGTH] * 2


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fusion_understands_the_branch_that_it_gets(run: Path, seed: int) -> None:
    record = json.loads((run / f"seed-{seed}" / "training.json").read_text())
    figures = record["stages"]["fusion"]["metrics"]["dev"]["audio"]
    assert figures["weighted_f1"] > 80


def test_seeds_begin_alike_and_end_apart(run: Path) -> None:
    weights = [load_file(run / f"seed-{seed}" / "audio.safetensors") for seed in (0, 1)]
    name = max(weights[0], key=lambda n: weights[0][n].size)
    first, second = (w[name].astype(np.float64).ravel() for w in weights)
    assert not np.array_equal(first, second)
    assert np.corrcoef(first, second)[0, 1] > 0.5
