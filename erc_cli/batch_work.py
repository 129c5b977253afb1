"""One recording of a batch: read, judged, written; and what became of it."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from erc_cli.batch import Job, stat_of
from erc_cli.certainty import count_of
from erc_cli.errors import ErcError, UsageError, reason
from erc_cli.features import sha256_of
from erc_cli.learning import Report
from erc_cli.prediction import Chosen, Loaded, load, open_inputs
from erc_cli.registry import Registry
from erc_cli.transcribing import Plan
from erc_cli.types import MediaInfo, Result
from erc_cli.writing import write_result

#: with these, the next recording cannot be written either
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_DEFECT = "This is a defect of erc or of a plugin; the manifest has the traceback."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job. `fatal`: no other job can do better (the disk is full)."""

    error: Mapping[str, str] | None = None
    fatal: bool = False
    seconds: float = 0.0
    media_sha256: str | None = None
    media_stat: tuple[int, int] | None = None
    transcript_sha256: str | None = None
    utterances: int | None = None
    uncertain: int | None = None
    warnings: tuple[str, ...] = ()


class CannotLoadError(Exception):
    """The model cannot be loaded, which no recording is to blame for; `error` says why."""

    def __init__(self, error: ErcError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class Bench:
    """Where jobs are done; the model is loaded when the first recording is found to be readable.

    `loaded` is told when it is there.
    """

    chosen: Chosen
    registry: Registry
    report: Report
    loaded: Callable[[Loaded], None]
    model: Loaded | None = None
    transcriber: Plan | None = None
    loading: float = 0.0

    def ready(self) -> Loaded:
        """The model; `loading` are the seconds that it took.

        Raises:
            CannotLoadError: it is not there.
        """
        if self.model is None:
            begin = time.monotonic()
            try:
                self.model = load(self.chosen, self.registry, self.report)
            except ErcError as error:
                raise CannotLoadError(error) from error
            self.loaded(self.model)
            self.loading = time.monotonic() - begin
        return self.model


def work(bench: Bench, job: Job) -> Outcome:
    """Do a job; nothing that goes wrong with one recording is raised.

    Raises:
        CannotLoadError: the model is not there.
    """
    begin, loaded = time.monotonic(), bench.loading
    try:
        done = _do(bench, job)
    except CannotLoadError:
        raise
    except ErcError as error:
        fatal = isinstance(error.__cause__, OSError) and error.__cause__.errno in _HOPELESS
        done = Outcome(_told(error.message, error.hint or ""), fatal=fatal)
    except OSError as error:
        hint = "Look at the file and its permissions."
        done = Outcome(_told(f"{error.filename or job.name}: {error.strerror or error}.", hint))
    except Exception as error:  # noqa: BLE001 - ten hours of other recordings do not fail with this one
        said = _told(reason(error), _DEFECT)
        done = Outcome({**said, "traceback": traceback.format_exc()})
    seconds = time.monotonic() - begin - (bench.loading - loaded)
    return replace(done, seconds=round(seconds, 3))


def _told(message: str, hint: str) -> dict[str, str]:
    return {"message": message, "hint": hint}


def _do(bench: Bench, job: Job) -> Outcome:
    inputs = job.inputs
    stat = None if inputs.media is None else stat_of(inputs.media)
    words = None if inputs.transcript is None else sha256_of(inputs.transcript)
    if inputs.transcriber is not None:  # one for all recordings: it may hold a network
        bench.transcriber = bench.transcriber or inputs.transcriber
        inputs = replace(inputs, transcriber=bench.transcriber)
    refused: list[UsageError] = []
    outputs = list(job.outputs)

    def check(media: MediaInfo | None) -> None:
        refused[:], outputs[:] = _sorted_out(media, job.outputs, bench.registry)
        if refused and not outputs:
            raise refused[0]

    recording = open_inputs(inputs, bench.registry, bench.report, check=check)
    result = bench.ready().answer(recording, bench.report)
    write(result, outputs, bench.registry, bench.report)
    if refused:  # what can be written is there; the recording has failed all the same
        raise refused[0]
    return Outcome(
        media_sha256=None if result.media is None else result.media.sha256,
        media_stat=stat,
        transcript_sha256=words,
        utterances=len(result.utterances),
        uncertain=count_of(result) if result.min_confidence else None,
        warnings=tuple(dict.fromkeys(notice.code for notice in result.warnings)),
    )


def _sorted_out(
    media: MediaInfo | None, outputs: Sequence[tuple[Path, str]], registry: Registry
) -> tuple[list[UsageError], list[tuple[Path, str]]]:
    """Why some of the outputs cannot be written for that medium, and the other ones."""
    refused: list[UsageError] = []
    possible: list[tuple[Path, str]] = []
    for path, format in outputs:
        check = registry.writer(format).check or (lambda media: None)
        try:
            check(media)
        except UsageError as error:
            refused.append(error)
            continue
        possible.append((path, format))
    return refused, possible


def write(result: Result, outputs: Sequence[tuple[Path, str]], registry: Registry, report: Report) -> None:
    """Every result, each whole or not at all.

    Raises:
        ErcError: one cannot be written.
    """
    for path, format in outputs:
        _make(path.parent)
        write_result(registry.writer(format), result, path, force=True, report=report, say=lambda line: None)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ErcError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint="Name another folder: -o DIR"
        ) from error
