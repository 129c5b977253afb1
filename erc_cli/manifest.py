"""`manifest.jsonl` of a folder of results: a line per recording, what became of it and from what it was made.

While recordings are done, lines are appended, and of two lines of one name the later one holds; at the
begin and at the end of a run the file is written anew, sorted, with one line of each. A last line that
was torn off by a crash is no line.

JSON has no words for file names that are not UTF-8. In such a name every odd byte is shown as U+FFFD, and
`raw` holds the name itself, its bytes percent-encoded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write

MANIFEST = "manifest.jsonl"
SCHEMA = "erc.batch/1"
_HEAD = f'{{"schema": "{SCHEMA}"'
_NAMES = ("name", "path", "transcript", "outputs")
_SURROGATES = re.compile("[\ud800-\udfff]")

State = Literal["done", "failed", "skipped", "started"]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a result depends on besides its recording.

    `preset_sha256` is of the preset's file, `model_sha256` of the options and weights of all its parts
    and of their versions; `settings` are the options of the command line that change results.
    """

    preset: str
    preset_sha256: str
    model_sha256: str
    settings: Mapping[str, Any]
    erc: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `path` is the medium, or of text alone the transcript; `outputs` are relative to the folder.

    `state`: `done`, `failed`, `skipped` (on purpose), or `started`: it was under way when all ended.
    `reason`: why it was done, or skipped. `error`: `message`, `hint`, and of a defect its `traceback`.
    `media_stat`: bytes and time stamp (ns) of the medium when it was read. `uncertain`: how many of the
    `utterances` are labelled so, with `--min-confidence`.
    """

    name: str
    path: str
    state: State
    transcript: str | None = None
    reason: str = ""
    error: Mapping[str, str] | None = None
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0
    media_sha256: str | None = None
    media_stat: tuple[int, int] | None = None
    transcript_sha256: str | None = None
    utterances: int | None = None
    uncertain: int | None = None
    warnings: tuple[str, ...] = ()
    basis: Basis | None = None
    finished: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Ready for JSON, and for UTF-8; what the entry depends on stands beside the rest."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        basis, more = found.pop("basis"), found.pop("more")
        flat = {**found, **(asdict(basis) if basis is not None else {}), **more}
        odd = {key: _raw(flat[key]) for key in _NAMES if _odd(flat[key])}
        return {"schema": SCHEMA, **_clean(flat), **({"raw": odd} if odd else {})}


def entry_from(data: Mapping[str, Any]) -> Entry:
    """What `as_data` made.

    Raises:
        KeyError, TypeError: it is something else.
    """
    flat = {**data, **{key: _unraw(value) for key, value in data.get("raw", {}).items()}}
    given = {name: flat.pop(name) for name in [one.name for one in fields(Basis)] if name in flat}
    basis = Basis(**given) if len(given) == len(fields(Basis)) else None
    known = {one.name for one in fields(Entry)} - {"basis", "more"}
    own = {key: value for key, value in flat.items() if key in known}
    for key in ("outputs", "warnings"):
        own[key] = tuple(own.get(key, ()))
    stat = own.get("media_stat")
    own["media_stat"] = None if stat is None else (int(stat[0]), int(stat[1]))
    more = {key: value for key, value in flat.items() if key not in known and key not in ("schema", "raw")}
    return Entry(**own, basis=basis, more=more)


def _odd(value: str | Iterable[str] | None) -> bool:
    """Whether a name, or one of several, is not UTF-8."""
    return bool(_SURROGATES.search(value if isinstance(value, str) else "".join(value or ())))


def _raw(value: str | Iterable[str]) -> Any:
    if isinstance(value, str):
        return quote_from_bytes(os.fsencode(value), safe="/ ")
    return [_raw(one) for one in value]


def _unraw(value: Any) -> Any:
    if isinstance(value, str):
        return os.fsdecode(unquote_to_bytes(value))
    return tuple(_unraw(one) for one in value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value


def line_of(entry: Entry) -> str:
    """The entry on one line, without the line's end."""
    return json.dumps(entry.as_data(), ensure_ascii=False, allow_nan=False)


def is_manifest(path: Path) -> bool:
    """Whether the file is there and begins like a manifest."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_HEAD)) == _HEAD.encode()
    except OSError:
        return False


def read_manifest(path: Path) -> tuple[dict[str, Entry], int]:
    """The entries by name, and how many lines could not be read; none of both where there is no file.

    Raises:
        UsageError: the file is something else.
        ErcError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file.", hint="Name another folder for results: -o DIR")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise ErcError(
            f"{path} cannot be read: {error.strerror}.", hint="Name another folder: -o DIR"
        ) from None
    entries: dict[str, Entry] = {}
    torn = 0
    for line in filter(None, content.split(b"\n")):
        entry = _entry_of(line)
        if entry is not None:
            entries[entry.name] = entry
        elif _torn(line):
            torn += 1
        else:
            raise UsageError(
                f"{path} is not of erc; it is kept as it is.", hint="Name another folder for results: -o DIR"
            )
    return entries, torn


def _entry_of(line: bytes) -> Entry | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        return None
    try:
        return entry_from(data)
    except (KeyError, TypeError, ValueError):
        return None


def _torn(line: bytes) -> bool:
    """Whether a line is the begin of one of ours, or zeros that a power cut left."""
    head = _HEAD.encode()
    return line[: len(head)] == head[: len(line)] or not line.strip(b"\0")


class Journal:
    """The manifest while a run is going on.

    Raises (all methods):
        ErcError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        self.entries, self.torn = read_manifest(self._path)

    @property
    def whole(self) -> bool:
        """Whether a line can be appended."""
        if not self._path.is_file() or not self._path.stat().st_size:
            return True
        with self._path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"

    def rewrite(self) -> None:
        """One line of each entry, sorted by name; whole or not at all."""
        lines = [line_of(self.entries[name]) for name in sorted(self.entries)]
        with atomic_write(self._path, force=True) as draft:
            draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")

    def add(self, entry: Entry) -> None:
        """Append a line; it is on the disk when this returns."""
        self.entries[entry.name] = entry
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as stream:
                stream.write(line_of(entry) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ErcError(
                f"{self._path} could not be written: {error.strerror}.",
                hint="Make room on the disk, and type the same command again: what is done is kept.",
            ) from error
