"""`erc doctor`: real torch, real folders; presets and plugins made for the purpose."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from erc_cli import __version__, main
from erc_cli.commands import doctor
from erc_cli.commands import presets as presets_command
from erc_cli.hookspecs import hookimpl
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec
from erc_cli.testing import FakePlugin
from erc_cli.types import Modality

PRESET = "labels: [a, b]\nextractors:\n  text: {use: %s}\nfusion: {use: fake-mean}\n"


class _Lacking:
    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        needs = ("no_such_library",)
        return [ExtractorSpec("deep", Modality.TEXT, "deep", FakePlugin, needs=needs, extra="text")]


def _build_trained(*, weights: Path) -> Any:
    raise NotImplementedError(weights)


def _train(job: Any) -> Any:
    raise NotImplementedError(job)


class _Trainable:
    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        return [ExtractorSpec("learner", Modality.TEXT, "learns", _build_trained, train=_train)]


class _Mistyped:
    @hookimpl
    def erc_reader(self) -> Sequence[Any]:
        return []


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setattr("erc_cli.preset.presets_folder", lambda: folder)
    registry = Registry.of(FakePlugin(), _Lacking(), _Trainable(), _Mistyped())
    monkeypatch.setattr(doctor, "load_registry", lambda: registry)
    monkeypatch.setattr(presets_command, "load_registry", lambda: registry)
    monkeypatch.setenv("ERC_CACHE", str(tmp_path / "cache"))
    return folder


def _doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main.erc, ["doctor", *arguments], standalone_mode=False, catch_exceptions=False)


def _checks(answer: Result) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(answer.stdout)["checks"]}


def test_healthy(presets: Path, tmp_path: Path) -> None:
    (presets / "default.yaml").write_text(PRESET % "fake-text")
    answer = _doctor("--json")
    checks = _checks(answer)
    assert not answer.return_value
    assert json.loads(answer.stdout)["ok"] is True
    assert checks["erc"]["detail"] == __version__
    assert checks["python"]["detail"].startswith(platform.python_version())
    import torch

    assert checks["torch"]["state"] == "ok"
    assert torch.__version__ in checks["torch"]["detail"]
    assert checks["torchaudio"]["state"] in ("ok", "info")
    assert checks["cache"] == {
        "name": "cache",
        "state": "ok",
        "detail": str(tmp_path / "cache"),
        "hint": None,
    }
    assert checks["preset default"]["state"] == "ok"
    assert checks["libraries"]["detail"] == "deep needs no_such_library"
    assert checks["libraries"]["hint"] == "Type: pip install 'erc-cli[text]', or leave it out: --drop text"
    assert "Did you mean 'erc_readers'" in checks["plugins"]["detail"]


def test_default_preset_that_cannot_run_fails(presets: Path) -> None:
    (presets / "default.yaml").write_text(PRESET % "deep")
    (presets / "other.yaml").write_text(PRESET % "fake-txt")
    answer = _doctor("--json")
    assert answer.return_value == 1
    checks = _checks(answer)
    assert checks["preset default"]["state"] == "fail"
    assert "pip install 'erc-cli[text]'" in checks["preset default"]["detail"]
    assert checks["preset other"]["state"] == "warn"
    assert "Did you mean 'fake-text'" in checks["preset other"]["detail"]
    assert "See:" not in checks["preset other"]["detail"]
    assert checks["preset other"]["hint"] == "See: erc presets check other"
    text = _doctor().stdout
    assert "FAIL" in text
    assert "cannot run: mend what says FAIL" in text


def test_default_preset_that_is_not_there_fails(presets: Path) -> None:
    answer = _doctor("--json")
    assert answer.return_value == 1
    assert _checks(answer)["preset default"]["state"] == "fail"


def test_cache_that_cannot_be_written(presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ERC_CACHE", str(tmp_path / "file" / "cache"))
    check = _checks(_doctor("--json"))["cache"]
    assert check["state"] == "warn"
    assert "ERC_CACHE" in check["hint"]


def test_preset_that_is_not_trained_yet_is_no_alarm(presets: Path) -> None:
    (presets / "recipe.yaml").write_text(PRESET % "learner")
    (presets / "default.yaml").write_text(PRESET % "fake-text")
    answer = _doctor("--json")
    assert not answer.return_value
    assert _checks(answer)["preset recipe"]["state"] == "info"
    checked = CliRunner().invoke(main.erc, ["presets", "check", "recipe"], standalone_mode=False)
    assert not checked.return_value
    assert checked.stdout.startswith("untrained")
    assert "line 3, extractors.text.weights: is required (file); training makes it" in checked.stdout
