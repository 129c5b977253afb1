"""Presets: found, read, checked (all problems at once), built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from presetkit import GOOD
from presetkit import Plugin as _Plugin
from presetkit import train as _train
from presetkit import write as _write

from erc_cli.errors import ErcError, UsageError
from erc_cli.hookspecs import hookimpl
from erc_cli.preset import (
    Use,
    all_presets,
    build_extractor,
    build_fusion,
    check,
    drop,
    find_preset,
    locate,
    override,
    presets_folder,
    read_preset,
    train_options,
)
from erc_cli.registry import Registry
from erc_cli.specs import PresetSpec
from erc_cli.testing import FakePlugin
from erc_cli.types import Modality


@pytest.fixture
def registry() -> Registry:
    return Registry.of(FakePlugin(), _Plugin())


def _problems(text: str, folder: Path, registry: Registry) -> list[str]:
    path = _write(folder, text)
    preset, problems = read_preset(path)
    return [str(p) for p in problems + (check(preset, registry) if preset else [])]


def test_good_preset_is_read(tmp_path: Path, registry: Registry) -> None:
    preset = find_preset(str(_write(tmp_path, GOOD)), registry)
    assert preset.name == "mine"
    assert preset.summary == "for tests"
    assert preset.labels == ("calm", "loud", "glad")
    assert preset.extractors[Modality.TEXT] == Use("words", {"past": 2}, tmp_path)
    assert list(preset.extractors) == [Modality.TEXT, Modality.AUDIO]
    assert preset.fusion.name == "fake-mean"
    assert preset.folder == tmp_path
    assert not preset.trained


def test_all_problems_are_told_at_once_with_line_key_and_nearest_word(
    tmp_path: Path, registry: Registry
) -> None:
    text = """\
sumary: oops
labels: [calm, calm, no, ""]
extractors:
  text: {use: words, pst: 2, mode: men, rate: fast}
  audio: {use: words}
  visul: {use: fake-visual}
  visual: {use: fake-visul}
fusion: {use: pol}
train:
  text: {epoch: 3}
  audio: {epochs: 1}
