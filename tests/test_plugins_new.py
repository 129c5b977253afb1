"""`erc plugins new`: every plugin that it can make is made, and passes its own tests and the linters."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Erc

from erc_cli.commands import plugins as plugins_command
from erc_cli.errors import ErcError, UsageError
from erc_cli.hookspecs import hookimpl
from erc_cli.pipeline import load_model
from erc_cli.preset import find_preset
from erc_cli.registry import Registry
from erc_cli.scaffold import EXTRACTOR, LONGEST, SAMPLES, TEMPLATES, NewPlugin, create, plan, rendered
from erc_cli.specs import FusionSpec
from erc_cli.testing import FakeFusion, FakePlugin
from erc_cli.types import Fusion, Head, Modality

NOTHING = Registry()


def _plan(sample: str, name: str, registry: Registry = NOTHING) -> NewPlugin:
    extractor = sample in tuple(Modality)
    kind, modality = (EXTRACTOR, Modality(sample)) if extractor else (sample, None)
    return plan(name, kind, modality, registry)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every plugin, and each once more with a name of one letter and the longest one."""
    folder = tmp_path_factory.mktemp("plugins")
    for letter, sample in zip("abcdefgh", SAMPLES, strict=False):
        for name in (f"my-{sample}2", letter, letter * (LONGEST - 5) + "-9-z9"):
            create(_plan(sample, name), folder / f"erc-{name}")
    return folder


def _tool(name: str, *arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (dependency group dev)")
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _paths(folders: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, [*folders, ROOT, ROOT / "plugins"]))


def test_there_is_a_plugin_for_every_kind_and_modality() -> None:
    kinds = {*SAMPLES, EXTRACTOR} - set(Modality)
    assert set(plugins_command._NEW_KINDS) == kinds
    assert {*kinds, *Modality} >= {path.name for path in TEMPLATES.iterdir()} - {"all"}
    assert [p for p in TEMPLATES.rglob("*") if p.is_file() and p.suffix != ".tmpl"] == []


