"""Archives of models, unpacked with suspicion: files only, inside the folder, of bounded size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from erc_cli.errors import ErcError
from erc_cli.model_lock import safe_path

_MOST_FILES = 2000
#: weights hardly shrink; what grows more than this is no model
_GROWTH, _EXTRA = 20, 64 * 2**20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class ArchiveError(ErcError):
    """The archive is not one that is unpacked; nothing of it is kept."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"The archive {path.name} is refused: {what}.", hint="Get it anew from its source.")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its checked path, its size, and how to read it once."""

    path: str
    size: int
    stream: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether `members` can read it: zip, or tar (plain, gz, bz2 or xz)."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into `folder`, which is new; one folder that holds all the rest is left out.

    Raises:
        ArchiveError: it holds a link or a device, a path that leads out, two files of one name, too
            many files or bytes, or is damaged.
    """
    names: set[str] = set()
    for member in members(archive):
        if member.path.lower() in names:
            raise ArchiveError(archive, f"it holds {member.path!r} twice")
        names.add(member.path.lower())
        target = folder / member.path
        _make(archive, target.parent)
        if target.exists():
            raise ArchiveError(archive, f"it holds {member.path!r} twice")
        with target.open("xb") as stream:
            try:
                shutil.copyfileobj(member.stream, stream, 1 << 18)
            except _DAMAGED as error:
                raise ArchiveError(archive, f"it is damaged ({error})") from None
        if target.stat().st_size != member.size:
            raise ArchiveError(archive, f"{member.path!r} is not as large as it says")
    if not names:
        raise ArchiveError(archive, "it is empty")
    _lift(folder)


def members(archive: Path) -> Iterator[Member]:
    """The files of an archive, in its order; each stream is read before the next is asked for.

    Raises:
        ArchiveError: as for `unpack`.
    """
    allowed = archive.stat().st_size * _GROWTH + _EXTRA
    total = count = 0
    try:
        for member in _zip(archive) if zipfile.is_zipfile(archive) else _tar(archive, allowed):
            total, count = total + member.size, count + 1
            if total > allowed or count > _MOST_FILES:
                raise ArchiveError(archive, "it holds far more than a model")
            yield member
    except _DAMAGED as error:
        raise ArchiveError(archive, f"it is damaged ({error})") from None


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            name = info.orig_filename  # zipfile mends names: the mended one may hide what was meant
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(path, f"{name!r} is a link or a device")
            if not safe_path(name.removesuffix("/")):
                raise ArchiveError(path, f"the path {name!r} leads out of it")
            if info.flag_bits & 1:
                raise ArchiveError(path, "it needs a password")
            if not info.is_dir():
                with archive.open(info) as stream:
                    yield Member(name, info.file_size, stream)


def _tar(path: Path, allowed: int) -> Iterator[Member]:
    with (
        _plain(path) as stream,
        tarfile.open(fileobj=cast("Any", _Metered(stream, path, allowed)), mode="r|") as archive,
    ):
        for info in archive:
            name = info.name.removeprefix("./").removesuffix("/")
            if info.isdir() and name in ("", "."):
                continue
            if not safe_path(name):
                raise ArchiveError(path, f"the path {info.name!r} leads out of it")
            if not (info.isdir() or info.isreg()) or info.issparse():
                raise ArchiveError(path, f"{info.name!r} is a link or a device")
            content = archive.extractfile(info) if info.isreg() else None
            if content is not None:
                yield Member(name, info.size, content)


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        packer = next((make for mark, make in _PACKED.items() if start.startswith(mark)), None)
        if packer is None:
            yield stream
            return
        with cast("Any", packer)(stream, "rb") as content:
            yield content


@dataclass(slots=True)
class _Metered:
    """Reads on until the archive has given more than it may; headers may lie about sizes."""

    stream: IO[bytes]
    path: Path
    left: int

    def read(self, size: int) -> bytes:
        if self.left < 0:
            raise ArchiveError(self.path, "it holds far more than a model")
        content = self.stream.read(size)
        self.left -= len(content)
        return content


def _make(archive: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(archive, f"{folder.name!r} is a file and a folder") from None


def _lift(folder: Path) -> None:
    """`pack/a`, `pack/b` -> `a`, `b`."""
    inside = list(folder.iterdir())
    if len(inside) != 1 or not inside[0].is_dir():
        return
    aside = inside[0].rename(folder.with_name(f"{folder.name}.lifted"))
    folder.rmdir()
    aside.rename(folder)
