"""The feature store: what was encoded once is found again by its content, not by its name.

A file of the store holds one extractor's rows for one medium, or for one conversation's words. Its
name is a hash of everything that the rows depend on: the medium's bytes, the spans, the plugin, its
version and the options that matter (files by their content).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erc_cli import options
from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write, cache_folder, read_json
from erc_cli.types import Modality

if TYPE_CHECKING:
    from erc_cli.feature_file import FeatureFile
    from erc_cli.preset import Preset, Use
    from erc_cli.registry import Registry
    from erc_cli.specs import ExtractorSpec

Span = tuple[float, float | None]
STORE = "store"
_MEMO = "media.json"
_NAME = re.compile(r"[0-9a-f]{40}\.safetensors")
_DRAFT = re.compile(r"\.[0-9a-z]+\.[0-9a-f]{8}\.(?:safetensors|json)")
#: a file changed just now may change again within the same time stamp
_SETTLED = 2.0
_SAVE_EVERY = 15.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What rows depend on besides the medium; `options` is JSON text.

    `use` and `given` build the extractor.
    """

    modality: Modality
    use: Use
    version: str
    options: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.use.name


def recipe_of(modality: Modality, use: Use, registry: Registry, **given: Any) -> Recipe:
    """The recipe of one extractor of a preset; `given` is what its `build` gets from erc.

    Raises:
        UsageError: an option does not fit.
    """
    spec = registry.extractor(use.name)
    return Recipe(modality, use, registry.owner(spec).version, _canonical(spec, use), given)


def _canonical(spec: ExtractorSpec, use: Use) -> str:
    """The options that `encode` may read, defaults included, as JSON text."""
    bound, wrong = options.bind(spec.build, use.options, use.folder)
    if wrong:
        said = "; ".join(f"{c.option}: {c.message}" for c in wrong)
        raise UsageError(
            f"The options of {use.name!r} do not fit: {said}.", hint=f"See: erc plugins show {use.name}"
        )
    defaults = {name: o.default for name, o in options.schema(spec.build).items() if not o.required}
    merged = {name: _as_data(value) for name, value in {**defaults, **bound}.items() if name not in spec.late}
    return json.dumps(merged, sort_keys=True, default=str)


