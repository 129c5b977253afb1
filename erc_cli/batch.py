"""Which recordings of a folder have to be done, and why: what is missing, and what has changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from erc_cli import __version__, options
from erc_cli.batch_find import COMMON, Task
from erc_cli.errors import UsageError
from erc_cli.features import sha256_of
from erc_cli.manifest import Basis, Entry
from erc_cli.pairing import SPELT, WORDLESS, endings_of
from erc_cli.prediction import Chosen, Inputs
from erc_cli.preset import Use
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec, FusionSpec, WriterSpec

SETTLED = 2_000_000_000  # ns: a file that was changed just before it was read may have changed again
FORCED = "--force"


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to be done, with all that another process needs. `outputs`: path, format."""

    name: str
    inputs: Inputs
    outputs: tuple[tuple[Path, str], ...]
    reason: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the results, and their formats: name -> ending."""

    folder: Path
    formats: Mapping[str, str]

    def outputs(self, name: str) -> tuple[str, ...]:
        """Results of the recording `name`, relative to the folder."""
        return tuple(str(PurePosixPath(name).with_suffix(ending)) for ending in self.formats.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """`jobs` to do; `entries` of what needs no work (left out, or hopeless); `unchanged` ones."""

    jobs: tuple[Job, ...]
    entries: tuple[Entry, ...]
    unchanged: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many recordings will be done or fail."""
        return len(self.jobs) + sum(entry.state == "failed" for entry in self.entries)


# --- what results depend on ----------------------------------------------------------------


def basis_of(chosen: Chosen, registry: Registry, settings: Mapping[str, Any]) -> Basis:
    """What all results of a run have in common.

    Raises:
        UsageError: an option of a plugin does not fit.
    """
    preset = chosen.preset
    specs = [(registry.extractor(use.name), use) for use in preset.extractors.values()]
    parts: list[Any] = [_part(spec, use, registry) for spec, use in specs]
    parts.append(_part(registry.fusion(preset.fusion.name), preset.fusion, registry))
    digest = hashlib.sha256(json.dumps([parts, preset.labels], sort_keys=True, default=str).encode())
    changed = {
        "set": list(chosen.wanted.settings),
        "without": sorted(chosen.dropped),
        "precision": chosen.wanted.precision,
        "min_confidence": chosen.wanted.min_confidence,
    }
    return Basis(
        preset=preset.name,
        preset_sha256=sha256_of(preset.path),
        model_sha256=digest.hexdigest(),
        settings={key: value for key, value in {**changed, **settings}.items() if value},
        erc=__version__,
    )


def _part(spec: ExtractorSpec | FusionSpec, use: Use, registry: Registry) -> list[Any]:
    """A plugin, its version and its options, files by their content."""
    bound, wrong = options.bind(spec.build, use.options, use.folder)
    if wrong:
        said = "; ".join(f"{one.option}: {one.message}" for one in wrong)
        raise UsageError(f"The options of {use.name!r} do not fit: {said}.", hint="Type: erc presets check")
    return [spec.name, registry.owner(spec).version, {key: _content(value) for key, value in bound.items()}]


