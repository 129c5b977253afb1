"""Files that are either complete or not there, and where the cache is."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError, UsageError

LOCK = ".erc.lock"
#: what goes wrong with the medium, not with the program
_MEDIUM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextmanager
def atomic_write(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, that is renamed into place at the end.

    The block writes (or leaves as it is: empty) the temporary file. When the block fails, Ctrl-C
    included, it is removed and `path` is as it was.

    Raises:
        UsageError: `path` exists and `force` is false, or is not a file, or its folder is missing
            or read-only.
        ErcError: the disk is full.
    """
    target = check_output(path, force)
    # Open by ourselves instead of mkstemp, so that the file gets the user's usual permissions.
    draft = target.with_name(f".{target.stem[:80]}.{secrets.token_hex(4)}{target.suffix}")
    _create(draft, path)
    try:
        yield draft
        _sync(draft)
        check_output(path, force)  # someone else may have written it meanwhile
        draft.replace(target)
    except OSError as error:
        if error.errno not in _MEDIUM:
            raise  # not about this file: a defect, or someone else's matter
        raise ErcError(
            f"{path} could not be written: {error.strerror}.", hint="Make room on the disk."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def check_output(path: Path, force: bool = False) -> Path:
    """Where writing to `path` ends up (links followed); raises as `atomic_write` does.

    For commands, to find out before the long work begins.
    """
    target = path.resolve()
    if target.is_dir():
        raise UsageError(f"{path} is a folder.", hint=f"Name a file in it, for instance: {path / 'out.json'}")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise UsageError(f"{path} is not a regular file.", hint="Name a file to write.")
    if target.exists() and not force:
        raise UsageError(f"{path} exists already and is kept.", hint="Overwrite it with --force.")
    check_folder(target.parent)
    return target


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of ours; ErcError when it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ErcError(f"{path} cannot be read: {error}", hint="Get it anew, or remove it.") from None
    if not isinstance(content, dict):
        raise ErcError(f"{path} does not hold a JSON object.", hint="Get it anew, or remove it.")
    return content


def check_folder(folder: Path) -> None:
    """UsageError unless files can be made in `folder`."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} to write to.", hint=f"Type: mkdir -p '{folder}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} is read-only.", hint="Name another place to write to.")


@contextmanager
def own(folder: Path, name: str = LOCK) -> Iterator[None]:
    """The folder is made, and belongs to this process, or of it what the lock `name` stands for.

    The lock goes with its process, however it ends.

    Raises:
        UsageError: another run is at work there, or nothing can be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint="Name another one: -o DIR"
        ) from None
    check_folder(folder)
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"Another erc is at work in {folder}.",
            hint="Wait for its end, or name another folder with -o.",
        ) from None
    except NotImplementedError:  # a file system without locks: two at once are the user's matter
        yield
        return
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be written: {error.strerror}.", hint="Name another one: -o DIR"
        ) from None
    try:
        yield
    finally:
        lock.release()


def copy_folder(source: Path, target: Path, *, replace: bool = False) -> None:
    """Copy a folder; it appears at `target` complete or not at all, also when one is replaced.

    Raises:
        UsageError: `target` exists and `replace` is false, or its folder is missing or read-only.
        ErcError: a file cannot be copied.
    """
    target = target.resolve()
    if target.exists() and not replace:
        raise UsageError(f"{target} exists already and is kept.", hint="Replace it with --force.")
    check_folder(target.parent)
    mark = secrets.token_hex(4)
    draft, old = target.with_name(f".{target.name}.{mark}"), target.with_name(f".{target.name}.{mark}.old")
    try:
        shutil.copytree(source, draft)
        if target.exists():
            target.rename(old)
        draft.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise ErcError(
            f"{target} could not be written: {error}", hint="Name another place to write to."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """One file under two names where the disk can do that, else a copy; replaces `target`.

    For files that are replaced and never changed in place, such as weights.
    """
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def cache_folder() -> Path:
    """`$ERC_CACHE`, else `erc` in the platform's cache folder; it may not exist yet."""
    own = os.environ.get("ERC_CACHE")
    if own:
        return Path(own).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "erc" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "erc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "erc"


def _create(draft: Path, path: Path) -> None:
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        # os.access says yes to root and on some network drives where writing then fails.
        reason = error.strerror or str(error)
        raise UsageError(
            f"{path} cannot be written: {reason}.", hint="Name another place to write to."
        ) from error


def _sync(draft: Path) -> None:
    with draft.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename last; not every system can open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # the file itself is safe; some file systems refuse this on folders
    finally:
        os.close(handle)
