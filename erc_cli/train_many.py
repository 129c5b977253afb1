"""One request of `erc train`: several seeds, and branches side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from erc_cli.dataset import open_datasets
from erc_cli.learning import Progress, Report
from erc_cli.preset import drop, find_preset, override
from erc_cli.registry import load_registry
from erc_cli.run_record import Run, done_stage
from erc_cli.training import check, train

if TYPE_CHECKING:
    from multiprocessing.managers import SyncManager

SEED = "seed-{}"


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed, as plain values: another process can make the same runs of it.

    `settings` are `KEY=VALUE`; `stages` empty for all; `start` an earlier run to take branches from.
    """

    preset: str
    data: tuple[str, ...]
    output: Path
    drop: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    seed: int = 0
    seeds: int | None = None
    stages: tuple[str, ...] = ()
    start: Path | None = None
    threads: int = 1
    features: Path | None = None


def train_request(request: Request, report: Report, jobs: int = 1) -> list[Path]:
    """Train the run of every seed; return their folders, trained presets if all stages are done.

    With `jobs` above 1, branches of all seeds are trained side by side first. Seeds go into
    `seed-N` folders of the output; without `seeds` the output itself is the run.

    Raises:
        UsageError: see `training.train`; everything is checked before the first stage begins.
    """
    import torch

    torch.set_num_threads(request.threads)
    runs = prepare(request, report)
    for run in runs:
        check(run)
    if jobs > 1:
        _side_by_side(request, runs, report, jobs)
    return [train(run) for run in runs]


def prepare(request: Request, report: Report) -> list[Run]:
    """The run of every seed. Reads the preset and opens the data sets."""
    registry = load_registry()
    recipe = override(find_preset(request.preset, registry, recipe=True), request.settings, registry)
    recipe = drop(recipe, request.drop, registry)
    first = Run(
        preset=recipe,
        registry=registry,
        datasets=open_datasets(request.data, registry, recipe.data, recipe.folder),
        folder=request.output,
        seed=request.seed,
        report=report,
        start=request.start,
        features=request.features,
    )
    if request.stages:
        first = replace(first, stages=frozenset(request.stages))
    if request.seeds is None:
        return [first]
    numbers = range(request.seed, request.seed + request.seeds)
    return [_of_seed(first, number) for number in numbers]


def _of_seed(run: Run, seed: int) -> Run:
    label = f"seed {seed} "
    start = None if run.start is None else run.start / SEED.format(seed)
    return replace(
        run,
        folder=run.folder / SEED.format(seed),
        seed=seed,
        start=start,
        shared=run.folder,
        report=lambda p: run.report(replace(p, stage=label + p.stage)),
    )


def _side_by_side(request: Request, runs: Sequence[Run], report: Report, jobs: int) -> None:
    """Every branch that is not trained yet, in a pool of processes."""
    waiting = [
        (i, str(modality))
        for i, run in enumerate(runs)
        for modality, use in run.preset.extractors.items()
        if str(modality) in run.stages
        and run.registry.extractor(use.name).train is not None
        and done_stage(run.folder, str(modality)) is None
    ]
    context = multiprocessing.get_context("spawn")
    workers = min(jobs, len(waiting) or 1)
    with (
        context.Manager() as manager,
        _relay(manager, report) as queue,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        for future in [pool.submit(_branch, request, i, stage, queue) for i, stage in waiting]:
            future.result()


def _branch(request: Request, number: int, stage: str, queue: SimpleQueue[Progress | None]) -> None:
    """In a process of its own: one branch of one run."""
    import torch

    torch.set_num_threads(request.threads)
    train(replace(prepare(request, queue.put)[number], stages=frozenset({stage})))


@contextmanager
def _relay(manager: SyncManager, report: Report) -> Iterator[Any]:
    """A queue whose steps of progress, put in by other processes, are handed to `report` in this one."""
    queue: Any = manager.Queue()

    def pump() -> None:
        for step in iter(queue.get, None):
            report(step)

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    yield queue
    queue.put(None)
    thread.join()
