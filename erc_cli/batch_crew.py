"""Processes that do the jobs of a batch: each loads the model once, and one that dies costs one job.

They are spawned, not forked: torch and its threads do not survive a fork. Each talks to the parent through
a pipe of its own, so that one that is killed leaves no lock behind that the others wait for.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from erc_cli.batch import Job
from erc_cli.batch_work import Bench, CannotLoadError, Outcome, work
from erc_cli.device import Placement
from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Progress
from erc_cli.prediction import Loaded, Wanted

STEP = 0.1  # seconds between two messages of progress
PATIENCE = 5.0  # seconds that a process has to end when it is told to


@dataclass(frozen=True, slots=True)
class Ready:
    """The first process has loaded the model: where its stages run."""

    placements: dict[str, Placement]


@dataclass(frozen=True, slots=True)
class Began:
    """A process was given a job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of a job; stage `model` while the model is loaded for it."""

    job: Job
    progress: Progress


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is done, or has failed."""

    job: Job
    outcome: Outcome


Event = Ready | Began | Step | Ended


@dataclass(frozen=True, slots=True)
class _Idle:
    """A process has started, and waits for a job."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """What a process says that cannot load the model."""

    message: str
    hint: str | None
    exit_code: int


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    idle: bool = False


@dataclass(slots=True)
class _Crew:
    wanted: Wanted
    waiting: deque[Job]
    workers: list[_Worker] = field(default_factory=list)
    told: bool = False

    def hire(self) -> None:
        """One more process."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self.wanted), daemon=True)
        with _deaf_to_interrupts():
            process.start()
        theirs.close()  # else its end would never be heard of
        self.workers.append(_Worker(process, ours))

    def listen(self) -> Iterator[Event]:
        """What the processes say next; jobs are handed out to those that have none."""
        pipes = {worker.pipe: worker for worker in self.workers}
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._bury(worker)
                continue
            yield from self._heard(worker, message)
            if worker.idle and worker.job is None and self.waiting:
                worker.job = self.waiting.popleft()
                yield Began(worker.job)
                self._hand(worker, worker.job)

    def _hand(self, worker: _Worker, job: Job) -> None:
        try:
            worker.pipe.send(job)
        except OSError:  # it has died; the next `listen` finds that out
            return

    def _heard(self, worker: _Worker, message: Any) -> Iterator[Event]:
        if isinstance(message, _Refused):
            kind = UsageError if message.exit_code == UsageError.exit_code else ErcError
            raise kind(message.message, hint=message.hint)
        if isinstance(message, Progress) and worker.job is not None:
            yield Step(worker.job, message)
        elif isinstance(message, Outcome) and worker.job is not None:
            job, worker.job = worker.job, None
            yield Ended(job, message)
        elif isinstance(message, _Idle):
            worker.idle = True
        elif isinstance(message, Ready) and not self.told:
            self.told = True
            yield message

    def _bury(self, worker: _Worker) -> Iterator[Event]:
        """A process has died: its job failed, and another takes its place."""
        worker.process.join(PATIENCE)
        self.workers.remove(worker)
        worker.pipe.close()
        how = _death(worker.process.exitcode)
        if not worker.idle:
            raise ErcError(
                f"A process that loads the model {how}.", hint="Is there enough memory? Type: --jobs 1"
            )
        if worker.job is not None:
            said = f"The process that worked on it {how}."
            hint = "A damaged file, or not enough memory: look at the file, and try --jobs 1."
            yield Ended(worker.job, Outcome({"message": said, "hint": hint}))
        if len(self.waiting) > sum(one.job is None for one in self.workers):
            self.hire()

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self.waiting) or any(worker.job is not None for worker in self.workers)

    def dismiss(self) -> None:
        """End all processes, at once where they are at work."""
        for worker in self.workers:
            worker.process.terminate()
        end = time.monotonic() + PATIENCE
        for worker in self.workers:
            worker.process.join(max(end - time.monotonic(), 0.1))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()


def run_jobs(jobs: Iterable[Job], wanted: Wanted, count: int) -> Generator[Event, None, None]:
    """Do jobs in `count` processes at most, in order; closing the generator ends them all.

    Raises:
        ErcError: the model cannot be loaded.
    """
    crew = _Crew(wanted, deque(jobs))
    try:
        for _ in range(min(count, len(crew.waiting))):
            crew.hire()
        while crew.busy:
            yield from crew.listen()
    finally:
        crew.dismiss()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"has ended by itself (exit code {code})"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process that starts in here never gets Ctrl-C, which is the parent's matter."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in a process of the crew --------------------------------------------------------------


def serve(pipe: Connection, wanted: Wanted) -> None:
    """Do jobs until the parent has no more, or is no more; the model is loaded for the first of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _stdout_is_the_parents()
    from erc_cli.prediction import choose
    from erc_cli.registry import load_registry

    registry = load_registry()
    bench = Bench(choose(wanted, registry), registry, _Messenger(pipe).progress, partial(_loaded, pipe))
    pipe.send(_Idle())
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            done = work(bench, job)
        except CannotLoadError as refused:
            pipe.send(_Refused(refused.error.message, refused.error.hint, refused.error.exit_code))
            return
        pipe.send(done)


def _loaded(pipe: Connection, loaded: Loaded) -> None:
    _one_thread()
    pipe.send(Ready(dict(loaded.model.placements)))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _stdout_is_the_parents() -> None:
    """What a library prints goes to stderr: stdout is for the answer."""
    os.dup2(2, 1)
    sys.stdout = sys.stderr


def _one_thread() -> None:
    """In every process, also if it is the only one: sums over several threads differ in the last bits."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@dataclass(slots=True)
class _Messenger:
    """Progress to the parent, not more often than can be seen."""

    pipe: Connection
    last: dict[str, float] = field(default_factory=dict)

    def progress(self, step: Progress) -> None:
        now = time.monotonic()
        if now - self.last.get(step.stage, 0.0) >= STEP or step.done in (0, step.total):
            self.last[step.stage] = now
            self.pipe.send(step)
