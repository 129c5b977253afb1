"""A result into a file, in the format that its ending or a name says."""

from __future__ import annotations

from pathlib import Path

from erc_cli.errors import UsageError, nearest
from erc_cli.files import check_output
from erc_cli.registry import Registry, load_registry
from erc_cli.specs import WriterSpec
from erc_cli.types import Result
from erc_cli.writing import write_result


def writer_of(path: Path, registry: Registry, format: str | None = None) -> WriterSpec:
    """The writer called `format`, else the one of the path's ending.

    Raises:
        UsageError: there is none.
    """
    if format is not None:
        return registry.writer(format)
    known = {ending: spec for spec in registry.writers.values() for ending in spec.extensions}
    ending = path.suffix.lower()
    if ending not in known:
        what = f"no result format ends in {ending!r}" if ending else "it has no ending"
        close = nearest(ending, known) if ending else ""
        raise UsageError(
            f"{path} cannot be written: {what}.{close}", hint=f"Endings: {', '.join(sorted(known))}"
        )
    return known[ending]


def save(result: Result, path: Path, *, format: str | None = None, force: bool = False) -> Path:
    """Write the result, whole or not at all; the path as it was given.

    Raises:
        UsageError: no such format, the file is there already, or its folder cannot be written.
        ErcError: the format needs a library that is not installed, or the disk is full.
    """
    registry = load_registry()
    spec = writer_of(path, registry, format)
    registry.require(spec)
    check_output(path, force)
    write_result(spec, result, path, force=force, report=_silent, say=_silent)
    return path


def _silent(told: object) -> None:
    del told
