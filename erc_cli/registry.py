"""Entry points -> specs by kind and name: who owns them, what is missing, what is broken."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, TypeVar, cast

import pluggy

from erc_cli import hookspecs
from erc_cli.errors import ErcError, UsageError, nearest, reason
from erc_cli.specs import (
    DatasetSpec,
    ExtractorSpec,
    FusionSpec,
    PresetSpec,
    ReaderSpec,
    Spec,
    TranscriberSpec,
    WriterSpec,
)

GROUP = hookspecs.PROJECT
DISABLE = "ERC_DISABLE_PLUGINS"

#: hook -> (kind, type of its records)
_HOOKS: Mapping[str, tuple[str, type[Any]]] = {
    "erc_extractors": ("extractor", ExtractorSpec),
    "erc_fusions": ("fusion", FusionSpec),
    "erc_datasets": ("dataset", DatasetSpec),
    "erc_readers": ("reader", ReaderSpec),
    "erc_transcribers": ("transcriber", TranscriberSpec),
    "erc_writers": ("writer", WriterSpec),
    "erc_presets": ("preset", PresetSpec),
}
KINDS: tuple[str, ...] = tuple(kind for kind, _ in _HOOKS.values())

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who brings a plugin: the distribution and its version, and the name it is registered by."""

    package: str
    version: str = ""
    plugin: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Entry:
    """A spec that a plugin registered."""

    kind: str
    spec: Spec
    owner: Owner


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that could not be used, and why."""

    owner: Owner
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `erc plugins list`. `state` is `ok` or starts with missing, broken or clash."""

    name: str
    kind: str
    modality: str
    package: str
    version: str
    summary: str
    state: str
    licence: str


