"""Files of models on this computer: their hashes, what they seem to be, and where they may lie."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.model_archive import members
from erc_cli.model_fetch import no_room, title
from erc_cli.model_lock import LockedFile
from erc_cli.model_store import Held, part_path

_CHUNK = 1 << 20


def matches(path: Path, file: LockedFile, told: Callable[[int], None] | None = None) -> bool:
    """Whether `path` is that very file, by size and SHA-256."""
    try:
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return sha256(path, told) == file.sha256
    except OSError:
        return False


def sha256(path: Path, told: Callable[[int], None] | None = None) -> str:
    """Of a file, read in pieces."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if told is not None:
                told(done)
    return digest.hexdigest()


def looks_like(path: Path) -> str:
    """What a wrong file seems to be, for a message; empty where nothing is known."""
    with path.open("rb") as stream:
        start = stream.read(4096)
    if start.lstrip()[:1] == b"<":
        return f"it is a web page{title(start)}, "
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself, "
    return ""


def look_in(source: Path, wanted: Sequence[LockedFile]) -> dict[LockedFile, Path]:
    """Where in a folder, or inside an archive, the wanted files are; those of an archive become parts.

    Raises:
        UsageError: there is no such folder or file.
        ErcError: the archive is refused, or the disk is full.
    """
    if not source.exists():
        raise UsageError(f"No such file or folder: {source}", hint="Name what you brought: --from DIR|FILE")
    if source.is_dir():
        return _in_folder(source, wanted)
    found = {file: source for file in wanted if matches(source, file)}
    sizes = {file.size for file in wanted if file not in found}
    if found or not sizes:
        return found
    for member in members(source):
        if member.size in sizes:
            draft = part_path(f"from-{secrets.token_hex(4)}")
            try:
                with draft.open("xb") as stream:
                    shutil.copyfileobj(member.stream, stream, _CHUNK)
                for file in wanted:
                    if file not in found and matches(draft, file):
                        found[file] = draft.replace(part_path(file.sha256))
                        break
            except OSError as error:
                raise no_room(error, draft) from None
            finally:
                draft.unlink(missing_ok=True)
    return found


def _in_folder(folder: Path, wanted: Sequence[LockedFile]) -> dict[LockedFile, Path]:
    by_size: dict[int, list[LockedFile]] = {}
    for file in wanted:
        by_size.setdefault(file.size, []).append(file)
    found: dict[LockedFile, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for file in by_size.get(path.stat().st_size, ()):
            if file not in found and matches(path, file):
                found[file] = path
    return found


def problems_of(model: Held) -> dict[str, str]:
    """What is wrong with an installed model, by file: `missing`, `damaged`, `surplus`. Reads all bytes."""
    wrong = {}
    for file in model.files:
        path = model.folder / file.path
        if not path.is_file():
            wrong[file.path] = "missing"
        elif path.stat().st_size != file.size or sha256(path) != file.sha256:
            wrong[file.path] = "damaged"
    known = {file.path for file in model.files}
    there = (
        p.relative_to(model.folder).as_posix() for p in sorted(model.folder.rglob("*")) if not p.is_dir()
    )
    return wrong | {path: "surplus" for path in there if path not in known}
