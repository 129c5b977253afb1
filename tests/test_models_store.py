"""Where models are found, and the mark `Model()` on an option of a plugin."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import modelkit
import pytest
import yaml
from conftest import Erc
from modelkit import COMMIT, entry, write_lock
from modelkit import invoke as _erc

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.files import cache_folder
from erc_cli.hookspecs import hookimpl
from erc_cli.model_store import find_cached, find_model, hub_cache, store_folder
from erc_cli.options import Model
from erc_cli.preset import build_extractor, check, find_preset, read_preset, require_models
from erc_cli.preset_file import Use
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import Modality

store = modelkit.store  # a fixture for every test


def _install(tmp_path: Path, name: str, *contents: bytes) -> Path:
    """A model pulled from a folder, as a user without network does."""
    stick = tmp_path / f"stick-{name}"
    stick.mkdir()
    for i, content in enumerate(contents):
        (stick / str(i)).write_bytes(content)
    files = [entry(content, f"https://x.org/{i}", f"f{i}.bin") for i, content in enumerate(contents)]
    lock = write_lock(tmp_path / f"{name}.yaml", **{name: files})
    answer = _erc("models", "pull", name, "--from", stick, "--lock", lock)
    if answer.exception is not None:
        raise answer.exception
    return lock


# --- the store ------------------------------------------------------------------------------


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_folder() == tmp_path / "store"
    monkeypatch.delenv("ERC_MODELS")
    assert store_folder() == cache_folder() / "models"
    for name, value, expected in (
        ("XDG_CACHE_HOME", tmp_path / "x", tmp_path / "x/huggingface/hub"),
        ("HF_HOME", tmp_path / "h", tmp_path / "h/hub"),
        ("HF_HUB_CACHE", tmp_path / "c", tmp_path / "c"),
    ):
        if name != "HF_HUB_CACHE":
            monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.setenv(name, str(value))
        assert hub_cache() == expected


def test_a_model_is_its_folder(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    _install(tmp_path, "several", b"x", b"y")
    assert find_model("single") == store / "single"
    assert find_model("several") == store / "several"
    assert find_model("several/f1.bin") == store / "several/f1.bin"
    assert _erc("models", "path", "single").stdout.strip() == str(store / "single")
    listed = json.loads(_erc("models", "list", "--json").stdout)["models"]
    assert {m["name"]: m["state"] for m in listed if "not in the lock" in m["state"]} == {
        "several": "installed, not in the lock",
        "single": "installed, not in the lock",
    }


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("roberta-large", "is not on this computer", "Type: erc models pull roberta-large"),
        ("FacebookAI/roberta-large", "is not on this computer", "Type: erc models pull roberta-large"),
        ("roberta-lrge", "Did you mean 'roberta-large'", "erc models list"),
        ("org/other", "not in", "Type: hf download org/other"),
        ("org/other@v1", "not in", "Type: hf download org/other --revision v1"),
        ("../x", "no name of a model", "erc models list"),
        ("", "no name of a model", "erc models list"),
        (".records", "no name of a model", "erc models list"),
        ("a/../../etc/passwd", "no name of a model", "erc models list"),
    ],
)
def test_what_is_not_here(name: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model(name)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_damaged_record(tmp_path: Path, store: Path) -> None:
    lock = _install(tmp_path, "single", b"x")
    for content in (
        "{",
        "[]",
        '{"files": []}',
        '{"files": [{"path": "../x", "size": 1, "sha256": ""}]}',
        '{"files": 3}',
    ):
        (store / ".records/single.json").write_text(content)
        with pytest.raises(UsageError, match="is damaged"):
            find_model("single")
        assert json.loads(_erc("models", "verify", "--json").stdout)["models"][0]["ok"] is False
    assert (
        _erc("models", "pull", "single", "--from", tmp_path / "stick-single", "--lock", lock).exception
        is None
    )
    assert find_model("single/f0.bin").read_bytes() == b"x"


def test_verify_sees_what_erc_did_not_install(tmp_path: Path, store: Path) -> None:
    assert "0 of 0 models are whole" in _erc("models", "verify").stdout
    (store / "by-hand").mkdir(parents=True)
    answer = _erc("models", "verify", "--json")
    assert json.loads(answer.stdout)["models"][0]["problems"] == {".": "not installed by erc"}
    assert answer.return_value == 1
    assert isinstance(_erc("models", "verify", "nothing").exception, UsageError)


def test_the_hugging_face_cache_is_read(tmp_path: Path) -> None:
    base = tmp_path / "hub/models--org--name"
    for commit in (COMMIT, "cd" * 20):
        (base / "snapshots" / commit).mkdir(parents=True)
        (base / "snapshots" / commit / "config.json").write_text("{}")
    assert find_cached("org/name") is None  # two, and nobody says which
    (base / "refs").mkdir()
    (base / "refs/main").write_text(COMMIT)
    (base / "refs/v2").write_text("cd" * 20)
    assert find_model("org/name") == base / "snapshots" / COMMIT
    assert find_model("org/name@v2") == find_model("org/name@cdcd") == base / "snapshots" / ("cd" * 20)
    with pytest.raises(UsageError, match="hf download org/name --revision v3"):
        find_model("org/name@v3")
    legacy = tmp_path / "hub/models--bert-base-uncased/snapshots" / COMMIT
    legacy.mkdir(parents=True)
    (legacy / "config.json").write_text("{}")
    assert find_model("bert-base-uncased") == legacy


# --- the mark on options --------------------------------------------------------------------


def _build(*, weights: Annotated[Path, Model()], other: Annotated[Path, Model()] | None = None) -> Any:
    return SimpleNamespace(weights=weights, other=other)


def _fusion() -> Any:
    return SimpleNamespace()


class Plugin:
    """An extractor that needs a model, one that does not, and a fusion."""

    @hookimpl
    def erc_extractors(self) -> list[ExtractorSpec]:
        return [
            ExtractorSpec(name="heavy", modality=Modality.TEXT, summary="", build=_build),
            ExtractorSpec(name="light", modality=Modality.AUDIO, summary="", build=_fusion),
        ]

    @hookimpl
    def erc_fusions(self) -> list[FusionSpec]:
        return [FusionSpec(name="plain", summary="", build=_fusion)]


REGISTRY = Registry.of(Plugin())


def _preset(folder: Path, **text: str) -> Path:
    path = folder / "p.yaml"
    content = {
        "summary": "x",
        "labels": ["a", "b"],
        "extractors": {"text": {"use": "heavy", **text}, "audio": {"use": "light"}},
        "fusion": {"use": "plain"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_model_option_takes_a_file_a_folder_or_a_name(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    (tmp_path / "local").mkdir()
    for value, expected in (
        ("local", tmp_path / "local"),
        ("single", store / "single"),
        (".", tmp_path),
    ):
        bound, wrong = options.bind(_build, {"weights": value, "other": value}, tmp_path)
        assert wrong == []
        assert bound == {"weights": expected, "other": expected}
    (tmp_path / "single").mkdir()  # what lies beside the preset comes first
    assert options.bind(_build, {"weights": "single"}, tmp_path)[0] == {"weights": tmp_path / "single"}
    made = options.schema(_build)
    assert (made["weights"].type_name, made["other"].type_name) == (
        "file, folder or model",
        "file, folder or model | none",
    )
    assert made["weights"].takes_file
    assert made["other"].takes_file


def test_a_preset_says_which_model_it_lacks(tmp_path: Path) -> None:
    """Like a library that is missing: a branch may be dropped, and who needs it is told what to type."""
    path = _preset(tmp_path, weights="roberta-large")
    preset, problems = read_preset(path, "p")
    assert preset is not None and problems == []
    found = check(preset, REGISTRY)
    assert [(p.kind, p.key) for p in found] == [("missing", "extractors.text.weights")]
    assert "erc models pull roberta-large, or leave it out: --drop text" in found[0].message
    assert find_preset(str(path), REGISTRY).name == "p"
    for act in (
        lambda: build_extractor(preset.extractors[Modality.TEXT], REGISTRY),
        lambda: require_models(preset, REGISTRY),
    ):
        with pytest.raises(
            UsageError, match="'heavy' lacks a model: weights: The model 'roberta-large'"
        ) as caught:
            act()
        assert caught.value.hint == "Type: erc models pull roberta-large"


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("roberta-lrge", "wrong", "Did you mean 'roberta-large'"),
        ("gone.safetensors", "file", "no such file"),
        ("/gone", "file", "no such file"),
        (3, "wrong", "expected file, folder or model, got 3"),
    ],
)
def test_what_is_no_model(tmp_path: Path, value: Any, kind: str, said: str) -> None:
    preset, _ = read_preset(_preset(tmp_path, weights=value), "p")
    assert preset is not None
    found = check(preset, REGISTRY)
    assert [p.kind for p in found] == [kind]
    assert said in found[0].message


def test_a_model_pulled_reaches_the_plugin(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    made: Any = build_extractor(Use("heavy", {"weights": "single"}, tmp_path), REGISTRY)
    assert made.weights == store / "single"


def test_commands_have_help_with_examples(erc: Erc) -> None:
    for words in ((), ("pull",), ("verify",), ("remove",), ("convert",), ("path",), ("list",), ("lock",)):
        answer = erc("models", *words, "--help")
        assert answer.returncode == 0
        assert "Examples" in answer.stdout
    assert "Did you mean" in erc("models", "pul").stderr
