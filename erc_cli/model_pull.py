"""`erc models pull`: every file of a model checked, then the model put in its place at once.

Nothing appears under the model's name before all of it is right. What was fetched stays in
`STORE/.parts` until then, so that a pull that was cut off goes on.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write, link_or_copy
from erc_cli.learning import Progress, Report
from erc_cli.model_archive import unpack
from erc_cli.model_convert import convert
from erc_cli.model_fetch import download, no_room
from erc_cli.model_files import look_in, looks_like, matches, problems_of, sha256
from erc_cli.model_lock import LockedFile, LockedModel
from erc_cli.model_store import (
    PARTS,
    RECORDS,
    Held,
    HeldFile,
    cached_files,
    held,
    hub_cache,
    part_path,
    record_of,
    store_folder,
    subfolder,
)

DRAFTS, BUSY = ".drafts", ".busy"
_MB = 10**6
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_YES = {"1", "ON", "YES", "TRUE"}
#: an archive or a checkpoint needs room for what comes of it, too
_TWICE = 2.5


def offline_by_environment() -> bool:
    """Whether `HF_HUB_OFFLINE` (or the older `TRANSFORMERS_OFFLINE`) forbids the network."""
    return any(os.environ.get(key, "").upper() in _YES for key in _OFFLINE)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did; `fetched` and `found` are bytes from the network and from this computer."""

    model: Held
    state: str
    fetched: int = 0
    found: int = 0


