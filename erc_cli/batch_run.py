"""A batch from its begin to its end: one at a time in a folder, every step in the manifest."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from erc_cli.batch import Job, Plan
from erc_cli.batch_crew import Began, Ended, Ready, Step, run_jobs
from erc_cli.device import Placement
from erc_cli.errors import ErcError
from erc_cli.learning import Progress
from erc_cli.manifest import MANIFEST, Basis, Entry, Journal
from erc_cli.prediction import Wanted

GO_ON = "What is done is kept: type the same command again to go on."


class Watch(Protocol):
    """Who is told of what happens."""

    def loaded(self, placements: dict[str, Placement]) -> None:
        """The model is there, in the first process."""

    def began(self, name: str) -> None:
        """A recording is begun."""

    def step(self, name: str, progress: Progress) -> None:
        """Progress of a recording."""

    def ended(self, entry: Entry) -> None:
        """A recording is done, or has failed."""


@dataclass(slots=True)
class Tally:
    """What this run was about: `entries` by name in order; `again` were done now, not before."""

    entries: dict[str, Entry] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    seconds: float = 0.0
    left: int = 0

    def names(self, state: str, *, now: bool = True) -> list[str]:
        """Recordings of that state; `now`: which came to it in this run."""
        return [n for n, one in self.entries.items() if one.state == state and (n in self.again) is now]


@dataclass(slots=True)
class Run:
    """What is planned, being done: whatever ends it, the manifest knows what is done."""

    journal: Journal
    plan: Plan
    basis: Basis
    wanted: Wanted
    watch: Watch
    tally: Tally = field(default_factory=Tally)
    under_way: dict[str, Job] = field(default_factory=dict)

    def go(self, *, jobs: int, fail_fast: bool) -> Tally:
        """Do all of it, in `jobs` processes.

        Raises:
            ErcError: the model cannot be loaded, or the disk is full.
        """
        begin = time.monotonic()
        tally = self.tally
        tally.entries = {name: self.journal.entries[name] for name in self.plan.unchanged}
        try:
            for entry in self.plan.entries:
                self._note(self._as_before(replace(entry, basis=self.basis, finished=_now())))
            if not (fail_fast and tally.names("failed")):
                self._work(jobs, fail_fast=fail_fast)
        finally:
            sweep(path for job in self.under_way.values() for path, _ in job.outputs)
            tally.left = sum(job.name not in tally.again for job in self.plan.jobs)
            tally.seconds = round(time.monotonic() - begin, 3)
            tally.entries = {name: tally.entries[name] for name in sorted(tally.entries)}
        self.journal.rewrite()
        return tally

    def _work(self, jobs: int, *, fail_fast: bool) -> None:
        with closing(run_jobs(self.plan.jobs, self.wanted, jobs)) as events:
            for event in events:
                if isinstance(event, Ready):
                    self.watch.loaded(event.placements)
                elif isinstance(event, Began):
                    self.under_way[event.job.name] = event.job
                    self.journal.add(replace(self._entry(event.job), state="started"))
                    self.watch.began(event.job.name)
                elif isinstance(event, Step):
                    self.watch.step(event.job.name, event.progress)
                elif self._end(event) and fail_fast:
                    return

    def _end(self, event: Ended) -> bool:
        """Note what became of a job; whether it failed.

        Raises:
            ErcError: and so would all others.
        """
        entry = self._ended(event)
        self._note(entry)
        del self.under_way[event.job.name]
        if event.outcome.fatal and entry.error is not None:
            raise ErcError(entry.error["message"], hint=f"Make room there. {GO_ON}")
        return entry.state == "failed"

    def _note(self, entry: Entry) -> None:
        self.journal.add(entry)
        self.tally.entries[entry.name] = entry
        self.tally.again.add(entry.name)
        self.watch.ended(entry)

    def _as_before(self, entry: Entry) -> Entry:
        """The line that is there already, if it says the same."""
        before = self.journal.entries.get(entry.name)
        if before is None or replace(entry, finished=before.finished, basis=before.basis) != before:
            return entry
        return before

    def _entry(self, job: Job) -> Entry:
        """The job's line but for what came of it; its outputs are those to come and those of before."""
        before, folder = self.journal.entries.get(job.name), self.journal.folder
        wanted = [path.relative_to(folder).as_posix() for path, _ in job.outputs]
        older = [path for path in (before.outputs if before else ()) if (folder / path).is_file()]
        return Entry(
            name=job.name,
            path=str(job.inputs.media or job.inputs.transcript),
            state="done",
            transcript=None if job.inputs.transcript is None else str(job.inputs.transcript),
            reason=job.reason,
            outputs=tuple(dict.fromkeys([*wanted, *older])),
            basis=job.basis,
            finished=_now(),
        )

    def _ended(self, event: Ended) -> Entry:
        done, entry = event.outcome, self._entry(event.job)
        if done.error is not None:
            there = tuple(path for path in entry.outputs if (self.journal.folder / path).is_file())
            return replace(entry, state="failed", error=done.error, outputs=there, seconds=done.seconds)
        return replace(
            entry,
            seconds=done.seconds,
            media_sha256=done.media_sha256,
            media_stat=done.media_stat,
            transcript_sha256=done.transcript_sha256,
            utterances=done.utterances,
            uncertain=done.uncertain,
            warnings=done.warnings,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- after a crash -------------------------------------------------------------------------


def open_journal(folder: Path) -> Journal:
    """The folder's manifest, in order; drafts that a killed run has left are removed.

    Raises:
        ErcError: it is something else, or cannot be read or written.
    """
    journal = Journal(folder)
    cut = [entry for entry in journal.entries.values() if entry.state == "started"]
    sweep([folder / path for entry in cut for path in entry.outputs] + [folder / MANIFEST])
    if journal.torn or cut or not journal.whole:
        journal.rewrite()
    return journal


def sweep(outputs: Iterable[Path]) -> None:
    """Remove drafts of these files (`files.atomic_write` says how they are called)."""
    for path in outputs:
        draft = re.compile(rf"\.{re.escape(path.stem[:80])}\.[0-9a-f]{{8}}{re.escape(path.suffix)}")
        if path.parent.is_dir():
            for left in path.parent.iterdir():
                if draft.fullmatch(left.name):
                    left.unlink(missing_ok=True)