def _content(value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    files = sorted(path for path in value.rglob("*") if path.is_file()) if value.is_dir() else [value]
    return [[path.name, sha256_of(path)] for path in files]


# --- what has to be done -------------------------------------------------------------------


def make_plan(
    tasks: Sequence[Task],
    known: Mapping[str, Entry],
    place: Place,
    basis: Basis,
    inputs_of: Callable[[Task], Inputs],
    *,
    force: bool,
    made: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Compare what is there with what was done; `made`: settings of transcripts that are made."""
    jobs: list[Job] = []
    entries: list[Entry] = []
    unchanged: list[str] = []
    for task in tasks:
        entry = known.get(task.name)
        error = task.error
        own = basis if task.transcript else replace(basis, settings={**basis.settings, **made})
        reason = "" if error or task.left_out else why(task, entry, place, own, force=force)
        if reason and not force:
            error = _in_the_way(task, entry, place)
        if task.left_out or error is not None:
            entries.append(_hopeless(task, entry, error))
        elif reason:
            outputs = tuple(
                (place.folder / path, format)
                for path, format in zip(place.outputs(task.name), place.formats, strict=True)
            )
            jobs.append(Job(task.name, inputs_of(task), outputs, reason, own))
        else:
            unchanged.append(task.name)
    return Plan(tuple(jobs), tuple(entries), tuple(unchanged))


def _hopeless(task: Task, entry: Entry | None, error: tuple[str, str] | None) -> Entry:
    """What is left out, or fails without being tried; results of an earlier run stay."""
    return Entry(
        name=task.name,
        path=str(task.path),
        state="failed" if error else "skipped",
        transcript=None if task.transcript is None else str(task.transcript),
        reason=task.left_out,
        error={"message": error[0], "hint": error[1]} if error else None,
        outputs=entry.outputs if entry is not None else (),
    )


def why(task: Task, entry: Entry | None, place: Place, basis: Basis, *, force: bool) -> str:
    """Why a recording has to be done (again); nothing if its results are as they should be."""
    if force:
        return FORCED
    if entry is None:
        return "new"
    again = {"failed": "failed last time", "started": "was cut off", "skipped": "was left out"}
    if entry.state != "done" or entry.basis is None:
        return again.get(entry.state, "new")
    wanted = place.outputs(task.name)
    lost = [path for path in wanted if path not in entry.outputs or not (place.folder / path).is_file()]
    if lost:
        return f"there is no {', '.join(lost)}"
    return _other_basis(entry.basis, basis) or _other_files(task, entry)


def _other_basis(before: Basis, now: Basis) -> str:
    if before.erc != now.erc:
        return f"done by erc {before.erc}, this is {now.erc}"
    if before.preset != now.preset:
        return f"another preset: {before.preset} before"
    if before.settings != now.settings:
        keys = sorted({*before.settings, *now.settings})
        other = [key for key in keys if before.settings.get(key) != now.settings.get(key)]
        return f"other settings ({', '.join(other)})"
    same = all(getattr(before, one.name) == getattr(now, one.name) for one in fields(Basis))
    return "" if same else "the preset has changed"


def _other_files(task: Task, entry: Entry) -> str:
    if task.transcript is not None:
        if entry.transcript is None or Path(entry.transcript).name != task.transcript.name:
            return f"another transcript: {task.transcript.name}"
        if _sha256(task.transcript) != entry.transcript_sha256:
            return "the transcript has changed"
    elif entry.transcript is not None:
        return "the transcript has gone"
    if task.media is not None and not _same_media(task.media, entry):
        return "the medium has changed"
    return ""


def _same_media(path: Path, entry: Entry) -> bool:
    """By size and time stamp; where these differ, by content."""
    try:
        found = path.stat()
    except OSError:
        return False  # the reason comes when it is read
    if entry.media_stat == (found.st_size, found.st_mtime_ns):
        return True
    return _sha256(path) == entry.media_sha256


def stat_of(path: Path) -> tuple[int, int] | None:
    """Bytes and time stamp of a medium that is about to be read; None where the stamp proves nothing."""
    found = path.stat()
    settled = time.time_ns() - found.st_mtime_ns > SETTLED
    return (found.st_size, found.st_mtime_ns) if settled else None


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _in_the_way(task: Task, entry: Entry | None, place: Place) -> tuple[str, str] | None:
    """What must not be overwritten: results of another recording of that name, and files of others."""
    if entry is not None and entry.path != str(task.path) and Path(entry.path).is_file():
        other = entry.media_sha256 if task.media is not None else entry.transcript_sha256
        if entry.outputs and _sha256(task.path) != other:
            said = f"{place.folder} holds the results of another {task.name}: {entry.path}."
            return said, "Name another folder with -o, or overwrite them with --force."
    own = entry.outputs if entry is not None else ()
    for path in place.outputs(task.name):
        if path not in own and os.path.lexists(place.folder / path):
            return f"{place.folder / path} exists already and is kept.", "Overwrite it with --force."
    return None


# --- where results go ----------------------------------------------------------------------


def place_for(folder: Path, writers: Sequence[WriterSpec]) -> Place:
    """The endings of the formats.

    Raises:
        UsageError: two formats have the same one.
    """
    formats: dict[str, str] = {}
    for spec in writers:
        ending = SPELT.get(spec.extensions[0], spec.extensions[0])
        for other, taken in formats.items():
            if taken == ending and other != spec.name:
                raise UsageError(
                    f"The formats {other} and {spec.name} both write {ending}.", hint="Leave one of them out."
                )
        formats[spec.name] = ending
    return Place(folder, formats)


def check_place(place: Place, tasks: Sequence[Task], others: Collection[Path], registry: Registry) -> None:
    """No result may be one of the inputs (`others` are further ones), nor be taken for one next time.

    Raises:
        UsageError: one would be.
    """
    named = [path for task in tasks for path in (task.media, task.transcript) if path is not None]
    inputs = {path.resolve() for path in (*named, *others)}
    # Of these one sees that they are results.
    read = set(endings_of(registry)) - set(COMMON) - set(WORDLESS)
    elsewhere = "Name another folder, for instance: -o results/"
    for task in tasks:
        for path in map(place.folder.joinpath, place.outputs(task.name)):
            if path.resolve() in inputs:
                raise UsageError(f"The result {path} would overwrite an input.", hint=elsewhere)
            beside = path.parent.resolve() == task.path.parent.resolve() and not task.left_out
            if beside and path.suffix.lower() in read:
                raise UsageError(
                    f"The result {path} would lie beside its recording and be taken for a transcript.",
                    hint=elsewhere,
                )
