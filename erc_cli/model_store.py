"""The models on this computer: those that `erc models pull` installed, and the Hugging Face cache.

Nothing here uses the network. A model is a folder `STORE/NAME` with exactly the files of its lock
entry, and a record `STORE/.records/NAME.json` of what was installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError, UsageError, nearest
from erc_cli.files import cache_folder, read_json
from erc_cli.model_lock import Lock, LockedModel, load_lock, safe_path

STORE = "ERC_MODELS"
RECORDS, PARTS = ".records", ".parts"
RECORD_SCHEMA = "erc.model/1"
_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@(?P<revision>[\w.-]+))?")


@dataclass(frozen=True, slots=True)
class HeldFile:
    """An installed file, `path` relative to the model's folder."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Held:
    """An installed model by its record; `mark` is that of the lock entry it was made from."""

    name: str
    folder: Path
    licence: str
    mark: str
    files: tuple[HeldFile, ...]
    repo: str = ""
    revision: str = ""
    summary: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    def altered(self) -> list[str]:
        """Files that are not there or of another size: what is seen without reading them."""
        return [f.path for f in self.files if not _is_file(self.folder / f.path, f.size)]


def store_folder() -> Path:
    """`$ERC_MODELS`, else `models` in the cache folder of erc; it may not exist yet."""
    own = os.environ.get(STORE)
    return Path(own).expanduser() if own else cache_folder() / "models"


def subfolder(name: str) -> Path:
    """A folder of the store, made when it is not there; UsageError where that cannot be."""
    folder = store_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror}.", hint="Choose another place: ERC_MODELS=FOLDER"
        ) from None
    return folder


def part_path(name: str) -> Path:
    """Where a file lies, under its SHA-256, until its model is complete."""
    return subfolder(PARTS) / name


def held(name: str) -> Held | None:
    """The installed model of that name, by its record; None where there is none.

    Raises:
        UsageError: its record is damaged.
    """
    folder, record = store_folder() / name, store_folder() / RECORDS / f"{name}.json"
    if not safe_path(name) or "/" in name or not folder.is_dir() or not record.is_file():
        return None
    wrong = UsageError(f"The model {name!r} is damaged: {record}.", hint=f"Type: erc models pull {name}")
    try:
        raw = read_json(record)
    except ErcError:
        raise wrong from None
    try:
        files = tuple(HeldFile(str(f["path"]), int(f["size"]), str(f["sha256"])) for f in raw["files"])
        words = [str(raw.get(key, "")) for key in ("licence", "mark")]
        origin = {key: str(raw.get(key, "")) for key in ("repo", "revision", "summary")}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise wrong from None
    if not files or not all(safe_path(f.path) for f in files):
        raise wrong
    return Held(name, folder, words[0], words[1], files, **origin)


def all_held() -> list[Held]:
    """Every installed model, by name."""
    records = sorted((store_folder() / RECORDS).glob("*.json"))
    return [found for record in records if (found := held(record.stem)) is not None]


def record_of(model: LockedModel, files: Sequence[HeldFile]) -> dict[str, Any]:
    """What is written beside an installed model; the same files give the same record."""
    return {
        "schema": RECORD_SCHEMA,
        "name": model.name,
        "summary": model.summary,
        "licence": model.terms,
        "repo": model.repo,
        "revision": model.revision,
        "mark": model.mark,
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files],
    }


def find_model(name: str, lock: Lock | None = None) -> Path:
    """The folder of a model on this computer, or one of its files.

    `name`: of the lock (`roberta-large`), one of its files (`buffalo_l/det_10g.onnx`), or a Hugging
    Face id `org/name[@revision]` that was pulled or is in the Hugging Face cache. Never uses the
    network. `lock`: other than the usual one.

    Raises:
        UsageError: it is not here, or not whole; the hint says what to type.
    """
    lock = load_lock() if lock is None else lock
    first, _, inside = name.partition("/")
    own = held(first)
    if own is not None and (not inside or any(f.path == inside for f in own.files)):
        _check_whole(own, lock)
        return own.folder / inside
    asked = _ID.fullmatch(name)
    if asked is None and own is not None:
        raise _no_such_file(own, inside)
    if asked is None:
        raise UsageError(f"{name!r} is no file, no folder and no name of a model.", hint=_SEE)
    repo, revision = asked["id"], asked["revision"] or ""
    for found in all_held() if "/" in repo else ():
        if found.repo == repo and found.revision.startswith(revision):
            _check_whole(found, lock)
            return found.folder
    cached = find_cached(repo, revision)
    if cached is not None:
        return cached
    if own is not None:
        raise _no_such_file(own, inside)
    raise _not_here(name, repo, revision, lock)


def _check_whole(found: Held, lock: Lock) -> None:
    """Sizes only: `erc models verify` reads every byte."""
    hint = f"Type: erc models pull {found.name}"
    altered = found.altered()
    if altered:
        raise UsageError(f"The model {found.name!r} is damaged: {', '.join(altered[:5])}.", hint=hint)
    current = lock.get(found.name)
    if current is not None and found.mark != current.mark:
        raise UsageError(f"The installed model {found.name!r} is not the version of the lock.", hint=hint)


_SEE = "Give a file or folder, or one of: erc models list"


def _no_such_file(found: Held, inside: str) -> UsageError:
    listed = ", ".join(file.path for file in found.files[:10])
    return UsageError(f"The model {found.name!r} has no file {inside!r}.", hint=f"Its files: {listed}")


def _not_here(name: str, repo: str, revision: str, lock: Lock) -> UsageError:
    first = repo.partition("/")[0]
    entry = next((m for m in lock.values() if m.repo == repo), None) or lock.get(first)
    if entry is not None and entry.revision.startswith(revision):
        return UsageError(
            f"The model {name!r} is not on this computer.", hint=f"Type: erc models pull {entry.name}"
        )
    if "/" in repo:
        at = f" --revision {revision}" if revision else ""
        return UsageError(
            f"{name!r} is no file or folder, no installed model, and not in {hub_cache()}.",
            hint=f"Type: hf download {repo}{at}",
        )
    return UsageError(f"There is no model called {name!r}.{nearest(name, lock)}", hint=_SEE)


def hub_cache() -> Path:
    """The Hugging Face cache, decided as their library does; it may not exist."""
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(key):
            return Path(os.environ[key]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "huggingface" / "hub"


def find_cached(repo: str, revision: str = "") -> Path | None:
    """The snapshot of a repo in the Hugging Face cache; without `revision`, that of `main`.

    `revision`: a commit or the beginning of one, a branch or a tag.
    """
    base = hub_cache() / f"models--{repo.replace('/', '--')}"
    ref = base / "refs" / (revision or "main")
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    snapshots = sorted(p for p in (base / "snapshots").glob("*") if p.is_dir())
    matching = [p for p in snapshots if p.name.startswith(commit)]
    return matching[0] if len(matching) == 1 and any(matching[0].iterdir()) else None


def cached_files(model: LockedModel, sha256: str, path: str) -> Iterator[Path]:
    """Where a file of that hash may lie in the Hugging Face cache; its hash is not checked here.

    Large files lie under their SHA-256, small ones under their name in the snapshot.
    """
    base = hub_cache()
    yield from sorted(base.glob(f"models--*/blobs/{sha256}"))
    if model.revision:  # by the commit: a repo may have been renamed (roberta-large, FacebookAI/…)
        found = base.glob(f"models--*/snapshots/{model.revision}")
        yield from (folder / path for folder in sorted(found) if (folder / path).is_file())


def _is_file(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False