def _as_data(value: Any) -> Any:
    """A value for JSON; files and folders by their content."""
    if isinstance(value, Path):
        files = sorted(p for p in value.rglob("*") if p.is_file()) if value.is_dir() else [value]
        digest = hashlib.sha256()
        for file in files:
            digest.update(sha256_of(file).encode())
        return {"file": value.name, "sha256": digest.hexdigest()}
    if isinstance(value, Mapping):
        return {str(key): _as_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_as_data(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    return value


def refuse_bound_to_data(preset: Preset, registry: Registry) -> None:
    """For commands that work on a recording.

    Raises:
        UsageError: a branch of the preset has features for a data set's utterances only.
    """
    for modality, use in preset.extractors.items():
        if registry.extractor(use.name).bound_to_data:
            raise UsageError(
                f"The {modality} branch of preset {preset.name!r} takes imported features ({use.name}): "
                "there are none for a new recording.",
                hint=f"Leave it out with --drop {modality}, or use the preset with --data: erc evaluate",
            )


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes; OSError when it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- the store -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """`content` is the SHA-256 of the medium, or of a conversation's words (without spans)."""

    content: str
    spans: tuple[Span, ...]
    plugin: str
    version: str
    options: str

    @property
    def name(self) -> str:
        """40 hexadecimal digits."""
        parts = [self.content, self.spans, self.plugin, self.version, self.options]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def key_of(recipe: Recipe, content: str, spans: tuple[Span, ...]) -> Key:
    """The key of one recipe's rows for one medium."""
    return Key(content, spans, recipe.name, recipe.version, recipe.options)


@dataclass(frozen=True, slots=True)
class Held:
    """A file of the store as `verify` and `info` see it: `damage` is what is wrong with it, if anything."""

    path: Path
    size: int
    plugin: str = ""
    version: str = ""
    rows: int = 0
    damage: str = ""


def default_store() -> Store:
    """The store in the cache folder."""
    return Store(cache_folder() / "features")


def open_store(folder: Path | None) -> Store:
    """The store of a features folder (what `erc extract -o` wrote), or the default one."""
    return default_store() if folder is None else Store(folder / STORE)


class Store:
    """Feature files by key under a folder, which is made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._memo: dict[str, list[Any]] | None = None
        self._saved = time.monotonic()
        self._unsaved = False

    def path(self, key: Key) -> Path:
        """Where the rows of `key` are, or would be."""
        return self.folder / key.name[:2] / f"{key.name}.safetensors"

    def get(self, key: Key) -> FeatureFile | None:
        """The rows of `key`, None where there are none.

        Raises:
            DamagedError: the file is there, but damaged.
        """
        from erc_cli.feature_file import read_features

        path = self.path(key)
        return read_features(path, sealed=True) if path.is_file() else None

    def put(self, key: Key, file: FeatureFile) -> None:
        """Keep rows, whole or not at all.

        Raises:
            ErcError: they cannot be written; what is kept already stays.
        """
        from erc_cli.feature_file import write_features

        path = self.path(key)
        self._make(path.parent)
        write_features(path, file)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ErcError(
                f"{folder} cannot be made: {error.strerror}.", hint="Make room, or name another place."
            ) from None

    def known_hash(self, path: Path) -> str | None:
        """The medium's hash if it was remembered and the file is the same by size and time."""
        stamp = _stamp(path)
        found = self._hashes().get(str(path.absolute()))
        return str(found[0]) if found and stamp and found[1:] == stamp else None

    def remember_hash(self, path: Path, sha256: str) -> None:
        """Remember a medium's hash; written now and then, and by `save`."""
        stamp = _stamp(path)
        if stamp is None or time.time() - stamp[1] / 1e9 < _SETTLED:
            return
        self._hashes()[str(path.absolute())] = [sha256, *stamp]
        self._unsaved = True
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the remembered hashes."""
        if not self._unsaved:
            return
        self._make(self.folder)
        with atomic_write(self.folder / _MEMO, force=True) as draft:
            draft.write_text(json.dumps(self._hashes(), sort_keys=True), encoding="utf-8")
        self._unsaved, self._saved = False, time.monotonic()

    def _hashes(self) -> dict[str, list[Any]]:
        if self._memo is None:
            self._memo = {}
            path = self.folder / _MEMO
            if path.is_file():
                try:
                    self._memo = {k: v for k, v in read_json(path).items() if isinstance(v, list)}
                except ErcError:
                    self._unsaved = True  # only a memory: hashing again makes it anew
        return self._memo

    def held(self) -> Iterator[Held]:
        """Every file of the store, read and checked."""
        from erc_cli.feature_file import DamagedError, read_features

        for path in self.files():
            size = path.stat().st_size
            try:
                file = read_features(path, sealed=True)
            except DamagedError as error:
                yield Held(path, size, damage=error.reason)
                continue
            damage = "" if _named_right(path, file) else "it stands under another content's name"
            yield Held(path, size, file.plugin, file.version, len(file.utterances), damage)

    def files(self) -> list[Path]:
        """Paths of all feature files, sorted."""
        return sorted(p for p in self.folder.glob("??/*.safetensors") if _NAME.fullmatch(p.name))

    def drafts(self) -> list[Path]:
        """What a killed process left half-written; never read as features."""
        return sorted(
            p for pattern in (".*", "??/.*") for p in self.folder.glob(pattern) if _DRAFT.fullmatch(p.name)
        )

    def clear(self) -> int:
        """Remove everything that is the store's own; returns how many feature files that were.

        Raises:
            ErcError: a file cannot be removed.
        """
        files = self.files()
        for path in [*files, *self.drafts(), self.folder / _MEMO]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ErcError(
                    f"{path} cannot be removed: {error.strerror}.", hint="Remove it by hand."
                ) from None
        for folder in {path.parent for path in files}:
            if not os.listdir(folder):  # noqa: PTH208 - only whether there is anything
                folder.rmdir()
        self._memo, self._unsaved = None, False
        return len(files)


def _named_right(path: Path, file: FeatureFile) -> bool:
    spans = tuple(
        (float(a), None if b is None else float(b)) for a, b in json.loads(file.more.get("spans", "[]"))
    )
    content = file.media_sha256 or file.more.get("words_sha256", "")
    return Key(content, spans, file.plugin, file.version, file.options).name == path.stem


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
