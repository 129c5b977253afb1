"""What `erc predict` gives: files named with `-o`, and the answer on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from erc_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from erc_cli.learning import Report
    from erc_cli.registry import Registry
    from erc_cli.specs import WriterSpec
    from erc_cli.types import MediaInfo, Result


def choose_writers(
    outputs: tuple[Path, ...],
    registry: Registry,
    inputs: list[Path],
    *,
    force: bool,
    format: str | None = None,
) -> list[tuple[Path, WriterSpec]]:
    """The writer of each output, checked before any work is done; `format` is for all of them.

    Raises:
        UsageError: no format has that ending or name, the file is there already or an input, or
            its folder cannot be written.
    """
    from erc_cli.files import check_output

    if format is not None and not outputs:
        raise UsageError("--format is for -o, which is not given.", hint=f"Add: -o FILE --format {format}")
    named = None if format is None else registry.writer(format)
    by_ending = {ending: spec for spec in registry.writers.values() for ending in spec.extensions}
    chosen: list[tuple[Path, WriterSpec]] = []
    taken = {path.resolve(): path for path in inputs}
    for path in outputs:
        spec = named or _by_ending(path, by_ending)
        if path.resolve() in taken:
            other = taken[path.resolve()]
            what = f"the input {other}" if other in inputs else "named twice"
            raise UsageError(f"-o {path} is {what}.", hint="Give another name with -o.")
        taken[path.resolve()] = path
        registry.require(spec)
        check_output(path, force)
        chosen.append((path, spec))
    return chosen


def _by_ending(path: Path, known: Mapping[str, WriterSpec]) -> WriterSpec:
    ending = path.suffix.lower()
    other = "or name the format: --format NAME"
    if not ending:
        hint = f"{_endings(known)}, {other}"
        raise UsageError(f"-o {path} has no ending; for instance {path}.json.", hint=hint)
    if ending not in known:
        close = nearest(ending, known)
        hint = f"{_endings(known)}, {other}"
        raise UsageError(f"-o {path}: no result format ends in {ending!r}.{close}", hint=hint)
    return known[ending]


def _endings(known: Iterable[str]) -> str:
    return f"Endings: {', '.join(sorted(known))}"


def media_check(writers: Iterable[tuple[Path, WriterSpec]]) -> Callable[[MediaInfo | None], None]:
    """Asks every writer whether results of a medium can be written; for `work.load`."""

    def check(media: MediaInfo | None) -> None:
        for _, spec in writers:
            if spec.check is not None:
                spec.check(media)

    return check


def write_all(
    result: Result,
    writers: list[tuple[Path, WriterSpec]],
    *,
    force: bool,
    report: Report,
    say: Callable[[str], None],
) -> None:
    """Write every output, each whole or not at all; `say` is told of each, and of what is left out."""
    from erc_cli.writing import write_result

    for path, spec in writers:
        write_result(spec, result, path, force=force, report=report, say=say)
        say(f"Written: {path}" + (f" (left out: {spec.leaves_out})" if spec.leaves_out else ""))


def show(result: Result, *, as_json: bool, rows: bool = True) -> None:
    """The answer on stdout: the table (unless its `rows` are there) and the summary, or the document."""
    from erc_cli import console

    if as_json:
        from erc_cli.result import to_dict

        console.print_json(to_dict(result))
        return
    from erc_cli import view

    out = console.out()
    if rows:
        out.print(view.result_table(result, out.width))
    out.print()
    out.print(view.speakers_table(result, out.width))
