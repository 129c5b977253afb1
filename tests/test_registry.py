"""The registry: strangers' plugins, real ones installed by pip, and everything that can go wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from erc_cli.errors import ErcError, UsageError
from erc_cli.hookspecs import hookimpl
from erc_cli.registry import Registry, load_registry
from erc_cli.specs import ExtractorSpec, ReaderSpec, WriterSpec
from erc_cli.testing import FakePlugin
from erc_cli.types import Modality, Transcript

ECHO = Path(__file__).parent / "data" / "erc_echo"


def _build(*, past: int = 1) -> Any:
    raise NotImplementedError(past)


def _extractor(name: str, **more: Any) -> ExtractorSpec:
    return ExtractorSpec(name, Modality.TEXT, "a summary", _build, **more)


class _One:
    """A plugin with one extractor."""

    def __init__(self, spec: ExtractorSpec) -> None:
        self.spec = spec

    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        return [self.spec]


class _Mistyped:
    @hookimpl
    def erc_extractor(self) -> Sequence[ExtractorSpec]:
        return [_extractor("never")]


class _Raises:
    @hookimpl
    def erc_fusions(self) -> Sequence[Any]:
        raise ZeroDivisionError("oh no")


class _ReturnsNonsense:
    @hookimpl
    def erc_writers(self) -> Sequence[Any]:
        return ["csv"]


class _Formats:
    @hookimpl
    def erc_readers(self) -> Sequence[ReaderSpec]:
        return [ReaderSpec("srt", (".srt",), "SubRip", lambda path: Transcript((), "srt", path=path))]

    @hookimpl
    def erc_writers(self) -> Sequence[WriterSpec]:
        return [WriterSpec("srt", (".srt",), "SubRip", lambda result, path: None)]


def _module(folder: Path, name: str, text: str, package: str = "") -> None:
    """A distribution as pip leaves it: a module and a dist-info with its entry point."""
    (folder / f"{name}.py").write_text(text)
    info = folder / f"{(package or name).replace('-', '_')}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package or name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[erc-test]\n{name} = {name}\n")


def test_specs_are_found_by_kind_and_name() -> None:
    registry = Registry.of(FakePlugin(), _Formats())
    assert registry.extractor("fake-audio").modality is Modality.AUDIO
    assert registry.fusion("fake-mean").name == "fake-mean"
    assert list(registry.readers) == ["srt"]
    assert registry.writers["srt"].extensions == (".srt",)
    assert registry.names("extractor") == ("fake-audio", "fake-text", "fake-visual")


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"no extractor called 'fake-txt'\. Did you mean 'fake-text'"
    ) as caught:
        Registry.of(FakePlugin()).extractor("fake-txt")
    assert caught.value.exit_code == 2


def test_name_of_another_kind_is_said_so() -> None:
    with pytest.raises(UsageError, match="'fake-mean' is a fusion"):
        Registry.of(FakePlugin()).extractor("fake-mean")


def test_two_owners_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from erc_cli.hookspecs import hookimpl\n"
        "from erc_cli.specs import ExtractorSpec\n"
        "from erc_cli.types import Modality\n"
        "@hookimpl\n"
        "def erc_extractors():\n"
        "    return [ExtractorSpec('twin', Modality.TEXT, 'one of two', lambda: None)]\n"
    )
    _module(tmp_path, "erc_twin_a", text, "twin-a")
    _module(tmp_path, "erc_twin_b", text, "twin-b")
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_registry("erc-test")
    with pytest.raises(UsageError, match=r"twin-a 1\.5 and twin-b 1\.5") as caught:
        registry.extractor("twin")
    assert "ERC_DISABLE_PLUGINS=twin-b" in str(caught.value)
    assert [row.state for row in registry.rows()] == [
        "clash: also from twin-b 1.5",
        "clash: also from twin-a 1.5",
    ]
    monkeypatch.setenv("ERC_DISABLE_PLUGINS", "other, twin_b")
    assert load_registry("erc-test").extractor("twin").summary == "one of two"


def test_plugin_that_fails_to_import_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _module(tmp_path, "erc_bad_import", "import no_such_library\n")
    _module(tmp_path, "erc_bad_syntax", "def broken(:\n")
    good = "from erc_cli.hookspecs import hookimpl\n@hookimpl\ndef erc_readers():\n    return []\n"
    _module(tmp_path, "erc_good", good)
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_registry("erc-test")
    rows = {row.name: row for row in registry.rows()}
    assert set(rows) == {"erc_bad_import", "erc_bad_syntax"}
    assert rows["erc_bad_import"].kind == "plugin"
    assert rows["erc_bad_import"].version == "1.5"
    expected = "broken: ModuleNotFoundError: No module named 'no_such_library'"
    assert rows["erc_bad_import"].state == expected
    assert rows["erc_bad_syntax"].state.startswith("broken: SyntaxError")
    with pytest.raises(UsageError, match=r"Not loaded: erc_bad_import \(ModuleNotFoundError"):
        registry.extractor("whatever")


def test_disabled_by_entry_point_import_name_or_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _module(tmp_path, "erc_bad_one", "raise OSError('libx.so')\n", "some-package")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_registry("erc-test").broken[0].reason == "OSError: libx.so"
    for word in ("erc_bad_one", "ERC-bad-one", "some_package"):
        monkeypatch.setenv("ERC_DISABLE_PLUGINS", word)
        assert load_registry("erc-test").rows() == []


def test_mistyped_hook_is_reported_with_the_right_name() -> None:
    registry = Registry.of(_Mistyped(), FakePlugin())
    assert [bad.reason for bad in registry.broken] == [
        "there is no hook 'erc_extractor'. Did you mean 'erc_extractors'?"
    ]
    assert "fake-text" in registry.names("extractor")


def test_hook_that_raises_or_returns_nonsense_costs_one_plugin() -> None:
    registry = Registry.of(_Raises(), _ReturnsNonsense(), FakePlugin())
    reasons = {bad.owner.plugin: bad.reason for bad in registry.broken}
    assert reasons == {
        "_Raises": "erc_fusions: ZeroDivisionError: oh no",
        "_ReturnsNonsense": "erc_writers returned str, expected WriterSpec",
    }
    assert registry.fusion("fake-mean")


def test_missing_library_is_told_with_the_pip_command() -> None:
    spec = _extractor("deep", needs=("json", "no_such_library"), extra="text")
    registry = Registry.of(_One(spec))
    assert registry.rows()[0].state == "missing: no_such_library (pip install 'erc-cli[text]')"
    with pytest.raises(ErcError, match="needs no_such_library, which is not installed") as caught:
        registry.require(spec)
    assert caught.value.exit_code == 1
    assert caught.value.hint == "Type: pip install 'erc-cli[text]', or leave it out: --drop text"
    registry.require(_extractor("light", needs=("json",)))


def test_entry_points_of_this_distribution_are_all_good() -> None:
    registry = load_registry()
    if not registry.entries:
        pytest.skip("erc-cli is not installed here, so it has no entry points")
    assert [str(bad) for bad in registry.broken] == []


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out-of-tree plugin, installed by pip into a folder of its own; no network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed (dependency group dev)")
    target = tmp_path_factory.mktemp("echo")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    copy = tmp_path_factory.mktemp("source") / "erc_echo"
    shutil.copytree(ECHO, copy)  # pip may leave build files behind
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(copy)], check=True, timeout=300)
    return target


def _erc(target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(target), str(ECHO.parents[2]), str(ECHO.parents[2] / "plugins")]
    code = "from erc_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_out_of_tree_plugin_appears_in_the_list(echo: Path) -> None:
    answer = _erc(echo, "plugins", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    rows = {(row["kind"], row["name"]): row for row in json.loads(answer.stdout)["plugins"]}
    row = rows["extractor", "echo"]
    assert row == {
        "name": "echo",
        "kind": "extractor",
        "modality": "text",
        "package": "erc-echo",
        "version": "0.3.0",
        "summary": "counts the words",
        "state": "ok",
        "licence": "Apache-2.0",
    }
    assert ("preset", "echo-only") in rows


def test_out_of_tree_plugin_shows_its_options_and_its_preset(echo: Path) -> None:
    shown = json.loads(_erc(echo, "plugins", "show", "echo", "--json").stdout)["plugins"][0]
    assert shown["options"] == [{"name": "scale", "type": "float", "required": False, "default": 1.0}]
    presets = json.loads(_erc(echo, "presets", "list", "--json").stdout)["presets"]
    mine = next(preset for preset in presets if preset["name"] == "echo-only")
    assert mine["package"] == "erc-echo 0.3.0"
    assert mine["extractors"] == {"text": "echo"}


def test_out_of_tree_plugin_keeps_the_contract(echo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from erc_cli.preset import Use, build_extractor
    from erc_cli.testing import check_extractor

    monkeypatch.syspath_prepend(echo)
    extractor = build_extractor(Use("echo", {"scale": 2}), load_registry(), device="cpu")
    features = check_extractor(extractor)
    assert features.values.ravel().tolist() == [8.0, 8.0, 6.0, 6.0]
