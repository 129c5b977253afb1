"""What commands print with: stdout is the answer, stderr is the talk.

rich is imported when the first console is made, so that `erc --help` does without.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from erc_cli.learning import Progress, Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.table import Table

_PIPE_WIDTH = 100
_LOG_SECONDS = 60.0


def out() -> Console:
    """The console of the answer. Honours NO_COLOR; in a pipe, COLUMNS or 100 columns wide."""
    return _console(stderr=False, quiet=False)


def err(*, quiet: bool = False) -> Console:
    """The console of the talk; says nothing when `quiet` (the commands' `-q`)."""
    return _console(stderr=True, quiet=quiet)


def _console(*, stderr: bool, quiet: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width of its own, and rich's guess of 80 would cut what a file could hold.
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH

    class Screen(Console):
        """Goes on without a reader: `erc … -o FILE | head` still writes its file."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            silence(sys.stderr if stderr else sys.stdout)

    return Screen(stderr=stderr, quiet=quiet, width=width, highlight=False, emoji=False)


def silence(stream: IO[str]) -> None:
    """Send what is still written to `stream` nowhere: its reader has gone, or its disk is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_json(document: Any) -> None:
    """One JSON document on stdout, and a line end; paths become text, NaN is refused.

    Raises:
        OSError: stdout cannot be written.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False, default=_plain) + "\n"
    try:
        _write(text)
    except BrokenPipeError:  # `erc … --json | head`: the reader has what it wanted
        silence(sys.stdout)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()  # what cannot be written is known now, not at the exit


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def table(
    columns: Sequence[str | tuple[str, dict[str, Any]]], *, title: str | None = None, gap: int | None = None
) -> Table:
    """An empty table in the house style; a column is its heading, or (heading, rich's options).

    `gap`: so many blanks between columns and none at the edges, to save room.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    if gap is not None:
        made.show_edge, made.padding = False, (0, gap - 1, 0, 0)  # the box itself puts one between
    for column in columns:
        heading, options = (column, {}) if isinstance(column, str) else column
        made.add_column(heading, **{"overflow": "fold", **options})
    return made


def colour(state: str) -> str:
    """Style of a word such as ok, missing, broken."""
    good, word = ("ok", "yes"), state.partition(":")[0]
    return "green" if word in good else "yellow" if word in ("missing", "warn", "untrained") else "red"


@contextmanager
def progress(*, quiet: bool = False, log: bool = False, screen: Console | None = None) -> Iterator[Report]:
    """A `Report` that shows a bar per stage on stderr: done, elapsed, time left.

    `screen`: where the bars are drawn instead, because rows are printed above them.

    Shows nothing when `quiet` or when stderr is not a terminal; with `log`, for work of hours, a line
    a minute goes to a stderr that is a file.
    """
    if quiet or not sys.stderr.isatty():
        yield _line_a_minute() if log and not quiet else _silent
        return
    with bars(screen or err()) as shown:
        yield _bar_per_stage(shown)


@contextmanager
def bars(screen: Console) -> Iterator[Bars]:
    """rich's bars: what is done, elapsed time, time left, and each task's field `note`; gone at the end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # Else what is printed meanwhile would go where the bars are: an answer in a pipe to stderr.
    with Bars(*columns, console=screen, transient=True, redirect_stdout=False) as shown:
        yield shown


def _silent(step: Progress) -> None:
    del step


def _line_a_minute() -> Report:
    last: dict[str, float] = {}

    def report(step: Progress) -> None:
        now = monotonic()
        if now - last.setdefault(step.stage, now) >= _LOG_SECONDS:
            last[step.stage] = now
            sys.stderr.write(f"{step.stage}: {step.done} of {step.total}, {step.note}\n")
            sys.stderr.flush()

    return report


def _bar_per_stage(bars: Any) -> Callable[[Progress], None]:
    tasks: dict[str, Any] = {}

    def report(step: Progress) -> None:
        if step.stage not in tasks:
            tasks[step.stage] = bars.add_task(step.stage, total=step.total or None, note=step.note)
        bars.update(tasks[step.stage], completed=step.done, total=step.total or None, note=step.note)

    return report