@dataclass(slots=True)
class Pull:
    """One pull at work. `source`: a folder or archive instead of the network."""

    model: LockedModel
    report: Report
    offline: bool = False
    source: Path | None = None
    fetched: int = field(default=0, init=False)
    found: int = field(default=0, init=False)

    def run(self, waiting: Callable[[], None]) -> Pulled:
        """Install the model unless it is whole already; `waiting` is called when another pull is at work.

        Raises:
            ErcError: a file is not to be had, is not the right one, or does not fit on the disk.
        """
        with busy(waiting):
            _sweep()
            current = _if_sound(self.model.name)
            if current is not None and current.mark == self.model.mark and not problems_of(current):
                return Pulled(current, "present")
            ready = self._gather(current)
            _install(self.model, ready)
        new = held(self.model.name)
        if new is None:
            raise ErcError(f"{self.model.name} is not in its place.", hint="Type the same command again.")
        for file in self.model.files:
            (part_path(file.sha256)).unlink(missing_ok=True)
        return Pulled(new, "installed", self.fetched, self.found)

    def _gather(self, current: Held | None) -> list[Path]:
        """A checked copy of every file of the lock, in its order: a part, or where it lies already."""
        ready = [self._at_hand(file, current) for file in self.model.files]
        missing = [f for f, path in zip(self.model.files, ready, strict=True) if path is None]
        if missing and self.source is not None:
            for file, path in look_in(self.source, missing).items():
                ready[self.model.files.index(file)] = path
            missing = [f for f, path in zip(self.model.files, ready, strict=True) if path is None]
        if missing and (self.offline or self.source is not None):
            raise self._not_at_hand(missing)
        _check_room(self.model.files, missing)
        for i, file in enumerate(self.model.files):
            if ready[i] is None:
                ready[i] = self._fetch(file)
        return [path for path in ready if path is not None]

    def _at_hand(self, file: LockedFile, current: Held | None) -> Path | None:
        part = part_path(file.sha256)
        places = (
            [current.folder / file.path] if current is not None and file.path and not file.convert else []
        )
        source = file.url.partition(f"/resolve/{self.model.revision}/")[2] or file.path
        for path in (*places, part, *cached_files(self.model, file.sha256, source)):
            if matches(path, file, self._hashing(file)):
                self.found += file.size if path != part else 0
                return path
        return None

    def _fetch(self, file: LockedFile) -> Path:
        part = part_path(file.sha256)
        before = part.stat().st_size if part.exists() else 0
        stage = f"{self.model.name}/{file.name}"

        def told(done: int) -> None:
            self.report(Progress(stage, done // _MB, file.size // _MB, "MB"))

        download(file, part, told)
        self.fetched += file.size - before
        if not matches(part, file, self._hashing(file)):
            what = looks_like(part)
            part.unlink()
            raise ErcError(
                f"{file.url} is not the file of the lock: {what}its SHA-256 is another. It was thrown away.",
                hint=f"Try again; else get it elsewhere: erc models pull {self.model.name} --from DIR",
            )
        return part

    def _hashing(self, file: LockedFile) -> Callable[[int], None]:
        stage = f"checking {self.model.name}/{file.name}"
        return lambda done: self.report(Progress(stage, done // _MB, file.size // _MB, "MB"))

    def _not_at_hand(self, missing: Sequence[LockedFile]) -> ErcError:
        listed = "\n".join(f"  {f.url}  {f.size} bytes  sha256 {f.sha256}" for f in missing)
        if self.source is not None:
            said = f"{self.source} has not all files of {self.model.name!r}. Missing, by their SHA-256:"
            hint = "Put them there under any name and type the same command again."
        else:
            said = f"{self.model.name!r} is not on this computer, and the network is not to be used. Missing:"
            why = "without --offline" if not offline_by_environment() else f"with {_OFFLINE[0]}=0"
            hint = f"Type it {why}, or bring the files: erc models pull {self.model.name} --from DIR"
        return ErcError(f"{said}\n{listed}", hint=hint)


def _if_sound(name: str) -> Held | None:
    """The installed model unless its record is damaged."""
    try:
        return held(name)
    except UsageError:
        return None


def remove(model: Held, files: Sequence[LockedFile], waiting: Callable[[], None]) -> None:
    """Take a model away, and the parts of its `files` that a pull has left.

    Raises:
        ErcError: it cannot be removed.
    """
    with busy(waiting):
        aside = subfolder(DRAFTS) / f"{model.name}-{secrets.token_hex(4)}"
        try:
            model.folder.rename(aside)
        except OSError as error:
            raise ErcError(
                f"{model.folder} cannot be removed: {error.strerror}.", hint="Close what uses it."
            ) from None
        (subfolder(RECORDS) / f"{model.name}.json").unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        for file in files:
            part_path(file.sha256).unlink(missing_ok=True)


@contextmanager
def busy(waiting: Callable[[], None]) -> Iterator[None]:
    """Only one process changes the store at a time."""
    store = subfolder("")
    lock = FileLock(store / BUSY)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _install(model: LockedModel, ready: Sequence[Path]) -> None:
    """Build the folder aside, write its record, rename it into place."""
    draft = subfolder(DRAFTS) / f"{model.name}-{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        for file, path in zip(model.files, ready, strict=True):
            _place(file, path, draft)
        files = [_held_file(p, draft) for p in sorted(draft.rglob("*")) if p.is_file()]
        record = subfolder(RECORDS) / f"{model.name}.json"
        with atomic_write(record, force=True) as text:
            text.write_text(json.dumps(record_of(model, files), indent=2) + "\n", encoding="utf-8")
        _swap(draft, store_folder() / model.name)
    except OSError as error:
        raise no_room(error, draft) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _place(file: LockedFile, path: Path, draft: Path) -> None:
    if file.unpack:
        inside = draft.with_name(f"{draft.name}.pack")
        inside.mkdir()
        try:
            unpack(path, inside)
            for one in sorted(inside.iterdir()):
                one.rename(draft / one.name)
        finally:
            shutil.rmtree(inside, ignore_errors=True)
        return
    target = draft / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.convert:
        convert(path, target, key=file.key)
    elif any(path.is_relative_to(place) for place in (store_folder(), hub_cache())):
        link_or_copy(path.resolve(), target)
    else:  # what somebody brought stays his own: two names of one file would change together
        shutil.copyfile(path, target)


def _held_file(path: Path, folder: Path) -> HeldFile:
    return HeldFile(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path))


def _swap(draft: Path, target: Path) -> None:
    """Rename into place; an earlier version goes away after."""
    old = draft.with_name(f"{draft.name}.old")
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_room(files: Sequence[LockedFile], missing: Sequence[LockedFile]) -> None:
    parts = subfolder(PARTS)
    there = sum(part_path(f.sha256).stat().st_size for f in missing if part_path(f.sha256).exists())
    more = sum(f.size * _TWICE for f in files if f.unpack or f.convert)
    needed, free = int(sum(f.size for f in missing) - there + more), shutil.disk_usage(parts).free
    if needed > free:
        raise ErcError(
            f"{needed // _MB} MB are needed in {store_folder()}, and {free // _MB} MB are free.",
            hint="Make room, or choose another place: ERC_MODELS=FOLDER",
        )


def _sweep() -> None:
    """Away with what a pull that was killed had not finished; parts stay, to go on with."""
    for left in subfolder(DRAFTS).iterdir():
        shutil.rmtree(left, ignore_errors=True)
    for left in subfolder(PARTS).glob("from-*"):
        left.unlink(missing_ok=True)
