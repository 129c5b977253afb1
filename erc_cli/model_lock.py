"""The lock file of models: which files a model has, from where, how large, with which SHA-256.

Docs: docs/weights.md. A user's own lock (`--lock FILE` or `$ERC_LOCK`) adds to the project's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from erc_cli.errors import UsageError, nearest

SCHEMA = "erc.models/1"
LOCK = Path(__file__).with_name("models.lock.yaml")
OWN = "ERC_LOCK"
_HUB = "https://huggingface.co"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_MODEL_KEYS = {"summary", "licence", "non_commercial", "home", "repo", "revision", "files"}
_FILE_KEYS = {"path", "url", "file", "size", "sha256", "convert", "key", "unpack"}
_EXAMPLE = "How a lock is written: docs/weights.md"
#: 8 TB: a size beyond is a typing error
_LARGEST = 8 * 10**12


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file to fetch.

    `path`: where it ends up in the model's folder ("" for an archive that is unpacked there).
    `url`: its address; for a Hugging Face repo, made of repo, revision and `file`.
    `convert`: a PyTorch checkpoint that becomes safetensors at `path`; `key` is where in it the
    tensors are. `unpack`: an archive whose files are installed instead of itself.
    """

    path: str
    url: str
    size: int
    sha256: str
    convert: bool = False
    key: str = ""
    unpack: bool = False

    @property
    def name(self) -> str:
        """The file's name at its source."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One entry of a lock. `repo` and `revision` are set for a Hugging Face model."""

    name: str
    summary: str
    licence: str
    files: tuple[LockedFile, ...]
    non_commercial: bool = False
    home: str = ""
    repo: str = ""
    revision: str = ""

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.files)

    @property
    def terms(self) -> str:
        """The licence as it is shown, with the mark that nobody may overlook."""
        return f"{self.licence} [non-commercial]" if self.non_commercial else self.licence

    @property
    def mark(self) -> str:
        """A hash of what is installed under the name: another mark is another version."""
        parts = [[f.path, f.sha256, f.convert, f.key, f.unpack] for f in self.files]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


Lock = Mapping[str, LockedModel]


def load_lock(own: Path | None = None) -> Lock:
    """The models of the project's lock and of a lock of one's own (`own`, else `$ERC_LOCK`) by name.

    A name in both is the own one.

    Raises:
        UsageError: a lock cannot be read; all that is wrong with it is named.
    """
    path = own or (Path(os.environ[OWN]).expanduser() if os.environ.get(OWN) else None)
    models = read_lock(LOCK)
    return {**models, **read_lock(path)} if path is not None else models


def get_model(lock: Lock, name: str) -> LockedModel:
    """The entry called `name`, or of the Hugging Face repo of that id; UsageError when there is none."""
    found = lock.get(name) or next((m for m in lock.values() if m.repo and m.repo == name), None)
    if found is None:
        raise UsageError(
            f"The lock has no model called {name!r}.{nearest(name, lock)}",
            hint="See: erc models list. Another model is described in a lock of your own (--lock FILE).",
        )
    return found


