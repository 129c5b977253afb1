"""What `erc predict` shows of one recording: rows as they are settled, or the whole answer at the end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from erc_cli import console
from erc_cli.commands.outputs import show
from erc_cli.commands.work import say
from erc_cli.errors import UsageError
from erc_cli.live import whole_readers
from erc_cli.live_view import Lines, TableRows
from erc_cli.types import Modality

if TYPE_CHECKING:
    from rich.console import Console

    from erc_cli.commands.predict import Asked
    from erc_cli.commands.work import Work
    from erc_cli.preset import Preset
    from erc_cli.types import Result

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Screen:
    """`terminal`: stdout, if it is one. On it rows and bars are drawn by turns, else bars go to stderr."""

    asked: Asked
    terminal: Console | None

    @classmethod
    def of(cls, asked: Asked) -> Screen:
        """Where the answer goes.

        Raises:
            UsageError: options exclude each other.
        """
        if asked.jsonl not in (None, STDOUT):
            raise UsageError(
                f"--jsonl {asked.jsonl}: lines go to stdout, which is -.",
                hint=f"Type: --jsonl -, or for a file: -o {asked.jsonl} --format jsonl",
            )
        if asked.jsonl is not None and asked.as_json:
            raise UsageError("--jsonl and --json exclude each other.", hint="Leave one of them out.")
        return cls(asked, console.out() if sys.stdout.isatty() else None)

    @property
    def bars(self) -> Console | None:
        """Where bars are drawn, if not on stderr."""
        return None if self.asked.as_json else self.terminal

    def rows(self, work: Work, *, go_on: bool) -> Lines | TableRows | None:
        """Who prints settled answers; None where the answer is shown whole.

        `go_on`: there is something to do also if nobody reads stdout.
        """
        said, labels = work.recording.transcript.utterances, work.model.labels
        least = work.loaded.min_confidence
        lines = self.asked.jsonl is not None
        if not lines and (self.terminal is None or self.asked.as_json):
            return None
        whole = whole_readers(work.model)
        if whole:
            say(_late(whole, work.preset), quiet=self.asked.quiet)
        if lines:
            return Lines(said, labels, go_on=go_on, screen=self.terminal, least=least)
        if whole or self.terminal is None:
            return None
        sides = [m for m in Modality if m in work.model.extractors]
        return TableRows(self.terminal, said, labels, sides, least)

    def show(self, result: Result, rows: Lines | TableRows | None) -> None:
        """What is not printed yet.

        Raises:
            OSError: stdout cannot be written.
        """
        if isinstance(rows, Lines):
            rows.finish()
        else:
            show(result, as_json=self.asked.as_json, rows=rows is None)


def _late(whole: list[str], preset: Preset) -> str:
    """Why all rows come at the end."""
    uses = {**{str(m): use.name for m, use in preset.extractors.items()}, "fusion": preset.fusion.name}
    parts = [f"{name} ({uses[name]})" for name in whole]
    verb = "reads" if len(parts) == 1 else "read"
    return f"Rows come at the end: {' and '.join(parts)} {verb} the whole conversation."
