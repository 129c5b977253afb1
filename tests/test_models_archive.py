"""Archives of others: what climbs, links, lies about sizes or unpacks without end is refused."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkit import tree

from erc_cli.model_archive import ArchiveError, is_archive, unpack


def _zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], packed: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _tar(path: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for one in members:
            archive.addfile(one, io.BytesIO(bytes(one.size)) if one.isreg() else None)
    return path


def _member(name: str, size: int = 4, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.size, one.type, one.linkname = (size if kind == tarfile.REGTYPE else 0), kind, link
    return one


def _refused(archive: Path, said: str, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "in"
    inside.mkdir(parents=True)
    with pytest.raises(ArchiveError, match=said):
        unpack(archive, inside)
    outside = [p for p in tree(tmp_path) if not p.startswith("deep/in") and p not in ("deep", archive.name)]
    assert outside == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_sound_tar(tmp_path: Path, mode: str) -> None:
    folder = _member("./", kind=tarfile.DIRTYPE)
    path = _tar(tmp_path / "a.tar", folder, _member("./one/x"), _member("two", 100_000), mode=mode)
    assert is_archive(path)
    (tmp_path / "in").mkdir()
    unpack(path, tmp_path / "in")
    assert tree(tmp_path / "in") == ["one", "one/x", "two"]
    assert (tmp_path / "in/two").read_bytes() == bytes(100_000)


def test_a_single_folder_around_all_is_left_out(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", ("pack/", b""), ("pack/a", b"1"), ("pack/sub/b", b"22"), packed=True)
    (tmp_path / "in").mkdir()
    unpack(path, tmp_path / "in")
    assert tree(tmp_path / "in") == ["a", "sub", "sub/b"]
    assert (tmp_path / "in/sub/b").read_bytes() == b"22"


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "a/../../out",
        "/out",
        "//out",
        "C:/out",
        "a\\..\\out",
        "a/./b",
        "a//b",
        "con\x01",
        "a\x00b",
        "x.",
        "",
    ],
)
def test_paths_that_lead_out_of_a_zip(tmp_path: Path, name: str) -> None:
    """Names as they stand in the file: zipfile itself would mend some of them in silence."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    path = tmp_path / "bad.zip"
    _zip(path, ("fine", b"1"), (info, b"22"))
    _refused(path, "leads out", tmp_path)


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "c:/out"])
def test_paths_that_lead_out_of_a_tar(tmp_path: Path, name: str) -> None:
    _refused(_tar(tmp_path / "bad.tgz", _member("fine"), _member(name)), "leads out", tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    path = _tar(tmp_path / "bad.tar", _member("link", kind=kind, link="/etc/passwd"), _member("link/x"))
    _refused(path, "link or a device", tmp_path)


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    _refused(_zip(tmp_path / "bad.zip", (info, b"/etc")), "link or a device", tmp_path)


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_two_files_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    path = _tar(tmp_path / "bad.tar", *map(_member, names))
    _refused(path, "twice|a file and a folder", tmp_path)


def test_a_zip_that_unpacks_without_end(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb.zip", *[(str(i), bytes(40 * 2**20)) for i in range(2)], packed=True)
    assert path.stat().st_size < 200_000
    _refused(path, "far more than a model", tmp_path)


def test_a_zip_of_too_many_files(tmp_path: Path) -> None:
    _refused(_zip(tmp_path / "many.zip", *[(str(i), b"") for i in range(2001)]), "far more", tmp_path)


def test_a_tar_that_unpacks_without_end(tmp_path: Path) -> None:
    path = _tar(tmp_path / "bomb.tgz", _member("small"), _member("zeros", 80 * 2**20))
    assert path.stat().st_size < 200_000
    _refused(path, "far more than a model", tmp_path)


def test_a_tar_whose_header_has_no_end(tmp_path: Path) -> None:
    """A pax header of 80 MB would be read into memory before any member is seen."""
    info = _member("x")
    info.pax_headers = {"comment": "0" * (80 * 2**20)}
    _refused(_tar(tmp_path / "bomb.tgz", info), "far more than a model", tmp_path)


def test_a_sparse_file_in_a_tar(tmp_path: Path) -> None:
    info = _member("x")
    info.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": str(10**12), "GNU.sparse.name": "x"}
    _refused(_tar(tmp_path / "sparse.tar", info, mode="w"), "link or a device|far more", tmp_path)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _wrong_sum(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"content", b"Content", 1))


def _lies_about_its_size(path: Path) -> None:
    """The directory of a zip says 3 bytes where there are 7."""
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 3)
    path.write_bytes(bytes(content))


def _encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_wrong_sum, "damaged"),
        (_lies_about_its_size, "damaged|not as large"),
        (_encrypted, "password"),
    ],
)
def test_damaged_zips(tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    path = _zip(tmp_path / "bad.zip", ("a", b"content"))
    harm(path)
    _refused(path, said, tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_that_ends_early(tmp_path: Path, mode: str) -> None:
    path = _tar(tmp_path / "bad.tar", _member("a", 50_000), _member("b", 50_000), mode=mode)
    _truncated(path)
    _refused(path, "damaged|not as large", tmp_path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_bytes(b"<html></html>" * 100)
    assert not is_archive(tmp_path / "page.zip")
    _refused(tmp_path / "page.zip", "damaged|empty", tmp_path)