"""
    assert _problems(text, tmp_path, registry) == [
        "line 1, sumary: unknown key. Did you mean 'summary'?",
        "line 2, labels.2: expected text, got False (put it in quotes)",
        "line 2, labels.3: expected text, got '' (put it in quotes)",
        "line 2, labels: 'calm' is there twice",
        "line 6, extractors.visul: unknown modality. Did you mean 'visual'?",
        "line 4, extractors.text.pst: unknown option. Did you mean 'past'?",
        "line 4, extractors.text.mode: expected 'mean' | 'last', got 'men'. Did you mean 'mean'?",
        "line 4, extractors.text.rate: expected a number such as 12, 0.5 or 1e-4, got 'fast'",
        "line 10, train.text.epoch: unknown option. Did you mean 'epochs'?",
        "line 5, extractors.audio.use: 'words' works on text, not on audio",
        "line 7, extractors.visual.use: There is no extractor called 'fake-visul'. "
        "Did you mean 'fake-visual'? See: erc plugins list --kind extractor",
        "line 8, fusion.use: There is no fusion called 'pol'. Did you mean 'pool'? "
        "See: erc plugins list --kind fusion",
    ]


def test_find_preset_raises_one_error_that_names_every_problem(tmp_path: Path, registry: Registry) -> None:
    path = _write(tmp_path, GOOD.replace("past: 2", "past: two, mod: last"))
    with pytest.raises(UsageError) as caught:
        find_preset(str(path), registry)
    assert caught.value.message.splitlines() == [
        f"{path} has 2 problems:",
        "  line 4, extractors.text.past: expected int, got 'two'",
        "  line 4, extractors.text.mod: unknown option. Did you mean 'mode'?",
    ]
    assert caught.value.hint == "Options: erc plugins show words"


def test_problems_stand_in_the_order_of_the_file_and_several_plugins_have_one_hint(
    tmp_path: Path, registry: Registry
) -> None:
    text = GOOD.replace("past: 2", "pst: 2").replace("use: fake-audio", "use: fake-audio, scal: 1")
    path = _write(tmp_path, text.replace("labels", "lables"))
    with pytest.raises(UsageError) as caught:
        find_preset(str(path), registry)
    told = [line.partition(",")[0].strip() for line in caught.value.message.splitlines()[1:]]
    assert told[:3] == ["line 2", "line 4", "line 5"]
    assert told[3].startswith("labels: expected")
    assert caught.value.hint == f"When they are mended: erc presets check {path}"


def test_binary_file_is_no_preset(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(UsageError, match="not a text file"):
        find_preset(str(path), registry)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", "expected a mapping"),
        ("labels: [a, b\n", "line 2, not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("\x00\x01", "not a text file"),
    ],
)
def test_files_that_are_no_preset(text: str, said: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UsageError) as caught:
        find_preset(str(_write(tmp_path, text)), registry)
    assert said in caught.value.message


def test_missing_parts_and_wrong_shapes(tmp_path: Path, registry: Registry) -> None:
    assert _problems("summary: [1]\n", tmp_path, registry) == [
        "line 1, summary: expected text, got [1]",
        "labels: expected a list of labels, such as [neutral, joy, anger]",
        "extractors: is required",
        "fusion: is required",
    ]
    text = GOOD.replace("{use: words, past: 2}", "minilm").replace("{use: fake-mean}", "{}")
    assert _problems(text, tmp_path, registry) == [
        "line 4, extractors.text: expected a mapping, got 'minilm'; leave the key out to do without",
        "line 6, fusion.use: expected the name of a plugin, such as {use: minilm}",
    ]


def test_key_that_stands_twice(tmp_path: Path, registry: Registry) -> None:
    problems = _problems(GOOD + "fusion: {use: pool}\n", tmp_path, registry)
    assert problems == ["line 7, fusion: stands in line 6 already"]


def test_aliases_do_not_explode(tmp_path: Path, registry: Registry) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True):
        bomb += f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    problems = _problems(bomb + "summary: *j\n", tmp_path, registry)
    assert any("summary: expected text" in problem for problem in problems)
    assert max(map(len, problems)) < 400


def test_files_are_relative_to_the_preset_and_must_exist(tmp_path: Path, registry: Registry) -> None:
    text = GOOD.replace("past: 2", "weights: nets/words.bin")
    path = _write(tmp_path, text)
    with pytest.raises(UsageError, match=r"no such file: .*nets/words\.bin"):
        find_preset(str(path), registry)
    assert find_preset(str(path), registry, recipe=True).extractors[Modality.TEXT].name == "words"
    _write(tmp_path, "x", "nets/words.bin")
    preset = find_preset(str(path), registry)
    built: Any = build_extractor(preset.extractors[Modality.TEXT], registry, device="cuda", labels=("a",))
    assert built.options["weights"] == tmp_path / "nets/words.bin"
    assert built.options["device"] == "cuda"
    assert preset.extractors[Modality.TEXT].options == {"weights": "nets/words.bin"}


def test_required_option_may_be_missing_from_a_recipe_only(tmp_path: Path, registry: Registry) -> None:
    path = _write(tmp_path, GOOD.replace("{use: words, past: 2}", "{use: strict}"))
    with pytest.raises(UsageError, match=r"extractors.text.head: is required \(file\)") as caught:
        find_preset(str(path), registry)
    assert caught.value.hint == f"Train it: erc train {path} --data NAME:PATH -o RUN. Then: --preset RUN"
    recipe = find_preset(str(path), registry, recipe=True)
    assert override(recipe, ["text.use=strict", "train.text.epochs=2"], registry).recipe
    with pytest.raises(UsageError, match="is required"):
        override(find_preset(str(_write(tmp_path, GOOD)), registry), ["text.use=strict"], registry)


def test_train_options_are_as_annotated(tmp_path: Path, registry: Registry) -> None:
    _write(tmp_path, "x", "start.bin")
    text = GOOD + "train:\n  text: {data: [meld], epochs: 2, start: start.bin, rate: 2e-5}\n"
    preset, _ = read_preset(_write(tmp_path, text))
    assert preset is not None
    expected = {"epochs": 2, "start": tmp_path / "start.bin", "rate": 2e-5}
    assert train_options(preset, "text", _train) == expected
    assert train_options(preset, "audio", _train) == {}
    wrong = override(preset, ["train.text.epochs=many"])
    with pytest.raises(UsageError, match="epochs: expected int"):
        train_options(wrong, "text", _train)


def test_missing_library_is_a_problem_for_check_and_an_error_for_build(
    tmp_path: Path, registry: Registry
) -> None:
    preset = find_preset(str(_write(tmp_path, GOOD.replace("words", "lacking"))), registry)
    problems = check(preset, registry)
    assert [(p.kind, p.message) for p in problems] == [
        ("missing", "'lacking' needs no_such_lib: pip install 'erc-cli[text]', or leave it out: --drop text")
    ]
    with pytest.raises(ErcError, match="not installed"):
        build_extractor(preset.extractors[Modality.TEXT], registry)


def test_requires_of_a_fusion(tmp_path: Path, registry: Registry) -> None:
    preset = find_preset(str(_write(tmp_path, GOOD.replace("fake-mean", "text-first"))), registry)
    with pytest.raises(UsageError, match="'text-first' cannot do without text"):
        drop(preset, ["text"], registry)
    alone = drop(preset, ["text"])
    assert [p.message for p in check(alone, registry)] == ["'text-first' cannot do without text"]


def test_build_hands_over_what_the_signature_asks_for(registry: Registry) -> None:
    built: Any = build_fusion(Use("pool", {"power": 2}), registry, labels=("a", "b"), device="cpu")
    assert built.options == {"labels": ("a", "b"), "power": 2.0}
    assert isinstance(built.options["power"], float)
    with pytest.raises(UsageError, match="labels: is set by erc itself"):
        build_fusion(Use("pool", {"labels": ["x"]}), registry, labels=("a",))
    with pytest.raises(UsageError, match="power: expected a number"):
        build_fusion(Use("pool", {"power": True}), registry, labels=("a",))


def test_train_names_data_sets(tmp_path: Path, registry: Registry) -> None:
    text = GOOD + "train:\n  text: {data: [mled], epochs: 2}\n  fusion: {}\n  vision: {}\n"
    assert _problems(text, tmp_path, registry) == [
        "line 10, train.vision: unknown stage. Did you mean 'fusion'?",
        "line 8, train.text.data: no data set 'mled'.",
        "line 9, train.fusion: 'fake-mean' cannot be trained",
    ]


# --- finding -------------------------------------------------------------------------------


def test_presets_are_found_by_name_by_path_and_as_run_folders(tmp_path: Path, registry: Registry) -> None:
    home = tmp_path / "home"
    _write(home, GOOD, "plain.yaml")
    _write(home, GOOD, "trained/preset.yaml")
    run = _write(tmp_path, GOOD, "runs/seed0/preset.yaml").parent
    assert [f.name for f in all_presets(registry, home)] == ["plain", "trained"]
    assert locate("trained", registry, home).path == home / "trained/preset.yaml"
    assert locate(str(run), registry, home).name == "seed0"
    assert locate(str(run / "preset.yaml"), registry, home).name == "seed0"
    for name, said in (
        ("trainde", "no preset called 'trainde'. Did you mean 'trained'"),
        (str(home), "is not a trained preset: it has no preset.yaml"),
        ("nowhere/x.yaml", "No such preset file: nowhere/x.yaml"),
    ):
        with pytest.raises(UsageError, match=said):
            locate(name, registry, home)


def test_preset_of_a_plugin_and_two_of_one_name(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)

    class Plugin:
        @hookimpl
        def erc_presets(self) -> Sequence[PresetSpec]:
            return [PresetSpec("theirs", path)]

    registry = Registry.of(Plugin(), FakePlugin(), _Plugin())
    home = tmp_path / "home"
    assert locate("theirs", registry, home).path == path
    _write(home, GOOD, "theirs.yaml")
    with pytest.raises(UsageError, match="Two presets are called 'theirs'"):
        locate("theirs", registry, home)


def test_the_built_in_folder_is_there() -> None:
    assert presets_folder().is_dir()


def test_every_built_in_preset_is_sound() -> None:
    from erc_cli.registry import load_registry

    registry = load_registry()
    presets = [found for found in all_presets(registry) if found.package == "erc-cli"]
    if not presets or not registry.entries:
        pytest.skip("no built-in presets, or erc-cli is not installed")
    for found in presets:
        preset, problems = read_preset(found.path, found.name)
        assert preset is not None
        left = [str(p) for p in problems + check(replace(preset, recipe=True), registry) if p.kind == "wrong"]
        assert left == []
        assert yaml.safe_load(found.path.read_text(encoding="utf-8"))["summary"]