def read_lock(path: Path) -> dict[str, LockedModel]:
    """The models of one lock file, in its order; UsageError as for `load_lock`."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The lock {path} cannot be read: {error.strerror}.", hint=_EXAMPLE) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"The lock {path} is not plain YAML: {said}", hint=_EXAMPLE) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or not isinstance(raw.get("models"), dict):
        raise UsageError(f"{path} is no lock of models: it needs schema: {SCHEMA} and models.", hint=_EXAMPLE)
    reader = _Reader(path, [])
    models = [reader.model(str(name), entry) for name, entry in raw["models"].items()]
    if reader.wrong:
        raise UsageError(f"The lock {path} is not right:\n  " + "\n  ".join(reader.wrong), hint=_EXAMPLE)
    return {model.name: model for model in models}


def safe_path(text: str) -> bool:
    """Whether it names a file inside a folder on every system: relative, no `..`, no drive, no odd name."""
    parts = text.split("/")
    return (
        0 < len(text) < 400
        and not set(text) & set('\\:*?"<>|')
        and text.isprintable()
        and all(part not in ("", ".", "..") and not part.endswith((" ", ".")) for part in parts)
    )


def hub_url(repo: str, revision: str, file: str) -> str:
    """The address of a file on the Hugging Face hub, or its mirror `$HF_ENDPOINT`."""
    base = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
    return f"{base}/{quote(repo)}/resolve/{quote(revision)}/{quote(file)}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes records of what YAML gives; what is wrong is noted and something harmless taken."""

    path: Path
    wrong: list[str]

    def model(self, name: str, raw: Any) -> LockedModel:
        table = raw if isinstance(raw, dict) else {}
        self._check(bool(_NAME.fullmatch(name)), name, "a name has small letters, digits, . _ and - only")
        self._check(isinstance(raw, dict), name, "expected summary, licence and files")
        self._known(table, _MODEL_KEYS, name)
        repo, revision = self._text(table, "repo", name), self._text(table, "revision", name)
        self._check(not repo or bool(_REPO.fullmatch(repo)), name, "repo: expected org/name")
        pinned = bool(_REVISION.fullmatch(revision))
        self._check(not repo or pinned, name, "revision: expected a commit of 40 hexadecimal digits")
        files = table.get("files")
        self._check(isinstance(files, list) and bool(files), name, "files: expected a list of files")
        entries = files if isinstance(files, list) else []
        made = [self._file(one, f"{name}, file {i}", repo, revision) for i, one in enumerate(entries, 1)]
        paths = [file.path.lower() for file in made if file.path]
        self._check(len(set(paths)) == len(paths), name, "two files have the same path")
        return LockedModel(
            name=name,
            summary=self._text(table, "summary", name, needed=True),
            licence=self._text(table, "licence", name, needed=True),
            files=tuple(made),
            non_commercial=self._flag(table, "non_commercial", name),
            home=self._text(table, "home", name) or (f"{_HUB}/{repo}" if repo else ""),
            repo=repo,
            revision=revision,
        )

    def _file(self, raw: Any, where: str, repo: str, revision: str) -> LockedFile:
        table = raw if isinstance(raw, dict) else {}
        self._known(table, _FILE_KEYS, where)
        unpack, convert = self._flag(table, "unpack", where), self._flag(table, "convert", where)
        path, file = self._text(table, "path", where), self._text(table, "file", where)
        url, sha256 = self._text(table, "url", where), self._text(table, "sha256", where)
        if repo and not url:
            source = file or path
            self._check(safe_path(source), where, "expected path or file, as in the repo")
            url = hub_url(repo, revision, source)
        self._check(
            urlsplit(url).scheme in ("https", "http") and bool(urlsplit(url).netloc), where, "url: https://…"
        )
        path = "" if unpack else path or PurePosixPath(urlsplit(url).path).name
        self._check(unpack or safe_path(path), where, f"path: {path!r} is not safe")
        ending = path.endswith(".safetensors")
        self._check(not convert or ending, where, "path: what is converted ends in .safetensors")
        self._check(not (convert and unpack), where, "convert and unpack exclude each other")
        self._check(bool(_SHA256.fullmatch(sha256)), where, "sha256: expected 64 hexadecimal digits")
        size = table.get("size")
        sound = type(size) is int and 0 < size < _LARGEST
        self._check(sound, where, "size: expected the number of bytes")
        return LockedFile(
            path=path,
            url=url,
            size=size if type(size) is int else 0,
            sha256=sha256,
            convert=convert,
            key=self._text(table, "key", where),
            unpack=unpack,
        )

    def _check(self, fine: bool, where: str, said: str) -> None:
        if not fine:
            self.wrong.append(f"{where}: {said}")

    def _known(self, table: Mapping[Any, Any], known: set[str], where: str) -> None:
        for key in table:
            self._check(key in known, where, f"unknown key {key!r}.{nearest(str(key), known)}")

    def _text(self, table: Mapping[Any, Any], key: str, where: str, *, needed: bool = False) -> str:
        value = table.get(key, "")
        self._check(isinstance(value, str) and bool(value or not needed), where, f"{key}: expected a text")
        return " ".join(value.split()) if isinstance(value, str) else ""

    def _flag(self, table: Mapping[Any, Any], key: str, where: str) -> bool:
        value = table.get(key, False)
        self._check(isinstance(value, bool), where, f"{key}: expected true or false")
        return value is True
