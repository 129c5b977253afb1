"""Presets varied: `--set`, `--drop` and `--keep`, the types of options, and slips in them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from presetkit import GOOD
from presetkit import Plugin as _Plugin
from presetkit import write as _write

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.preset import Preset, Use, build_extractor, drop, find_preset, keep, override
from erc_cli.registry import Registry
from erc_cli.testing import FakePlugin
from erc_cli.types import Modality

if TYPE_CHECKING:
    from somewhere import Unknown  # type: ignore[import-not-found]


@pytest.fixture
def registry() -> Registry:
    return Registry.of(FakePlugin(), _Plugin())


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
