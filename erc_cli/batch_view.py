"""A batch on the terminal: a bar for all of it, one for each recording under way, and a summary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from erc_cli import console
from erc_cli.batch import Plan
from erc_cli.batch_run import GO_ON, Tally
from erc_cli.device import Placement
from erc_cli.learning import Progress
from erc_cli.manifest import MANIFEST, Entry
from erc_cli.view import clock

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 20
WIDEST = 40
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def shown(text: str, width: int | None = None) -> str:
    """A name for the screen: no line breaks or escapes, odd bytes as U+FFFD; cut on the left to `width`."""
    plain = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    plain = re.sub("[\ud800-\udfff]", "\ufffd", plain)
    return plain if width is None or len(plain) <= width else f"…{plain[1 - width :]}"


def plan_lines(plan: Plan) -> list[str]:
    """What is to do and why; what is as it was."""
    if not plan.jobs:
        return [f"Nothing to do: {len(plan.unchanged)} unchanged."] if plan.unchanged else []
    kinds = Counter(job.reason for job in plan.jobs)
    rest = f"; {len(plan.unchanged)} unchanged" if plan.unchanged else ""
    why = [f"{count} {reason}" for reason, count in kinds.most_common(SHOWN)]
    more = [f"{len(kinds) - SHOWN} more reasons"] if len(kinds) > SHOWN else []
    return [f"To do: {len(plan.jobs)} ({shown(', '.join([*why, *more]))}){rest}."]


@dataclass(slots=True)
class Lines:
    """Fulfils `Watch` where there is no terminal: a line per recording. `say` prints one."""

    total: int
    say: Callable[[str], None]
    placed: Callable[[dict[str, Placement]], None]
    ready: int = 0

    def loaded(self, placements: dict[str, Placement]) -> None:
        """Where the model runs."""
        self.placed(placements)

    def began(self, name: str) -> None:
        """Nothing."""

    def step(self, name: str, progress: Progress) -> None:
        """Nothing."""

    def ended(self, entry: Entry) -> None:
        """`3 of 12: sub/talk.mp4 done (3.2 s)`, or `failed`, with the reason."""
        if entry.state == "skipped":
            return
        self.ready += 1
        said = f"{self.ready} of {self.total}: {shown(entry.name)} {entry.state}"
        self.say(f"{said} ({entry.seconds:.1f} s)" if entry.error is None else f"{said}: {_why(entry)}")


@dataclass(slots=True)
class Bars:
    """Fulfils `Watch` on a terminal."""

    bars: Any
    whole: Any
    say: Callable[[str], None]
    placed: Callable[[dict[str, Placement]], None]
    tasks: dict[str, Any] = field(default_factory=dict)
    failed: int = 0

    def loaded(self, placements: dict[str, Placement]) -> None:
        """Where the model runs."""
        self.placed(placements)

    def began(self, name: str) -> None:
        """A bar of its own."""
        self.tasks[name] = self.bars.add_task(shown(name, WIDEST), total=None, note="")

    def step(self, name: str, progress: Progress) -> None:
        """The stage, and how far it is."""
        if name in self.tasks:
            values = {"completed": progress.done, "total": progress.total or None}
            self.bars.update(self.tasks[name], note=progress.stage, **values)

    def ended(self, entry: Entry) -> None:
        """Its bar goes; a failure is told at once."""
        if entry.name in self.tasks:
            self.bars.remove_task(self.tasks.pop(entry.name))
        if entry.state != "skipped":
            self.bars.advance(self.whole)
        if entry.error is not None:
            self.failed += 1
            self.bars.update(self.whole, note=f"{self.failed} failed")
            self.say(f"Failed: {shown(entry.name)}: {_why(entry)}")


def _why(entry: Entry) -> str:
    return shown((entry.error or {}).get("message", ""))


@contextmanager
def watching(
    total: int, placed: Callable[[dict[str, Placement]], None], *, quiet: bool
) -> Iterator[Lines | Bars]:
    """Who tells the user on stderr: bars on a terminal, else lines, and nothing when `quiet`."""
    err = console.err(quiet=quiet)

    def say(text: str) -> None:
        err.print(Text(text), soft_wrap=True)

    if quiet or not err.is_terminal:
        yield Lines(total, say, placed)
        return
    with console.bars(err) as bars:
        whole = bars.add_task("all", total=total, note="")
        yield Bars(bars, whole, say, placed)


# --- afterwards ----------------------------------------------------------------------------


def summary(tally: Tally) -> list[Table | Text]:
    """A table of counts and time, and what failed with its reason."""
    rows = console.table([("recordings", {}), ("", {"justify": "right"}), ("seconds", {"justify": "right"})])
    counts = {
        "done": tally.names("done"),
        "unchanged": tally.names("done", now=False),
        "failed": tally.names("failed"),
        "skipped": tally.names("skipped"),
    }
    for word, names in counts.items():
        seconds = sum(tally.entries[name].seconds for name in names) if word != "unchanged" else 0.0
        colour = "red" if word == "failed" and names else "green" if word == "done" and names else ""
        rows.add_row(Text(word, colour), str(len(names)), f"{seconds:.1f}" if seconds else "")
    if tally.left:
        rows.add_row("not begun", str(tally.left), "")
    rows.add_row("in all", str(len(tally.entries) + tally.left), f"{tally.seconds:.1f}")
    return [rows, *_told("Failed", counts["failed"], tally), *_told("Skipped", counts["skipped"], tally)]


def _told(word: str, names: list[str], tally: Tally) -> list[Table | Text]:
    lines: list[Table | Text] = []
    for name in names[:SHOWN]:
        entry = tally.entries[name]
        hint = (entry.error or {}).get("hint", "")
        reason = _why(entry) if entry.error is not None else shown(entry.reason)
        style = "red" if entry.error is not None else ""
        lines.append(Text.assemble((f"{word}: {shown(name)}: {reason}", style), f" {shown(hint)}"))
    if len(names) > SHOWN:
        lines.append(Text(f"… and {len(names) - SHOWN} more: see {MANIFEST}"))
    return lines


def document(tally: Tally, folder: str) -> Mapping[str, Any]:
    """The manifest of this run's recordings as one JSON document."""
    counts = {
        "done": len(tally.names("done")),
        "unchanged": len(tally.names("done", now=False)),
        "failed": len(tally.names("failed")),
        "skipped": len(tally.names("skipped")),
    }
    return {
        "schema": "erc.batch/1",
        "output": shown(folder),
        "counts": counts,
        "seconds": tally.seconds,
        "files": [entry.as_data() for entry in tally.entries.values()],
    }


def cut_off(tally: Tally, total: int, seconds: float) -> str:
    """What to say after Ctrl-C, of `total` recordings that were to be done."""
    done, failed = len(tally.names("done")), len(tally.names("failed"))
    wrong = f", {failed} failed" if failed else ""
    return f"{done} of {total} done{wrong} in {clock(seconds)}. {GO_ON}"
