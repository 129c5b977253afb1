"""One request of `erc train`: several seeds, and branches side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from erc_cli.crossfit import one_fold
from erc_cli.dataset import open_datasets
from erc_cli.learning import Progress, Report
from erc_cli.preset import drop, find_preset, override
from erc_cli.registry import load_registry
from erc_cli.run_record import Run, finished, same_run
from erc_cli.session import begin, cross_fit
from erc_cli.stages import FUSION, stage_options
from erc_cli.training import check, train, trains_alone
from erc_cli.types import Modality

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
    device: str = "cpu"
    precision: str = "fp32"


def train_request(
    request: Request, report: Report, jobs: int = 1, told: Callable[[Run], None] = lambda run: None
) -> list[Path]:
    """Train the run of every seed; return their folders, trained presets if all stages are done.

    With `jobs` above 1, so many processes work: on the branches of all seeds, then on the folds of
    the first fusion's features, then on the fusions. Seeds go into `seed-N` folders of the output;
    without `seeds` the output itself is the run. `told` gets the first run when it is checked.

    Seeds that an earlier call finished are left as they are.

    Raises:
        UsageError: see `training.train`; everything is checked before the first stage begins.
    """
    import torch

    torch.set_num_threads(request.threads)
    runs = prepare(request, report)
    for run in runs:
        check(run)
    left = {i: run for i, run in enumerate(runs) if not finished(run)} or dict(enumerate(runs))
    for i, run in enumerate(runs):
        if i not in left:
            same_run(run, begin(run).read)
    told(runs[0])
    if jobs == 1:
        for run in left.values():
            train(run)
        return [run.folder for run in runs]
    with Crew(request, report, jobs) as crew:
        crew.call(_stage, _branches(left))
        # The first fusion makes the features that all seeds share; a joint one shares none.
        first = [] if stage_options(runs[0].preset, FUSION).joint else [min(left)]
        for i in first:
            train(replace(left[i], ahead=crew.folds))
        crew.call(_stage, [(i, FUSION) for i, run in left.items() if i not in first and FUSION in run.stages])
    return [run.folder for run in runs]


def prepare(request: Request, report: Report) -> list[Run]:
    """The run of every seed. Reads the preset and opens the data sets."""
    registry = load_registry()
    recipe = override(find_preset(request.preset, registry, recipe=True), request.settings, registry)
    recipe = drop(recipe, request.drop, registry)
    if request.settings or request.drop:
        recipe = replace(recipe, meta=_of_another(recipe.meta))
    first = Run(
        preset=recipe,
        registry=registry,
        datasets=open_datasets(request.data, registry, recipe.data, recipe.folder),
        folder=request.output,
        seed=request.seed,
        report=report,
        start=request.start,
        features=request.features,
        device=request.device,
        precision=request.precision,
    )
    if request.stages:
        first = replace(first, stages=frozenset(request.stages))
    if request.seeds is None:
        return [first]
    numbers = range(request.seed, request.seed + request.seeds)
    return [_of_seed(first, number) for number in numbers]


def _of_another(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What still holds of a preset's words about itself where a run changes the recipe."""
    return {key: value for key, value in meta.items() if key not in ("sources", "limits", "command")}


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


def _branches(runs: Mapping[int, Run]) -> list[tuple[int, str]]:
    """The number of the run and the stage of every branch that is to be trained by itself."""
    return [
        (i, str(modality))
        for i, run in runs.items()
        for modality in run.preset.extractors
        if str(modality) in run.stages and trains_alone(run, modality)
    ]


class Crew:
    """Processes that work for one request; their progress is reported by this one.

    Each opens the request anew: nothing but plain values goes between them.
    """

    def __init__(self, request: Request, report: Report, jobs: int) -> None:
        self._request, self._report = request, report
        self._stack = ExitStack()
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(jobs, mp_context=context)
        self._manager = context.Manager()

    def __enter__(self) -> Crew:
        self._stack.enter_context(self._manager)
        self._queue = self._stack.enter_context(_relay(self._manager, self._report))
        self._stack.enter_context(self._pool)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def call(self, work: Callable[..., None], each: Sequence[tuple[Any, ...]]) -> None:
        """`work(request, queue, *one)` for each, side by side; the first failure is raised."""
        for future in [self._pool.submit(work, self._request, self._queue, *one) for one in each]:
            future.result()

    def folds(self, name: str, modality: Modality, numbers: Sequence[int]) -> None:
        """Folds of a branch's features of a data set: see `Run.ahead`."""
        self.call(_fold, [(name, str(modality), number) for number in numbers])


def _stage(request: Request, queue: SimpleQueue[Progress | None], number: int, stage: str) -> None:
    """In a process of its own: one stage of one run."""
    train(replace(_opened(request, queue)[number], stages=frozenset({stage})))


def _fold(
    request: Request, queue: SimpleQueue[Progress | None], name: str, modality: str, number: int
) -> None:
    """In a process of its own: one fold; they are the same for every seed."""
    session = begin(_opened(request, queue)[0])
    one_fold(cross_fit(session, name, Modality(modality)), number)


def _opened(request: Request, queue: SimpleQueue[Progress | None]) -> list[Run]:
    import torch

    torch.set_num_threads(request.threads)
    return prepare(request, queue.put)


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
