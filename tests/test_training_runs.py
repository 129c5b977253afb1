"""`erc train` by stages, over seeds, side by side, from an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import EMOTIONS, PHRASES, Erc
from safetensors.numpy import load_file

from erc_cli.errors import UsageError
from erc_cli.files import own
from erc_cli.preset import find_preset, override
from erc_cli.registry import load_registry
from erc_cli.training import STAGE_LOCK

RECIPE = {
    "summary": "tiny",
    "labels": list(EMOTIONS),
    "extractors": {"text": {"use": "minilm", "max_tokens": 60}, "audio": {"use": "prosody"}},
    "fusion": {"use": "m2fnet"},
    "train": {
        "text": {"data": ["meld"], "epochs": 2, "lr": 0.01, "batch": 16, "max_tokens": 60, "average": 0.5},
        "fusion": {"epochs": 2, "folds": 2, "width": 16, "attention_heads": 2, "layers": 1},
    },
}


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    content = json.loads(json.dumps(RECIPE))
    content["train"]["text"]["init"] = str(tiny_bert)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def config(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "training.json").read_text())
    return found


def test_stages_one_by_one_are_the_whole(recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path) -> None:
    data = ["--data", f"meld:{tiny_meld}"]
    early = erc("train", recipe, *data, "-o", tmp_path / "a", "--stage", "fusion")
    assert early.returncode == 2
    assert "the fusion needs text to be trained first" in early.stderr
    text = erc("train", recipe, *data, "-o", tmp_path / "a", "--stage", "text")
    assert text.returncode == 0, text.stderr
    assert not (tmp_path / "a" / "preset.yaml").exists()
    fusion = erc("train", recipe, *data, "-o", tmp_path / "a", "--stage", "fusion")
    assert fusion.returncode == 0, fusion.stderr
    whole = erc("train", recipe, *data, "-o", tmp_path / "b")
    assert whole.returncode == 0, whole.stderr
    for name in ("text.safetensors", "fusion.safetensors", "preset.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    folds = tmp_path / "b" / "features" / "meld-train-text-of-2"
    assert sorted(p.name for p in folds.iterdir()) == ["fold-1.safetensors", "fold-2.safetensors"]


def test_a_stage_is_done_by_one_process_at_a_time(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    command = ["train", recipe, "--data", f"meld:{tiny_meld}", "-o", tmp_path / "a", "--folds", 0]
    with own(tmp_path / "a", STAGE_LOCK.format("fusion")):
        text = erc(*command, "--stage", "text")
        assert text.returncode == 0, text.stderr  # another stage than the one that is at work
        busy = erc(*command)
        assert busy.returncode == 2
        assert f"Another erc is at work in {tmp_path / 'a'}" in busy.stderr.replace("\n", " ")
        assert not (tmp_path / "a" / "fusion.safetensors").exists()
    rest = erc(*command)
    assert rest.returncode == 0, rest.stderr


def test_a_fold_is_made_by_one_process_at_a_time(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    command = ["train", recipe, "--data", f"meld:{tiny_meld}", "-o", tmp_path / "a", "--seeds", 1]
    with own(tmp_path / "a" / "features" / "meld-train-text-of-2" / "fold-2"):
        busy = erc(*command)
    assert busy.returncode == 2
    assert "Another erc is at work" in busy.stderr
    assert (tmp_path / "a" / "features" / "meld-train-text-of-2" / "fold-1.safetensors").exists()
    rest = erc(*command)
    assert rest.returncode == 0, rest.stderr


def test_seeds_side_by_side_and_their_branches_again(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    data = ["--data", f"meld:{tiny_meld}"]
    done = erc("train", recipe, *data, "-o", tmp_path / "s", "--seeds", 2, "--jobs", 2, "--folds", 0)
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "s" / f"seed-{n}" for n in (0, 1))
    assert config(first)["config"]["seed"] == 0  # type: ignore[index]
    assert (first / "text.safetensors").read_bytes() != (second / "text.safetensors").read_bytes()
    alone = erc("train", recipe, *data, "-o", tmp_path / "one", "--seed", 1, "--folds", 0)
    assert alone.returncode == 0, alone.stderr
    for name in ("text.safetensors", "fusion.safetensors"):
        assert (second / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    again = [*data, "-o", tmp_path / "c", "--seeds", 2, "--from", tmp_path / "s", "--folds", 0]
    concat = json.loads(json.dumps(RECIPE))
    concat["train"]["text"]["init"] = yaml.safe_load(recipe.read_text())["train"]["text"]["init"]
    concat["fusion"] = {"use": "concat"}
    del concat["train"]["fusion"]["layers"]
    path = tmp_path / "concat.yaml"
    path.write_text(yaml.safe_dump(concat))
    done = erc("train", path, *again)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c/seed-1/text.safetensors").read_bytes() == (second / "text.safetensors").read_bytes()
    wrong = erc("train", path, *data, "-o", tmp_path / "d", "--seed", 7, "--from", first)
    assert wrong.returncode == 2
    assert "trained with other settings, data or seed" in wrong.stderr
    # A trained preset names files of weights, wherever they are; the recipe of the branch is the same.
    fusion = ["--set", "fusion.layers=2", "--folds", 0]
    refitted = erc("train", first, *data, *fusion, "--from", first, "-o", tmp_path / "e")
    assert refitted.returncode == 0, refitted.stderr
    assert (tmp_path / "e/text.safetensors").read_bytes() == (first / "text.safetensors").read_bytes()


def test_seeds_that_are_finished_stay_and_others_are_added(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    command = ["train", recipe, "--data", f"meld:{tiny_meld}", "-o", tmp_path / "s", "--folds", 0]
    first = erc(*command, "--seeds", 1)
    assert first.returncode == 0, first.stderr
    weights = tmp_path / "s" / "seed-0" / "fusion.safetensors"
    made = weights.stat().st_mtime_ns
    for seeds, jobs in ((2, 1), (3, 2)):
        more = erc(*command, "--seeds", seeds, "--jobs", jobs)
        assert more.returncode == 0, more.stderr
        assert (tmp_path / "s" / f"seed-{seeds - 1}" / "preset.yaml").exists()
        assert weights.stat().st_mtime_ns == made
    again = erc(*command, "--seeds", 3)
    assert again.returncode == 2
    assert "seed-0 holds a finished preset" in again.stderr.replace("\n", " ")
    other = erc(*command, "--seeds", 4, "--set", "train.text.epochs=3")
    assert other.returncode == 2
    assert "seed-0 holds a finished run with another config" in other.stderr.replace("\n", " ")
    assert not (tmp_path / "s" / "seed-3").exists()


def test_folds_and_fusions_side_by_side_are_those_of_one_process(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    data = ["--data", f"meld:{tiny_meld}", "--seeds", 2]
    for folder, jobs in (("a", 1), ("b", 2)):
        done = erc("train", recipe, *data, "-o", tmp_path / folder, "--jobs", jobs)
        assert done.returncode == 0, done.stderr
    inside = Path("features/meld-train-text-of-2")
    files = [inside / "fold-1.safetensors", inside / "fold-2.safetensors"]
    files += [Path(f"seed-{n}/{name}.safetensors") for n in (0, 1) for name in ("text", "fusion")]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_joint_training_gives_a_preset(recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path) -> None:
    data = ["--data", f"meld:{tiny_meld}"]
    done = erc("train", recipe, *data, "-o", tmp_path / "j", "--joint", "--set", "train.fusion.epochs=8")
    assert done.returncode == 0, done.stderr
    assert {"text.safetensors", "fusion.safetensors"} <= {p.name for p in (tmp_path / "j").iterdir()}
    scored = erc("evaluate", tmp_path / "j", *data, "--split", "dev", "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["systems"]["text+audio"]["weighted_f1"]["mean"] > 60
    late = yaml.safe_load(recipe.read_text())
    late["fusion"] = {"use": "late"}
    late["train"]["fusion"] = {}
    path = tmp_path / "late.yaml"
    path.write_text(yaml.safe_dump(late))
    done = erc("train", path, *data, "-o", tmp_path / "k", "--joint")
    assert done.returncode == 2
    assert "'late' can be trained jointly" in done.stderr


def test_a_first_data_set_is_learnt_once_for_all_seeds_and_members(
    recipe: Path, erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    comments = tmp_path / "goemotions"
    comments.mkdir()
    (comments / "labels.txt").write_text("\n".join(sorted(EMOTIONS)))
    for split in ("train", "dev", "test"):
        rows = [
            f"{PHRASES[e]}\t{sorted(EMOTIONS).index(e)},{k}\tid{k}{e}" for e in EMOTIONS for k in range(7)
        ]
        (comments / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    data = ["--data", f"meld:{tiny_meld}", "--data", f"goemotions:{comments}"]
    first = ["--set", "train.text.data=[goemotions, meld]", "--set", "train.text.first=[goemotions]"]
    first += ["--set", "train.text.first_epochs=8"]
    common = [*data, *first, "--stage", "text"]
    done = erc("train", recipe, *common, "--seeds", 2, "--jobs", 2, "-o", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s" / "text-first.safetensors").exists()
    log = (tmp_path / "s" / "log-text-first.csv").read_text().splitlines()
    assert float(log[-1].split(",")[2]) > 90, log  # accuracy in the last epoch
    alone = erc("train", recipe, *common, "--seed", 1, "-o", tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    same = [(tmp_path / p / "text.safetensors").read_bytes() for p in ("one", "s/seed-1")]
    assert same[0] == same[1]
    averaged = erc("train", recipe, *common, "--set", "train.text.members=2", "-o", tmp_path / "both")
    assert averaged.returncode == 0, averaged.stderr
    members = [load_file(tmp_path / f"s/seed-{seed}/text.safetensors") for seed in (0, 1)]
    for name, value in load_file(tmp_path / "both" / "text.safetensors").items():
        middle = sum(member[name].astype(np.float32) for member in members) / 2
        assert np.array_equal(value, middle.astype(value.dtype)), name  # members are the runs of two seeds
    absent = erc("train", recipe, *data, "--set", "train.text.first=[goemotions]", "-o", tmp_path / "x")
    assert absent.returncode == 2
    assert "train.text.first: goemotions is not among the data sets of the stage" in absent.stderr


def test_an_option_of_training_may_be_named_by_its_part(recipe: Path) -> None:
    registry = load_registry()
    found = override(
        find_preset(str(recipe), registry, recipe=True), ["fusion.layers=3", "text.epochs=1"], registry
    )
    assert found.train["fusion"]["layers"] == 3
    assert found.train["text"]["epochs"] == 1
    assert "layers" not in found.fusion.options
    with pytest.raises(UsageError, match="unknown option"):
        override(find_preset(str(recipe), registry, recipe=True), ["fusion.layer=3"], registry)
