"""One media file through the encoders of every branch, decoded once; in this process or in others."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import TypeVar

from erc_cli.batching import Queue
from erc_cli.errors import ErcError, reason
from erc_cli.feature_file import DamagedError, FeatureFile, from_rows
from erc_cli.features import Recipe, Span, Store, key_of, sha256_of
from erc_cli.types import Clip, Encoded, Extractor, MediaInfo, Modality, Notice, Status, Utterance, Wish

T = TypeVar("T")
FAILURES = "failures"


@dataclass(frozen=True, slots=True)
class Branch:
    """An extractor, built, and what its rows depend on."""

    recipe: Recipe
    extractor: Extractor


@dataclass(frozen=True, slots=True)
class Task:
    """One media file: the utterances in it, where they are in it (seconds), and its hash if known."""

    path: Path
    utterances: tuple[Utterance, ...]
    spans: tuple[Span, ...]
    ids: tuple[str, ...]
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a task. `files` holds every branch's rows; those in `fresh` were computed now.

    `failures` says what failed, in a user's words; without `files` the medium could not be read.
    """

    task: Task
    sha256: str = ""
    files: Mapping[Modality, FeatureFile] = field(default_factory=dict)
    fresh: frozenset[Modality] = frozenset()
    failures: tuple[str, ...] = ()
    warnings: tuple[Notice, ...] = ()


def find(task: Task, recipes: Mapping[Modality, Recipe], store: Store, *, retry: bool) -> Done | None:
    """The task's rows, if the store has those of every branch.

    `retry`: rows of which some failed count as not there.
    """
    if task.sha256 is None:
        return None
    found = _stored(task, task.sha256, recipes, store, retry=retry)
    if set(found.files) != set(recipes):
        return None
    failures = tuple(text for f in found.files.values() for text in json.loads(f.more.get(FAILURES, "[]")))
    return replace(found, failures=failures)


def _stored(
    task: Task, sha256: str, recipes: Mapping[Modality, Recipe], store: Store, *, retry: bool
) -> Done:
    files: dict[Modality, FeatureFile] = {}
    warnings: list[Notice] = []
    for modality, recipe in recipes.items():
        try:
            file = store.get(key_of(recipe, sha256, task.spans))
        except DamagedError as error:
            told = f"{error.path}: {error.reason}; {task.path.name} is computed anew"
            warnings.append(Notice("feature_file_damaged", told))
            continue
        if file is not None and not (retry and FAILURES in file.more):
            files[modality] = file
    return Done(task, sha256, files, warnings=tuple(warnings))


def encode(task: Task, branches: Mapping[Modality, Branch], store: Store, *, retry: bool = True) -> Done:
    """The task's rows of every branch, from the store where they are there; nothing is written.

    Raises:
        ErcError: an extractor's vectors differ in length.
    """
    (done,) = _in_turn([task], branches, store, retry=retry)
    return done