def test_their_own_tests_pass(made: Path) -> None:
    folders = sorted(made.glob("erc-my-*"))
    assert len(folders) == len(SAMPLES)
    done = _tool(
        "pytest",
        *("-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", made),
        *(folder / "tests" for folder in folders),
        cwd=made,
        PYTHONPATH=_paths(folders),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20


def test_they_are_clean_by_their_own_rules(made: Path) -> None:
    for arguments in (("check",), ("format", "--check", "--diff")):
        done = _tool("ruff", *arguments, "--no-cache", "--quiet", ".", cwd=made)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_their_types_are_strict(made: Path, tmp_path: Path) -> None:
    config = tmp_path / "mypy.ini"  # torch's types take long, and no new plugin uses them
    config.write_text("[mypy]\nstrict = true\n[mypy-torch.*]\nfollow_imports = skip\n")
    folders = sorted(made.glob("erc-my-*"))
    arguments = ("--config-file", config, "--cache-dir", tmp_path / "cache", *folders)
    done = _tool("mypy", *arguments, cwd=made, MYPYPATH=_paths([]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in {3 * len(SAMPLES)} source files" in done.stdout


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_package_says_what_pip_and_erc_look_for(sample: str) -> None:
    files = dict(rendered(_plan(sample, "two-words")))
    assert {"pyproject.toml", "README.md", "erc_two_words/__init__.py", "erc_two_words/py.typed"} <= set(
        files
    )
    assert "tests/test_two_words.py" in files
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert (project["name"], project["entry-points"]) == (
        "erc-two-words",
        {"erc": {"two-words": "erc_two_words"}},
    )
    bounds = next(need for need in project["dependencies"] if need.startswith("erc-cli"))
    assert re.fullmatch(r"erc-cli>=\d+\.\d+\.\S+,<\d+(\.\d+)?", bounds)
    assert [place for place, text in files.items() if "$" in text] == []
    assert len(files["erc_two_words/__init__.py"].splitlines()) <= 75
    assert "erc plugins show two-words" in files["README.md"]


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("Loud_Voice", "loud-voice"),
        ("loud voice!", "loud-voice"),
        ("erc-loud", "loud"),
        ("-loud-", "loud"),
        ("loud--voice", "loud-voice"),
        ("../loud", "loud"),
        ("3d", "my-plugin"),
        ("ü", "my-plugin"),
        ("", "my-plugin"),
        ("l" * (LONGEST + 1), "l" * LONGEST),
        ("yes", "my-yes"),
        ("null", "my-null"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_one_that_does(name: str, better: str) -> None:
    with pytest.raises(UsageError, match="no name for a plugin") as caught:
        _plan("audio", name)
    assert caught.value.hint == f"Type: erc plugins new {better} --modality audio"
    assert _plan("audio", better).name == better


def test_a_name_that_is_taken_is_told_with_its_owner() -> None:
    registry = Registry.of(FakePlugin(), package="fakes")
    with pytest.raises(UsageError, match="'fake-mean' is taken: a plugin of fakes, kind fusion") as caught:
        _plan("audio", "fake-mean", registry)
    assert caught.value.hint == "Choose another name: erc plugins new my-fake-mean --modality audio"


def test_a_package_that_is_there_is_not_taken_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"package erc_fusion_late already: .*erc_fusion_late"):
        _plan("fusion", "fusion-late")
    with pytest.raises(UsageError, match=r"erc.cli"):
        _plan("fusion", "cli")
    (tmp_path / "erc_gone").mkdir()  # what an uninstalled package may leave
    monkeypatch.syspath_prepend(tmp_path)
    assert _plan("fusion", "gone").package == "erc_gone"


def test_only_an_extractor_has_a_modality() -> None:
    with pytest.raises(UsageError, match="An extractor reads") as caught:
        plan("loud", EXTRACTOR, None, NOTHING)
    assert caught.value.hint == "Type: erc plugins new loud --modality audio"
    with pytest.raises(UsageError, match="A writer has no modality") as caught:
        plan("loud", "writer", Modality.TEXT, NOTHING)
    assert caught.value.hint == "Type: erc plugins new loud --kind writer"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new = _plan("writer", "loud")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(UsageError, match="exists already and is kept") as caught:
            create(new, tmp_path / name)
        assert caught.value.hint == f"Name a new folder: -o {tmp_path / 'erc-loud-2'}"
    for place in (tmp_path / "none" / "x", tmp_path / "file" / "x", tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(UsageError):
            create(new, place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "link"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_plugin_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (2000, before[1])
    )  # no file may grow beyond it, as on a full disk
    try:
        with pytest.raises(ErcError, match="could not be written: File too large"):
            create(_plan("audio", "loud"), tmp_path / "erc-loud")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    create(_plan("audio", "loud"), tmp_path / "erc-loud")
    assert [p.name for p in tmp_path.iterdir()] == ["erc-loud"]


def test_the_command(erc: Erc, tmp_path: Path) -> None:
    folder = tmp_path / "a place"
    done = erc("plugins", "new", "loud-voice", "--modality", "audio", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}\n"
    assert f"  cd '{folder}'\n  pip install -e '.[dev]'\n  pytest\n" in done.stderr
    assert (folder / "erc_loud_voice" / "extractor.py").is_file()
    again = erc("plugins", "new", "audio-prosody", "--modality", "audio", "-o", tmp_path / "b")
    assert (again.returncode, again.stdout) == (2, "")
    assert "package erc_audio_prosody already" in again.stderr
    assert not (tmp_path / "b").exists()


# --- what the new fusion lives on ----------------------------------------------------------


class _Asking:
    """A fusion that asks for all that erc knows of the branches."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def build(
        self, *, labels: Sequence[str], dims: Mapping[Modality, int], heads: Mapping[Modality, Head | None]
    ) -> Fusion:
        self.given = {"labels": labels, "dims": dims, "heads": heads}
        return FakeFusion(len(labels))

    @hookimpl
    def erc_fusions(self) -> Sequence[FusionSpec]:
        return [FusionSpec("asking", "asks", self.build)]


def test_a_fusion_is_given_the_widths_and_heads_of_the_branches(tmp_path: Path) -> None:
    file = tmp_path / "asking.yaml"
    branches = "{text: {use: fake-text}, audio: {use: fake-audio}}"
    file.write_text(f"labels: [calm, loud, glad]\nextractors: {branches}\nfusion: {{use: asking}}\n")
    asking = _Asking()
    registry = Registry.of(FakePlugin(), asking)
    load_model(find_preset(str(file), registry), registry)
    assert asking.given["dims"] == {Modality.TEXT: 2, Modality.AUDIO: 2}
    assert {m: head.weight.shape for m, head in asking.given["heads"].items()} == dict.fromkeys(
        (Modality.TEXT, Modality.AUDIO), (3, 2)
    )
