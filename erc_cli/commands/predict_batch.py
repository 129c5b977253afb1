"""`erc predict` of several recordings: a folder, a pattern, a list; results and a manifest into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from erc_cli import console
from erc_cli.batch import basis_of, check_place, make_plan, place_for
from erc_cli.batch_find import Task, absolute, find_tasks
from erc_cli.batch_run import Run, Tally, open_journal
from erc_cli.batch_view import cut_off, document, plan_lines, summary, watching
from erc_cli.certainty import told
from erc_cli.commands.work import say, say_placements, warn
from erc_cli.errors import UsageError
from erc_cli.features import sha256_of
from erc_cli.files import own
from erc_cli.manifest import MANIFEST
from erc_cli.prediction import Inputs, choose
from erc_cli.transcripts import columns_from

if TYPE_CHECKING:
    from erc_cli.commands.predict import Asked
    from erc_cli.device import Placement
    from erc_cli.registry import Registry
    from erc_cli.specs import WriterSpec
    from erc_cli.transcribing import Plan

SOME_FAILED = 3
DEFAULT = "json"


def predict_all(asked: Asked, registry: Registry) -> int:
    """Do what is missing or has changed; the exit code: 3 when some failed.

    Raises:
        UsageError: what was typed cannot be done.
        ErcError: the model cannot be loaded, or the disk is full.
    """
    folder = _folder(asked, registry)
    place = place_for(folder, _writers(asked, registry))
    transcriber = asked.plan(registry)
    inputs_of, settings = _inputs(asked, transcriber)
    chosen = choose(asked.wanted, registry)
    tasks, notes = find_tasks(
        _named(asked), asked.transcript, registry, folder, transcribed=transcriber is not None
    )
    check_place(place, tasks, [path for path in (asked.speakers,) if path is not None], registry)
    with own(folder):
        journal = open_journal(folder)
        if journal.torn:
            said = "The end of the manifest was torn off; the recording that stood there is done again."
            warn(said, quiet=asked.quiet)
        basis = basis_of(chosen, registry, settings)
        made = {} if transcriber is None else {"transcriber": about(transcriber)}
        plan = make_plan(tasks, journal.entries, place, basis, inputs_of, force=asked.force, made=made)
        for line in (*notes, *plan_lines(plan), _tip(len(plan.jobs), asked)):
            say(line, quiet=asked.quiet)
        with watching(plan.total, _placed(asked), quiet=asked.quiet) as watch:
            tally = _run(Run(journal, plan, basis, chosen.wanted, watch), asked)
    return _tell(tally, asked)


def _tip(count: int, asked: Asked) -> str:
    """Each process uses one thread, so that its numbers are those of any other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    useful = min(cores, count)
    if asked.jobs > 1 or useful < 2 or asked.device not in ("auto", "cpu"):
        return ""
    return f"One recording at a time, on one of {cores} cores. More at a time: --jobs {useful}"


def _run(run: Run, asked: Asked) -> Tally:
    begin = monotonic()
    try:
        return run.go(jobs=asked.jobs, fail_fast=asked.fail_fast)
    except KeyboardInterrupt:
        say(cut_off(run.tally, run.plan.total, monotonic() - begin), quiet=False)
        raise


def _tell(tally: Tally, asked: Asked) -> int:
    """The summary on stderr, the document on stdout."""
    failed = tally.names("failed")
    if asked.as_json:
        console.print_json(document(tally, asked.output[0]))
    err = console.err(quiet=asked.quiet)
    for part in summary(tally):
        err.print(part, soft_wrap=True)
    say(_uncertain(tally, asked.min_confidence), quiet=asked.quiet)
    if failed:
        where = Path(asked.output[0]) / MANIFEST
        say(f"{len(failed)} of {len(tally.entries) + tally.left} recordings failed: see {where}", quiet=False)
    return SOME_FAILED if failed else 0


def _uncertain(tally: Tally, least: float) -> str:
    """One line on all recordings that are done, now or before."""
    done = [one for one in tally.entries.values() if one.state == "done"]
    return told(sum(one.uncertain or 0 for one in done), sum(one.utterances or 0 for one in done), least)


# --- what was typed ------------------------------------------------------------------------


def _named(asked: Asked) -> tuple[Path, ...]:
    """The recordings as typed; of transcripts alone, the folder of transcripts.

    Raises:
        UsageError: nothing was named, or standard input.
    """
    from erc_cli.commands.work import refuse_elsewhere

    for path in asked.media:
        refuse_elsewhere(path)
    if asked.media:
        return asked.media
    if asked.transcript is None:
        raise UsageError("Nothing to work on.", hint="Type: erc predict recordings/ -o results/")
    return (asked.transcript,)


def _folder(asked: Asked, registry: Registry) -> Path:
    """Where results go.

    Raises:
        UsageError: nowhere, or into a file.
    """
    one = len(asked.media) == 1
    several = f"{asked.media[0]} stands for several recordings" if one else "There are several recordings"
    if not asked.output:
        raise UsageError(
            f"{several}: their results go into a folder, which is not named.",
            hint=f"Type: erc predict {' '.join(map(str, asked.media[:3]))} -o results/",
        )
    folder = Path(asked.output[0])
    if asked.jsonl is not None:
        hint = "Leave it out; --format jsonl writes such files."
        raise UsageError("--jsonl is for one recording.", hint=hint)
    if asked.save_transcript is not None:
        hint = "Leave it out; --format srt writes subtitles that can be corrected."
        raise UsageError("--save-transcript is for one recording.", hint=hint)
    if len(asked.output) > 1:
        hint = "Name one folder; the formats are named so: --format srt --format json"
        raise UsageError("-o is given twice, and the results go into one folder.", hint=hint)
    endings = {ending: spec.name for spec in registry.writers.values() for ending in spec.extensions}
    if folder.is_file() or (folder.suffix.lower() in endings and not folder.is_dir()):
        name = endings.get(folder.suffix.lower(), DEFAULT)
        hint = f"Type: -o {folder.with_suffix('')}/ --format {name}"
        raise UsageError(f"{several}, and -o {folder} is one file.", hint=hint)
    return absolute(folder)


def _writers(asked: Asked, registry: Registry) -> list[WriterSpec]:
    specs = [registry.writer(name) for name in dict.fromkeys(asked.formats or (DEFAULT,))]
    for spec in specs:
        registry.require(spec)
    return specs


def about(plan: Plan) -> list[Any]:
    """What transcripts that are made depend on, ready for JSON."""
    return [plan.spec.name, plan.package, {key: str(value) for key, value in plan.typed.items()}]


def _inputs(asked: Asked, plan: Plan | None) -> tuple[Callable[[Task], Inputs], dict[str, Any]]:
    """How a task's files are read, and what of that changes results."""
    columns = columns_from(asked.columns)
    if asked.speakers is not None and not asked.speakers.is_file():
        hint = "Name a YAML file: --speakers names.yaml"
        raise UsageError(f"There is no file {asked.speakers}.", hint=hint)

    def inputs_of(task: Task) -> Inputs:
        return Inputs(
            task.media,
            task.transcript,
            columns=columns,
            speakers=asked.speakers,
            format=asked.transcript_format,
            transcriber=plan if task.transcript is None else None,
        )

    settings = {
        "columns": columns,
        "speakers_sha256": None if asked.speakers is None else sha256_of(asked.speakers),
        "transcript_format": asked.transcript_format,
    }
    return inputs_of, settings


def _placed(asked: Asked) -> Callable[[dict[str, Placement]], None]:
    return lambda placements: say_placements(placements, asked.device, quiet=asked.quiet)