@dataclass(frozen=True, slots=True)
class Registry:
    """What the installed plugins offer; a frozen view, made by `load_registry` or `Registry.of`."""

    entries: tuple[Entry, ...] = ()
    broken: tuple[Broken, ...] = ()

    @classmethod
    def of(cls, *plugins: object, package: str = "local") -> Registry:
        """A registry of modules or objects with hooks, for tests and notebooks."""
        return _collect(
            (Owner(package, "", _plugin_name(plugin)), partial(_same, plugin)) for plugin in plugins
        )

    def extractor(self, name: str) -> ExtractorSpec:
        """The extractor called `name`; UsageError with the nearest name when there is none."""
        return self._get("extractor", name, ExtractorSpec)

    def fusion(self, name: str) -> FusionSpec:
        """The fusion called `name`; UsageError with the nearest name when there is none."""
        return self._get("fusion", name, FusionSpec)

    def dataset(self, name: str) -> DatasetSpec:
        """The data set called `name`; UsageError with the nearest name when there is none."""
        return self._get("dataset", name, DatasetSpec)

    def reader(self, name: str) -> ReaderSpec:
        """The transcript reader called `name`; UsageError with the nearest name when there is none."""
        return self._get("reader", name, ReaderSpec)

    def transcriber(self, name: str) -> TranscriberSpec:
        """The transcriber called `name`; UsageError with the nearest name when there is none."""
        return self._get("transcriber", name, TranscriberSpec)

    def writer(self, name: str) -> WriterSpec:
        """The result writer called `name`; UsageError with the nearest name when there is none."""
        return self._get("writer", name, WriterSpec)

    def preset(self, name: str) -> PresetSpec:
        """The preset that a plugin brings under `name` (built-in ones: `erc_cli.preset`)."""
        return self._get("preset", name, PresetSpec)

    @property
    def readers(self) -> Mapping[str, ReaderSpec]:
        """Readers by name, without the names that two plugins claim."""
        return self._unclaimed("reader", ReaderSpec)

    @property
    def writers(self) -> Mapping[str, WriterSpec]:
        """Writers by name, without the names that two plugins claim."""
        return self._unclaimed("writer", WriterSpec)

    @property
    def presets(self) -> tuple[Entry, ...]:
        """Presets that plugins bring."""
        return tuple(e for e in self.entries if e.kind == "preset")

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of that kind, sorted, each once."""
        return tuple(sorted({e.spec.name for e in self.entries if e.kind == kind}))

    def find(self, name: str) -> tuple[Entry, ...]:
        """Every entry of any kind called `name`; may be empty."""
        return tuple(e for e in self.entries if e.spec.name == name)

    def owner(self, spec: Spec) -> Owner:
        """Who registered this spec."""
        return next((e.owner for e in self.entries if e.spec is spec), Owner("unknown"))

    def missing(self, spec: Spec) -> tuple[str, ...]:
        """The importable libraries that `spec` needs and that are not installed."""
        needs = () if isinstance(spec, PresetSpec) else spec.needs
        return tuple(need for need in needs if find_spec(need.partition(".")[0]) is None)

    def require(self, spec: Spec) -> None:
        """Raise ErcError with the pip command when a library that `spec` needs is missing."""
        missing = self.missing(spec)
        if missing:
            without = f", or leave it out: --drop {spec.modality}" if isinstance(spec, ExtractorSpec) else ""
            raise ErcError(
                f"{spec.name!r} needs {listed(missing)}, which {'is' if len(missing) == 1 else 'are'} "
                "not installed.",
                hint=f"Type: {pip_command(spec, missing)}{without}",
            )

    def state(self, entry: Entry) -> str:
        """`ok`, `clash: …` or `missing: …` with the pip command."""
        rivals = [e.owner for e in self._claims(entry.kind, entry.spec.name) if e is not entry]
        if rivals:
            return f"clash: also from {listed(map(str, rivals))}"
        missing = self.missing(entry.spec)
        if missing:
            return f"missing: {', '.join(missing)} ({pip_command(entry.spec, missing)})"
        return "ok"

    def rows(self) -> list[Row]:
        """One row per spec, by kind and name; plugins that do not load come last."""
        ordered = sorted(self.entries, key=lambda e: (KINDS.index(e.kind), e.spec.name, str(e.owner)))
        rows = [_row(entry, self.state(entry)) for entry in ordered]
        for bad in sorted(self.broken, key=lambda b: b.owner.plugin):
            owner = bad.owner
            state = f"broken: {bad.reason}"
            rows.append(Row(owner.plugin, "plugin", "", owner.package, owner.version, "", state, ""))
        return rows

    def _claims(self, kind: str, name: str) -> tuple[Entry, ...]:
        return tuple(e for e in self.entries if e.kind == kind and e.spec.name == name)

    def _unclaimed(self, kind: str, cls: type[S]) -> Mapping[str, S]:
        names = self.names(kind)
        found = {name: self._claims(kind, name) for name in names}
        return MappingProxyType({n: cast("S", e[0].spec) for n, e in found.items() if len(e) == 1})

    def _get(self, kind: str, name: str, cls: type[S]) -> S:
        claims = self._claims(kind, name)
        if not claims:
            raise UsageError(self._unknown(kind, name), hint=self._where_else(kind, name))
        if len(claims) > 1:
            raise UsageError(
                f"Two plugins claim the {kind} {name!r}: {listed(str(e.owner) for e in claims)}.",
                hint=f"Switch one off: {DISABLE}={claims[-1].owner.package}",
            )
        spec = claims[0].spec
        if not isinstance(spec, cls):  # the hook's records were checked when they were collected
            raise TypeError(f"{kind} {name!r} is a {type(spec).__name__}")
        return spec

    def _unknown(self, kind: str, name: str) -> str:
        return f"There is no {kind} called {name!r}.{nearest(name, self.names(kind))}"

    def _where_else(self, kind: str, name: str) -> str:
        other = next((e.kind for e in self.entries if e.spec.name == name), None)
        if other is not None:
            return f"{name!r} is a {other}. See: erc plugins list --kind {kind}"
        if self.broken:
            names = listed(f"{b.owner.plugin} ({b.reason})" for b in self.broken)
            return f"Not loaded: {names}. See: erc plugins list"
        return f"See: erc plugins list --kind {kind}"


def load_registry(group: str = GROUP) -> Registry:
    """The plugins installed under an entry-point group; imports their front pages only.

    `ERC_DISABLE_PLUGINS=a,b` skips plugins by entry point, import name or distribution.
    """
    off = {_plain(word) for word in os.environ.get(DISABLE, "").split(",") if word.strip()}
    found = []
    named = cache(_package)  # one distribution may have many entry points
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        owner = _owner(point, named)
        if not off & {_plain(point.name), _plain(point.module), _plain(owner.package)}:
            found.append((owner, point.load))
    return _collect(found)


def pip_command(spec: Spec, missing: Sequence[str] = ()) -> str:
    """What to type to get the libraries that `spec` needs."""
    extra = None if isinstance(spec, PresetSpec) else spec.extra
    return f"pip install 'erc-cli[{extra}]'" if extra else f"pip install {' '.join(missing)}"


def _collect(sources: Iterable[tuple[Owner, Callable[[], object]]]) -> Registry:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    owners: dict[str, Owner] = {}
    broken: list[Broken] = []
    for owner, load in sources:
        reason = _register(manager, owners, owner, load)
        if reason is not None:
            broken.append(Broken(owner, reason))
    broken += _mistyped_hooks(manager, owners)
    entries, failed = _call_hooks(manager, owners)
    return Registry(tuple(entries), tuple(broken + failed))


def _register(
    manager: pluggy.PluginManager, owners: dict[str, Owner], owner: Owner, load: Callable[[], object]
) -> str | None:
    """Register one plugin; the reason when that is not possible."""
    try:
        plugin = load()
    except Exception as error:  # noqa: BLE001 - the plugin border: a stranger's import may raise anything
        return reason(error)
    if manager.is_registered(plugin):
        return None
    key = f"{owner.plugin}#{len(owners)}"  # two distributions may use one entry-point name
    try:
        manager.register(plugin, key)
    except (pluggy.PluginValidationError, ValueError) as error:
        manager.unregister(plugin)
        return reason(error)
    owners[key] = owner
    return None


def _mistyped_hooks(manager: pluggy.PluginManager, owners: Mapping[str, Owner]) -> Iterator[Broken]:
    """Unregister plugins with hooks that nobody calls, and say which."""
    while True:
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            plugin = error.plugin
        else:
            return
        unknown = [h.name for h in manager.get_hookcallers(plugin) or [] if not h.has_spec()]
        key = manager.get_name(plugin) or ""
        manager.unregister(plugin)
        said = "; ".join(f"there is no hook {name!r}.{nearest(name, _HOOKS)}" for name in unknown)
        yield Broken(owners[key], said)


def _call_hooks(
    manager: pluggy.PluginManager, owners: Mapping[str, Owner]
) -> tuple[list[Entry], list[Broken]]:
    """Each plugin's hooks are called by themselves, so that one failure costs one plugin."""
    entries: list[Entry] = []
    failed: list[Broken] = []
    for hook, (kind, cls) in _HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            owner = owners[implementation.plugin_name]
            try:
                specs = tuple(implementation.function())
            except Exception as error:  # noqa: BLE001 - the plugin border, as above
                failed.append(Broken(owner, f"{hook}: {reason(error)}"))
                continue
            wrong = next((s for s in specs if not isinstance(s, cls)), None)
            if wrong is not None:
                said = f"{hook} returned {type(wrong).__name__}, expected {cls.__name__}"
                failed.append(Broken(owner, said))
                continue
            entries += [Entry(kind, spec, owner) for spec in specs]
    return entries, failed


def _owner(point: EntryPoint, named: Callable[[Distribution], tuple[str, str]]) -> Owner:
    if point.dist is None:
        return Owner(point.module.partition(".")[0], "", point.name)
    return Owner(*named(point.dist), point.name)


def _package(dist: Distribution) -> tuple[str, str]:
    """Name and version, from one parse of the metadata, which holds the whole README."""
    about = dist.metadata
    return about["Name"], about["Version"]


def _row(entry: Entry, state: str) -> Row:
    spec, owner = entry.spec, entry.owner
    modality = str(spec.modality) if isinstance(spec, ExtractorSpec) else ""
    licensed = ExtractorSpec | FusionSpec | DatasetSpec | TranscriberSpec
    licence = spec.licence if isinstance(spec, licensed) else ""
    summary = str(spec.path) if isinstance(spec, PresetSpec) else spec.summary
    return Row(spec.name, entry.kind, modality, owner.package, owner.version, summary, state, licence)


def _same(plugin: object) -> object:
    return plugin


def _plugin_name(plugin: object) -> str:
    return str(getattr(plugin, "__name__", type(plugin).__name__))


def _plain(word: str) -> str:
    return re.sub(r"[-_.]+", "-", word.strip().lower())


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
