"""Presets: found, read, checked (all problems at once), varied, built."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import yaml

from erc_cli import options
from erc_cli.errors import ErcError, UsageError
from erc_cli.hookspecs import hookimpl
from erc_cli.learning import TrainJob
from erc_cli.preset import (
    Preset,
    Use,
    all_presets,
    build_extractor,
    build_fusion,
    check,
    drop,
    find_preset,
    keep,
    locate,
    override,
    presets_folder,
    read_preset,
    train_options,
)
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec, FusionSpec, PresetSpec
from erc_cli.testing import FakePlugin
from erc_cli.types import Modality

if TYPE_CHECKING:
    from somewhere import Unknown  # type: ignore[import-not-found]

GOOD = """\
summary: for tests
labels: [calm, loud, glad]
extractors:
  text: {use: words, past: 2}
  audio: {use: fake-audio}
fusion: {use: fake-mean}
"""


@dataclass(frozen=True)
class _Built:
    """What `_build` was called with."""

    options: Mapping[str, Any]


def _build(
    *,
    past: int = 1,
    rate: float | None = None,
    mode: Literal["mean", "last"] = "mean",
    bands: tuple[float, float] = (75, 600),
    weights: Path | None = None,
    device: str = "cpu",
) -> Any:
    return _Built(
        {"past": past, "rate": rate, "mode": mode, "weights": weights, "device": device, "bands": bands}
    )


def _train(job: TrainJob, *, epochs: int = 3, start: Path | None = None, rate: float = 0.1) -> Any:
    raise NotImplementedError(job, epochs, start, rate)


def _build_strict(*, head: Path) -> Any:
    return _Built({"head": head})


def _build_pool(*, labels: Sequence[str], power: float = 1.0) -> Any:
    return _Built({"labels": labels, "power": power})


class _Plugin:
    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        return [
            ExtractorSpec("words", Modality.TEXT, "words", _build, train=_train),
            ExtractorSpec("strict", Modality.TEXT, "needs a file", _build_strict, train=_train),
            ExtractorSpec(
                "lacking", Modality.TEXT, "lacks a library", _build, needs=("no_such_lib",), extra="text"
            ),
        ]

    @hookimpl
    def erc_fusions(self) -> Sequence[FusionSpec]:
        text = frozenset({Modality.TEXT})
        return [
            FusionSpec("pool", "asks for labels", _build_pool),
            FusionSpec("text-first", "needs text", _build_pool, requires=text),
        ]


@pytest.fixture
def registry() -> Registry:
    return Registry.of(FakePlugin(), _Plugin())


def _write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


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


# --- variations ----------------------------------------------------------------------------


@pytest.fixture
def preset(tmp_path: Path, registry: Registry) -> Preset:
    return find_preset(str(_write(tmp_path, GOOD)), registry)


def test_set_long_and_short(preset: Preset, registry: Registry) -> None:
    changed = override(preset, ["extractors.text.past=3", "text.rate=1e-3", "train.text.epochs=9"], registry)
    assert changed.extractors[Modality.TEXT].options == {"past": 3, "rate": "1e-3"}
    assert changed.train == {"text": {"epochs": 9}}
    built: Any = build_extractor(changed.extractors[Modality.TEXT], registry)
    assert built.options["rate"] == 0.001
    assert preset.extractors[Modality.TEXT].options == {"past": 2}


def test_set_another_plugin_forgets_the_old_options(preset: Preset, registry: Registry) -> None:
    changed = override(preset, ["audio.scale=3", "text.use=fake-text", "fusion.use=pool"], registry)
    assert changed.extractors[Modality.TEXT] == Use("fake-text", {}, preset.folder)
    assert changed.extractors[Modality.AUDIO].options == {"scale": 3}
    assert changed.fusion.name == "pool"
    added = override(preset, ["visual.scale=2", "visual.use=fake-visual"], registry)
    assert added.extractors[Modality.VISUAL].options == {"scale": 2}
    same = override(preset, ["text.use=words"], registry)
    assert same.extractors[Modality.TEXT].options == {"past": 2}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("text.past", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("txt.past=3", "nothing is called 'txt'. Did you mean 'text'"),
        ("extractors.vision.use=x", "nothing is called 'vision'. Did you mean 'visual'"),
        ("text=3", "text is not one option"),
        ("fusion=late", "fusion is not one option"),
        ("text.past=[1", "is not a YAML value"),
        ("text.past=two", "expected int, got 'two'"),
        ("text.pst=2", "Did you mean 'past'"),
        ("text.use=wrods", "Did you mean 'words'"),
        ("visual.scale=2", "has no such branch"),
        ("text.past.deep=2", "'past' is one value"),
    ],
)
def test_settings_that_do_not_fit(setting: str, said: str, preset: Preset, registry: Registry) -> None:
    with pytest.raises(UsageError) as caught:
        override(preset, [setting], registry)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["text.pst=1"], "--set text.pst=1: unknown option. Did you mean 'past'?"),
        (["text.past=0", "text.past=two"], "--set text.past=two: expected int, got 'two'"),
        (["text.use=strict"], "--set text.use=strict: head: is required (file)"),
        (["train.text.epoch=2"], "--set train.text.epoch=2: unknown option. Did you mean 'epochs'?"),
        (
            ["text.pst=1", "audio.scal=2"],
            "2 settings do not fit:\n  --set text.pst=1: unknown option. Did you mean 'past'?\n"
            "  --set audio.scal=2: unknown option. Did you mean 'scale'?",
        ),
    ],
)
def test_a_wrong_setting_is_not_put_down_to_the_file(
    settings: list[str], said: str, preset: Preset, registry: Registry
) -> None:
    with pytest.raises(UsageError) as caught:
        override(preset, settings, registry)
    assert caught.value.message.startswith(said)
    assert str(preset.path) not in caught.value.message
    assert "line " not in caught.value.message


def test_example_of_a_setting_is_one_that_works(registry: Registry, preset: Preset) -> None:
    with pytest.raises(UsageError) as caught:
        override(preset, ["text"], registry)
    assert caught.value.hint is not None
    assert "--set text.past=1" in caught.value.hint
    assert override(preset, ["text.past=1"], registry).extractors[Modality.TEXT].options == {"past": 1}


def test_set_looks_for_files_in_the_current_folder_first(
    preset: Preset, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    _write(here, "x", "own.bin")
    _write(tmp_path, "x", "theirs.bin")
    monkeypatch.chdir(here)
    own = override(preset, ["text.weights=own.bin"], registry)
    assert own.extractors[Modality.TEXT].options["weights"] == str(here / "own.bin")
    theirs = override(preset, ["text.weights=theirs.bin"], registry)
    assert theirs.extractors[Modality.TEXT].options["weights"] == "theirs.bin"


def test_drop_and_keep(preset: Preset, registry: Registry) -> None:
    assert list(drop(preset, ["text"], registry).extractors) == [Modality.AUDIO]
    assert list(keep(preset, ["text", "visual"], registry).extractors) == [Modality.TEXT]
    assert list(keep(preset, ["text,audio"], registry).extractors) == [Modality.TEXT, Modality.AUDIO]
    assert list(drop(preset, ["text, visual"], registry).extractors) == [Modality.AUDIO]
    with pytest.raises(UsageError, match="--keep and --drop together leave nothing"):
        drop(keep(preset, ["text"], registry), ["text"], registry)
    assert drop(preset, []) is preset
    for change, said in ((["text", "audio"], "Nothing is left"), (["vision"], "Did you mean 'visual'")):
        with pytest.raises(UsageError, match=said):
            drop(preset, change)


# --- types of options ----------------------------------------------------------------------


class _Detector(enum.StrEnum):
    MTCNN = "mtcnn"


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, "1e-4", 1e-4),
        (bool, False, False),
        (str, "a", "a"),
        (int | None, None, None),
        (Literal["a", 2], 2, 2),
        (list[int], [1, 2], [1, 2]),
        (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (Sequence[str], ["a"], ["a"]),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (frozenset[str], ["a"], frozenset("a")),
        (_Detector, "mtcnn", _Detector.MTCNN),
        (Any, [1], [1]),
        (dict, {"a": 1}, {"a": 1}),
    ],
)
def test_values_that_fit(wanted: Any, value: Any, expected: Any) -> None:
    made = options.convert(value, wanted, Path())
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (int, True),
        (int, 2.0),
        (int, "2"),
        (float, "fast"),
        (float, False),
        (bool, 1),
        (str, 3),
        (int | None, "x"),
        (int | str, [1]),
        (Literal["1"], 1),
        (list[int], ["a"]),
        (list[int], "12"),
        (tuple[int, int], [1]),
        (Mapping[str, int], [1]),
        (_Detector, "yunet"),
        (Path, 3),
        (Path, "no/such/file"),
    ],
)
def test_values_that_do_not_fit(wanted: Any, value: Any) -> None:
    with pytest.raises(options.WrongValueError):
        options.convert(value, wanted, Path())


def test_annotations_that_exist_for_type_checkers_only_are_not_checked() -> None:
    def build(*, odd: Unknown = None, file: Path | None = None) -> Unknown:
        raise NotImplementedError(odd, file)

    made = options.schema(build)
    assert made["odd"].type is Any
    assert made["file"].type_name == "file | none"
    assert made["file"].takes_file


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
