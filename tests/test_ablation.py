"""`erc ablate --data`: that branches are trained once, and what is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import EMOTIONS

from erc_cli.ablation_plan import Choice, make_plan
from erc_cli.ablation_train import Training, slug, train_variants
from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Split
from erc_cli.main import erc as command
from erc_cli.preset import find_preset
from erc_cli.registry import Registry, load_registry
from erc_data_meld.meld import Meld


def typed(*arguments: object) -> None:
    command.main([str(a) for a in arguments], prog_name="erc", standalone_mode=False)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


# --- training variants ---------------------------------------------------------------------


class Watched:
    """A data set that notes which splits are read."""

    def __init__(self, inner: Meld) -> None:
        self.inner = inner
        self.seen: list[str] = []

    @property
    def splits(self) -> tuple[str, ...]:
        return self.inner.splits

    def read(self, split: str) -> Split:
        self.seen.append(split)
        return self.inner.read(split)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    text = {"data": ["meld"], "init": str(tiny_bert), "epochs": 1, "lr": 0.01, "batch": 8, "max_tokens": 60}
    small = {"layers": 1, "encoders": 1, "width": 8, "feed_forward": 8, "hidden": 8, "epochs": 1}
    content = {
        "summary": "tiny",
        "labels": list(EMOTIONS),
        "extractors": {"text": {"use": "minilm", "max_tokens": 60}, "audio": {"use": "prosody"}},
        "fusion": {"use": "m2fnet"},
        "train": {"text": text, "fusion": {**small, "folds": 2}},
    }
    path = tmp_path_factory.mktemp("ablate") / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def trained(recipe: Path, tiny_meld: Path, registry: Registry) -> tuple[Path, Watched, list[str]]:
    """Three variants trained; the data set that they read; the stages that were reported."""
    watched = Watched(Meld(tiny_meld))
    stages: list[str] = []
    plan = make_plan(
        find_preset(str(recipe), registry, recipe=True),
        registry,
        Choice(vary=("fusion.layers=1,2", "fusion.use=concat")),
    )
    folder = recipe.parent / "run"
    report = lambda p: stages.append(f"{p.stage}: {p.note}")  # noqa: E731
    train_variants(plan, Training(registry, {"meld": watched}, folder, (0,), report))
    return folder, watched, stages


def test_training_reads_no_test_split(trained: tuple[Path, Watched, list[str]]) -> None:
    """Whatever variant is trained; the test tables of the tiny data would not even be readable."""
    folder, watched, _ = trained
    assert set(watched.seen) == {"train", "dev"}
    assert {p.name for p in folder.iterdir()} == {"fusion.layers=1", "fusion.layers=2", "fusion.use=concat"}
    with pytest.raises(ErcError, match="unknown emotion 'trap'"):
        watched.read("test")
    watched.seen.remove("test")


def test_branches_are_trained_once(trained: tuple[Path, Watched, list[str]]) -> None:
    folder, _, stages = trained
    texts = [(p.parent.parent.name, p.read_bytes()) for p in sorted(folder.glob("*/seed-0/text.safetensors"))]
    assert [name for name, _ in texts] == ["fusion.layers=1", "fusion.layers=2", "fusion.use=concat"]
    assert len({content for _, content in texts}) == 1
    fitted = {note.split(",")[0] for stage, _, note in (s.partition(": ") for s in stages) if stage == "text"}
    assert fitted == {"fusion.layers=1"}
    fused = [(folder / name / "seed-0/fusion.safetensors").read_bytes() for name, _ in texts]
    assert len(set(fused)) == 3


def test_what_is_finished_is_taken_as_it_is(
    trained: tuple[Path, Watched, list[str]],
    recipe: Path,
    tiny_meld: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    weights = folder / "fusion.layers=1/seed-0/fusion.safetensors"
    before = weights.stat().st_mtime_ns
    shutil.rmtree(folder / "fusion.layers=2")  # this one is trained again
    values = ["--vary", "fusion.layers=1,2", "--vary", "fusion.use=concat"]
    report = tmp_path / "a.md"
    arguments = [recipe, "--data", f"meld:{tiny_meld}", *values, "--retrain", "-o", folder]
    typed("ablate", *arguments, "--json", "-o", report)
    document = json.loads(capfd.readouterr().out)
    assert weights.stat().st_mtime_ns == before
    assert document["schema"] == "erc.ablation.data/1"
    assert document["reference"] == "fusion.layers=1"
    assert document["data"]["split"] == "dev"
    assert [v["name"] for v in document["variants"]] == [
        "fusion.layers=1",
        "fusion.layers=2",
        "fusion.use=concat",
    ]
    reference, *others = document["variants"]
    assert reference["difference"] is None
    for one in others:
        gap = one["weighted_f1"]["mean"] - reference["weighted_f1"]["mean"]
        assert one["difference"]["weighted_f1"] == pytest.approx(gap, abs=0.02)
        assert one["difference"]["p"] <= one["difference"]["p_holm"]
        assert one["paper"] is None
    assert document["variants"][2]["without"] == ["train.fusion.layers"]
    assert "fusion.use=concat" in report.read_text()
    scored = folder / "fusion.layers=2" / "seed-0"
    typed("evaluate", scored, "--data", f"meld:{tiny_meld}", "--split", "dev", "--json")
    alone = json.loads(capfd.readouterr().out)["systems"]["text+audio"]
    assert alone["weighted_f1"] == document["variants"][1]["weighted_f1"]
    assert alone["confusion"] == document["variants"][1]["confusion"]
    with pytest.raises(UsageError, match="holds a variant with another config"):
        typed("ablate", *arguments, "--set", "train.fusion.epochs=2")


def test_modalities_left_out_at_inference(
    trained: tuple[Path, Watched, list[str]],
    tiny_meld: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run, data = trained[0] / "fusion.layers=1", ["--data", f"meld:{tiny_meld}"]
    typed("ablate", run, *data, "--all", "--json")
    document = json.loads(capfd.readouterr().out)
    assert [v["name"] for v in document["variants"]] == ["text+audio", "text", "audio"]
    assert document["retrained"] is False
    typed("evaluate", run, *data, "--split", "dev", "--json")
    systems = json.loads(capfd.readouterr().out)["systems"]
    for variant in document["variants"]:
        assert variant["weighted_f1"] == systems[variant["name"]]["weighted_f1"]
    pytest.importorskip("matplotlib", reason="pictures need the extra report")
    typed(
        "ablate",
        "--preset",
        run,
        *data,
        "--drop",
        "audio",
        "-o",
        tmp_path / "a.png",
        "-o",
        tmp_path / "a.tex",
    )
    said = capfd.readouterr().out
    assert "reference" in said
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert r"\toprule" in (tmp_path / "a.tex").read_text()


def test_the_test_split_comes_with_a_note(
    trained: tuple[Path, Watched, list[str]], tiny_meld: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trained[0] / "fusion.layers=1"
    with pytest.raises(ErcError, match="unknown emotion 'trap'"):
        typed("ablate", run, "--data", f"meld:{tiny_meld}", "--split", "test")
    assert "Choose by dev" in capfd.readouterr().err


def test_a_folder_name_for_every_variant() -> None:
    assert slug("fusion.layers=3") == "fusion.layers=3"
    odd = [slug(name) for name in ("text+audio, concat", "text+audio concat", "a/../b", "ü" * 200, "ü" * 201)]
    assert len(set(odd)) == 5
    assert all("/" not in name and len(name) < 100 for name in odd)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retrain"], "--retrain needs --data NAME:PATH"),
        (["--vary", "fusion.layers=1"], "--vary needs --data"),
        (["-o", "x.md"], "--output needs --data"),
        (["default", "--data", "meld:D", "--transcript", "t.srt"], "--transcript belongs to a recording"),
        (["default", "--preset", "default", "--data", "meld:D"], "name two presets"),
        (["default", "--data", "meld:D", "--retrain"], "--retrain needs a folder"),
        (["default", "--data", "meld:D", "--retrain", "-o", "a", "-o", "b"], "names two folders"),
        (["default", "--data", "meld:D", "-o", "x.pdf"], "the ending says what to write"),
        (["default", "--data", "meld:D", "--table", "5"], "--table needs --retrain"),
        (["default", "--data", "meld:D", "--seeds", "5"], "--seeds needs --retrain"),
        (["default", "--data", "meld:D", "--vary", "fusion.layers=1,2"], "--vary needs --retrain"),
        (["default", "--data", "meld:D", "--split", "tset"], "has no split 'tset'"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str, tiny_meld: Path) -> None:
    with pytest.raises(UsageError, match=message):
        typed("ablate", *(a.replace("meld:D", f"meld:{tiny_meld}") for a in arguments))
