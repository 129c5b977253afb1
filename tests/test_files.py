"""Files are complete or not there."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from erc_cli.errors import UsageError
from erc_cli.files import atomic_write, cache_folder, check_output, copy_folder


def test_file_appears_at_the_end_with_its_suffix_and_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with atomic_write(path) as draft:
        assert draft.suffix == ".json"
        assert draft.parent == tmp_path
        draft.write_text("{}")
        assert not path.exists()
    assert path.read_text() == "{}"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileNotFoundError])
def test_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path, force=True) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(UsageError, match="is kept") as caught, atomic_write(path):
        pass
    assert caught.value.hint == "Overwrite it with --force."
    with atomic_write(path, force=True) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"


def test_file_that_someone_else_makes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(UsageError, match="is kept"), atomic_write(path) as draft:
        draft.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with atomic_write(tmp_path / "link.txt", force=True) as draft:
        draft.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("path", "said"),
    [("missing/out.json", "no folder"), (".", "is a folder"), ("/dev/null", "not a regular file")],
)
def test_places_that_cannot_be_written(tmp_path: Path, path: str, said: str) -> None:
    if not Path(tmp_path / path).exists() and path.startswith("/dev"):
        pytest.skip("no /dev/null here")
    with pytest.raises(UsageError, match=said):
        check_output(tmp_path / path, force=True)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="read-only"), atomic_write(tmp_path / "out.json"):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that refuses new files")
def test_folder_that_refuses_files_even_to_root() -> None:
    with (
        pytest.raises(UsageError, match=r"cannot be written|read-only"),
        atomic_write(Path("/proc/self/out.json")),
    ):
        pass


def test_copy_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "f").write_text("1")
    copy_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "deep" / "f").read_text() == "1"
    with pytest.raises(UsageError, match="is kept"):
        copy_folder(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "old").touch()
    copy_folder(tmp_path / "a", tmp_path / "b", replace=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "deep", "deep", "f", "f"]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ERC_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()
    monkeypatch.delenv("ERC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert cache_folder() == tmp_path / "erc"
