"""The `data` section of presets: read, checked, set, and given to the data set that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Erc

from erc_cli.dataset import open_datasets
from erc_cli.errors import UsageError
from erc_cli.preset import check, find_preset, override, read_preset
from erc_cli.registry import load_registry

PRESET = """\
summary: tried
labels: [neutral, joy]
extractors:
  text: {use: minilm}
fusion: {use: late}
data:
  ravdess: {fold: 2}
  meld:
    realignment: times.csv
"""


def write(folder: Path, text: str = PRESET) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def problems(path: Path, *, trained: bool = False) -> list[str]:
    preset, found = read_preset(path)
    assert preset is not None
    if trained:
        preset = replace(preset, path=preset.folder / "preset.yaml")
    return [str(p) for p in (*found, *check(preset, load_registry())) if "data" in p.key]


def test_it_is_read(tmp_path: Path) -> None:
    preset, wrong = read_preset(write(tmp_path))
    assert not wrong
    assert preset is not None
    assert preset.data == {"ravdess": {"fold": 2}, "meld": {"realignment": "times.csv"}}


def test_all_problems_are_told_with_line_and_nearest_word(tmp_path: Path) -> None:
    text = PRESET.replace("{fold: 2}", "{fold: 7, modalty: any}").replace("  meld:", "  medl: {}\n  meld:")
    assert problems(write(tmp_path, text)) == [
        "line 7, data.ravdess.fold: expected 0 | 1 | 2 | 3 | 4, got 7.",
        "line 7, data.ravdess.modalty: unknown option. Did you mean 'modality'?",
        "line 8, data.medl: There is no dataset called 'medl'. Did you mean 'meld'? See: erc plugins list"
        " --kind dataset",
        f"line 10, data.meld.realignment: no such file: {tmp_path / 'times.csv'}",
    ]
    assert problems(write(tmp_path, PRESET.replace("{fold: 2}", "2")))[0] == (
        "line 7, data.ravdess: expected a mapping, got 2; leave the key out to do without"
    )


def test_a_trained_preset_predicts_without_the_files_of_its_data(tmp_path: Path) -> None:
    assert problems(write(tmp_path), trained=True) == []
    (tmp_path / "times.csv").write_text("")
    assert problems(write(tmp_path)) == []


def test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "times.csv").write_text("")
    registry = load_registry()
    path = write(tmp_path)
    preset = find_preset(str(path), registry, recipe=True)
    monkeypatch.chdir(tmp_path)
    settings = [
        "data.ravdess.fold=3",
        "data.manifest.columns.emotion=label",
        "data.meld.realignment=times.csv",
    ]
    changed = override(preset, settings, registry)
    assert changed.data["ravdess"] == {"fold": 3}
    assert changed.data["manifest"] == {"columns": {"emotion": "label"}}
    assert changed.data["meld"] == {"realignment": str(tmp_path / "times.csv")}
    assert preset.data["ravdess"] == {"fold": 2}
    for setting, said in (
        ("data.ravdess.fold=9", "--set data.ravdess.fold=9: expected 0"),
        ("data.ravdess.fould=1", "Did you mean 'fold'"),
        ("data.ravdes.fold=1", "Did you mean 'ravdess'"),
        ("data.ravdess=1", "data.ravdess is not one option"),
        ("dat.ravdess.fold=1", "Did you mean 'data'"),
    ):
        with pytest.raises(UsageError, match=said):
            override(preset, [setting], registry)


def test_open_gives_the_options_to_the_data_set(shared: Path) -> None:
    registry = load_registry()
    name = f"ravdess:{shared / 'data' / 'ravdess'}"
    first = open_datasets([name], registry)["ravdess"].read("test")
    third = open_datasets([name], registry, {"ravdess": {"fold": 2}, "meld": {}})["ravdess"].read("test")
    assert first.conversations[0].utterances[0].speaker == "Actor 02"
    assert third.conversations[0].utterances[0].speaker == "Actor 10"


def test_open_tells_all_that_is_wrong(tmp_path: Path) -> None:
    registry = load_registry()
    with pytest.raises(UsageError) as caught:
        open_datasets(
            [f"meld:{tmp_path}"],
            registry,
            {"meld": {"clip": "x", "realignment": "times.csv"}},
            tmp_path / "in",
        )
    assert str(caught.value).splitlines() == [
        "The options of data.meld do not fit:",
        "  clip: unknown option. Did you mean 'clips'?",
        f"  realignment: no such file: {tmp_path / 'in' / 'times.csv'}",
        "See: erc plugins show meld",
    ]


def test_a_path_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "MELD").mkdir()
    with pytest.raises(UsageError, match=r"MELDD: no such file or folder\. Did you mean 'MELD'"):
        open_datasets([f"meld:{tmp_path / 'MELDD'}"], load_registry())


def test_commands_know_it(tmp_path: Path, erc: Erc) -> None:
    done = erc("presets", "check", write(tmp_path, PRESET.replace("fold: 2", "fould: 2")))
    assert done.returncode == 1
    assert "data.ravdess.fould: unknown option. Did you mean 'fold'?" in done.stdout
    shown = erc("plugins", "show", "ravdess", "--json")
    assert [o["name"] for o in __import__("json").loads(shown.stdout)["plugins"][0]["options"]] == [
        "fold",
        "modality",
    ]
