"""Options with ranges and choices; completion; copies of presets: what a user types, end to end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

import erc_audio_prosody
import erc_visual_faces
from erc_cli import completion, main, options
from erc_cli.errors import UsageError
from erc_cli.options import Between

PRESET = {
    "summary": "for tests",
    "labels": ["calm", "loud"],
    "extractors": {"text": {"use": "fake-text"}},
    "fusion": {"use": "fake-mean"},
}


def _erc(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, list(map(str, arguments)), standalone_mode=False)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (Annotated[int, Between(1)], 1, 1),
        (Annotated[float, Between(0.0, exclusive=True)], "1e-3", 1e-3),
        (Annotated[float, Between(0.0, 1.0)], 1, 1.0),
        (Annotated[int, Between(1)] | None, None, None),
        (Annotated[str, "a note"], "x", "x"),
        (list[Annotated[int, Between(0, 9)]], [0, 9], [0, 9]),
    ],
)
def test_values_within_their_range(wanted: Any, value: Any, expected: Any) -> None:
    made = options.convert(value, wanted, Path())
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("wanted", "value", "said"),
    [
        (Annotated[int, Between(1)], 0, "expected int of at least 1, got 0"),
        (Annotated[int, Between(1)], "many", "expected int, got 'many'"),
        (Annotated[float, Between(0.0, exclusive=True)], 0, "expected float above 0, got 0"),
        (Annotated[float, Between(0.0)], math.inf, "expected float of at least 0, got inf"),
        (Annotated[float, Between(0.0, 1.0)], 2, "expected float from 0 to 1, got 2"),
        (Annotated[float, Between(0, 1, exclusive=True)], 1, "expected float between 0 and 1, got 1"),
        (Annotated[float, Between(None, 0.0)], 1, "expected float of at most 0, got 1"),
        (Annotated[int, Between(1)] | None, -1, "expected int of at least 1, got -1"),
        (float, math.nan, "expected a number"),
        (float, "nan", "expected a number"),
        (float, 10**400, "expected a number"),
    ],
)
def test_values_outside_their_range(wanted: Any, value: Any, said: str) -> None:
    with pytest.raises(options.WrongValueError) as caught:
        options.convert(value, wanted, Path())
    assert caught.value.args[0].startswith(said)


@pytest.mark.parametrize(
    ("plugin", "name", "value"),
    [
        (erc_visual_faces, "detector", "dlib"),
        (erc_visual_faces, "pool", "median"),
        (erc_visual_faces, "frames", 0),
        (erc_visual_faces, "min_face", 3),
        (erc_visual_faces, "longest_side", -1),
        (erc_audio_prosody, "max_seconds", -1.0),
        (erc_audio_prosody, "max_seconds", math.nan),
        (erc_audio_prosody, "silence_db", math.nan),
    ],
)
def test_our_extractors_refuse_what_means_nothing(plugin: Any, name: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    good = {"weights": "w"} if plugin is erc_visual_faces else {}
    assert options.bind(plugin.build, good, tmp_path)[1] == []
    _, wrong = options.bind(plugin.build, {**good, name: value}, tmp_path)
    assert [complaint.option for complaint in wrong] == [name]


def test_limits_of_the_front_page_are_those_of_the_detector() -> None:
    from erc_visual_faces.mtcnn import CELL

    assert options.schema(erc_visual_faces.build)["min_face"].type_name == f"int of at least {CELL}"


def _run_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "preset.yaml").write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    for name in ("metrics.json", "training.json", "card.md", "text.safetensors"):
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def test_copy_of_a_trained_preset_leaves_its_figures_behind(tmp_path: Path) -> None:
    run = _run_folder(tmp_path / "run")
    answer = _erc("presets", "copy", run, tmp_path / "mine")
    assert answer.exception is None
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["preset.yaml", "text.safetensors"]
    assert "metrics.json, training.json, card.md" in answer.stderr
    assert (run / "metrics.json").is_file()


def test_copy_of_a_folder_to_a_yaml_file_is_refused(tmp_path: Path) -> None:
    run = _run_folder(tmp_path / "run")
    answer = _erc("presets", "copy", run, tmp_path / "mine.yaml")
    assert isinstance(answer.exception, UsageError)
    assert answer.exception.hint == f"Type: erc presets copy {run} {tmp_path / 'mine'}"
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize("place", ["file/mine", "x" * 300, "nowhere/mine"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_copy_to_an_impossible_place_is_a_usage_error(place: str, kind: str, tmp_path: Path) -> None:
    run = _run_folder(tmp_path / "run")
    plain = tmp_path / "plain.yaml"
    plain.write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    (tmp_path / "file").touch()
    answer = _erc("presets", "copy", run if kind == "folder" else plain, tmp_path / place)
    assert isinstance(answer.exception, UsageError), answer.exception
    assert answer.exception.hint


def _completed(function: Any, incomplete: str) -> list[tuple[str, str]]:
    context = click.Context(click.Command("erc"))
    return [(item.value, item.type) for item in function(context, click.Option(["--x"]), incomplete)]


def test_completion_offers_presets_then_files() -> None:
    presets = [("default", "plain"), ("default-m2fnet", "plain")]
    assert _completed(completion.presets, "defa") == [*presets, ("defa", "file")]


def test_completion_of_modalities_goes_on_after_a_comma() -> None:
    assert [value for value, _ in _completed(completion.modalities, "")] == ["audio", "text", "visual"]
    assert [value for value, _ in _completed(completion.modalities, "text,")] == ["text,audio", "text,visual"]


def test_completion_of_plugins() -> None:
    from erc_cli.registry import load_registry

    if not load_registry().entries:
        pytest.skip("erc-cli is not installed here, so it has no entry points")
    assert [value for value, _ in _completed(completion.plugins, "fac")] == ["faces"]