def _in_turn(
    tasks: Sequence[Task], branches: Mapping[Modality, Branch], store: Store, *, retry: bool
) -> Generator[Done, None, None]:
    """Every task's rows. Clips of several small files are encoded together where an extractor can do that.

    A file that is decoded waits for its last clip; never more files than clips wait.
    """
    queues = {m: Queue(branch.extractor) for m, branch in branches.items()}
    waiting: list[_Decoded] = []
    for task in tasks:
        waiting.append(_decode(task, branches, store, queues, retry=retry))
        ready = [not one.waits(queues) for one in waiting]
        for one in [one for one, now in zip(waiting, ready, strict=True) if now]:
            yield one.finish(branches)
        waiting = [one for one, now in zip(waiting, ready, strict=True) if not now]
    for queue in queues.values():
        queue.flush()
    for one in waiting:
        yield one.finish(branches)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A task whose file was read: what is done already, and the branches whose clips may still wait."""

    done: Done
    runs: Mapping[Modality, _Run] = field(default_factory=dict)

    def waits(self, queues: Mapping[Modality, Queue]) -> bool:
        return any(queues[m].holds(run) for m, run in self.runs.items())

    def finish(self, branches: Mapping[Modality, Branch]) -> Done:
        """The rows as files.

        Raises:
            ErcError: vectors differ in length.
        """
        if not self.runs:
            return self.done
        for run in self.runs.values():
            run.count_unreadable()
        made = {m: _file(self.done, branches[m].recipe, run) for m, run in self.runs.items()}
        failures = tuple(text for run in self.runs.values() for text in run.failures)
        files = {**self.done.files, **made}
        return replace(self.done, files=files, fresh=frozenset(self.runs), failures=failures)


def _decode(
    task: Task,
    branches: Mapping[Modality, Branch],
    store: Store,
    queues: Mapping[Modality, Queue],
    *,
    retry: bool,
) -> _Decoded:
    from erc_cli.media import probe

    recipes = {m: branch.recipe for m, branch in branches.items()}
    try:
        sha256 = task.sha256 or sha256_of(task.path)
        done = _stored(task, sha256, recipes, store, retry=retry)
        wanted = {m: branch for m, branch in branches.items() if m not in done.files}
        info = probe(task.path) if wanted else None
    except ErcError as error:
        return _Decoded(Done(task, failures=(error.message,)))
    except OSError as error:
        return _Decoded(Done(task, failures=(f"{task.path}: {error.strerror}.",)))
    if info is None:
        return _Decoded(done)
    if info.duration <= 0:
        return _Decoded(Done(task, info.sha256, failures=(f"{task.path}: nothing in it can be decoded.",)))
    return _clips_of(replace(done, sha256=info.sha256), info, wanted, queues)


def _clips_of(
    done: Done, info: MediaInfo, branches: Mapping[Modality, Branch], queues: Mapping[Modality, Queue]
) -> _Decoded:
    """One pass over the medium for all branches that are missing."""
    from erc_cli.media import read_clips

    task, warnings = done.task, [*done.warnings, *info.warnings]
    runs = {m: _Run(m, branch.extractor, [None] * len(task.spans)) for m, branch in branches.items()}
    placed = tuple(
        replace(u, start=start, end=info.duration if end is None else end)
        for u, (start, end) in zip(task.utterances, task.spans, strict=True)
    )
    asked = [
        (run, i, wish)
        for run in runs.values()
        for i, utterance in enumerate(placed)
        if (wish := run.wish(i, utterance)).sound is not None or wish.frames
    ]
    try:
        for place, clip in read_clips(info, [wish for _, _, wish in asked], on_warning=warnings.append):
            run, i, _ = asked[place]
            queues[run.modality].add(run, i, clip)
    except ErcError as error:  # the file has gone, or was replaced meanwhile
        return _Decoded(replace(done, files={}, failures=(error.message,)))
    told = tuple(replace(n, message=f"{task.path.name}: {n.message}") for n in warnings)
    return _Decoded(replace(done, warnings=told), runs)


def _file(done: Done, recipe: Recipe, run: _Run) -> FeatureFile:
    features, more = from_rows(run.rows)
    if run.failures:
        more[FAILURES] = json.dumps(run.failures)
    return FeatureFile(
        modality=recipe.modality,
        plugin=recipe.name,
        version=recipe.version,
        options=recipe.options,
        features=features,
        utterances=done.task.ids,
        media_sha256=done.sha256,
        more={**more, "spans": json.dumps(done.task.spans)},
    )


@dataclass(slots=True)
class _Run:
    """One branch's rows while a file is read. What a plugin raises costs one row."""

    modality: Modality
    extractor: Extractor
    rows: list[Encoded | None]
    failures: list[str] = field(default_factory=list)

    def wish(self, index: int, utterance: Utterance) -> Wish:
        wish = self._attempt(lambda: self.extractor.wish(utterance))
        if wish is None:
            self.rows[index] = Encoded(None, Status.UNREADABLE)
        return wish if wish is not None else Wish()

    def encode_one(self, index: int, clip: Clip) -> None:
        row = self._attempt(lambda: self.extractor.encode(clip))
        self.rows[index] = row if row is not None else Encoded(None, Status.UNREADABLE)

    def count_unreadable(self) -> None:
        """What the file itself did not yield is a failure as well."""
        lost = sum(row is not None and row.status is Status.UNREADABLE for row in self.rows)
        if lost and not self.failures:
            self.failures.append(f"{self.modality}: {lost} of {len(self.rows)} utterances cannot be decoded")

    def _attempt(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a plugin's failure must not stop the others
            self.failures.append(f"{self.modality}: {reason(error)}")
        return None


# --- in several processes ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crew:
    """What a process needs to do tasks by itself."""

    recipes: Mapping[Modality, Recipe]
    store: Path
    retry: bool


def encode_all(
    tasks: Sequence[Task], branches: Mapping[Modality, Branch], store: Store, *, jobs: int, retry: bool
) -> Generator[Done, None, None]:
    """Every task's rows, in any order; nothing is written. More than one job: in as many processes.

    Raises:
        ErcError: an extractor cannot be built there, or its vectors differ in length.
    """
    if jobs < 2:
        yield from _in_turn(tasks, branches, store, retry=retry)
        return
    crew = Crew({m: branch.recipe for m, branch in branches.items()}, store.folder, retry)
    waiting, suspects = deque(tasks), deque[Task]()
    while waiting or suspects:
        # A process that dies takes its pool along: who was in it is tried alone.
        alone = bool(suspects)
        queue = deque([suspects.popleft()]) if alone else waiting
        lost: list[Task] = []
        with closing(_in_pool(queue, crew, 1 if alone else jobs, lost)) as results:
            yield from results
        if alone and lost:
            yield Done(lost[0], failures=(f"{lost[0].path}: the process that decoded it died.",))
        else:
            suspects.extend(lost)


def _in_pool(queue: deque[Task], crew: Crew, jobs: int, lost: list[Task]) -> Generator[Done, None, None]:
    """Tasks of the queue until it is empty, or until a process dies; `lost` gets what was in work then."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _prepare, (crew,))
    running: dict[Future[Done], Task] = {}
    whole = broken = False
    try:
        while (queue or running) and not broken:
            broken = not _submit(pool, queue, running, jobs + 1)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    continue
                del running[future]
                yield result
        lost.extend(running.values())
        whole = not broken
    finally:
        pool.shutdown(wait=whole, cancel_futures=True)
        if not whole:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()


def _submit(
    pool: ProcessPoolExecutor, queue: deque[Task], running: dict[Future[Done], Task], limit: int
) -> bool:
    """Give the pool as much as it may hold; whether it took it."""
    while queue and len(running) < limit:
        try:
            running[pool.submit(_work, queue[0])] = queue[0]
        except BrokenProcessPool:
            return False
        queue.popleft()
    return True


_crew: Crew | None = None
_built: dict[Modality, Branch] = {}


def _prepare(crew: Crew) -> None:
    """In a new process: Ctrl-C is the parent's matter, and without a parent there is nothing to do."""
    global _crew  # noqa: PLW0603 - a process of the pool does one crew's tasks all its life
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _crew = crew


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> Done:
    if _crew is None:
        raise RuntimeError("the process was not prepared")
    if not _built:
        _built.update(_build(_crew.recipes))
    return encode(task, _built, Store(_crew.store), retry=_crew.retry)


def _build(recipes: Mapping[Modality, Recipe]) -> dict[Modality, Branch]:
    from erc_cli.preset import build_extractor
    from erc_cli.registry import load_registry

    registry = load_registry()
    built = {m: Branch(r, build_extractor(r.use, registry, **r.given)) for m, r in recipes.items()}
    torch = sys.modules.get("torch")  # not every extractor needs it, and it takes seconds to import
    if torch is not None:
        torch.set_num_threads(1)  # as many processes as cores: two threads in each would be slower
    return built
