"""`erc explain`: which words, utterances and modalities moved each answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli.click_parts import Command, device_options, recording_options
from erc_cli.errors import UsageError

if TYPE_CHECKING:
    from erc_cli.commands.work import Work
    from erc_cli.explain import Wanted
    from erc_cli.learning import Report
    from erc_cli.registry import Registry
    from erc_cli.specs import WriterSpec
    from erc_cli.types import Result

_HINT = "Type: erc explain video.mp4 --transcript video.srt"
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


@click.command(
    cls=Command,
    examples=(
        "erc explain video.mp4 --transcript video.srt",
        "erc explain video.mp4 -t video.srt --utterance 3,7-9",
        "erc explain talk.mp4 -t talk.srt -o talk.html -o talk.json",
        "erc explain --transcript talk.srt --json | jq '.utterances[].explanation'",
    ),
)
@click.argument("media", required=False, type=click.Path(path_type=Path))
@recording_options
@click.option(
    "-u", "--utterance", "numbers", multiple=True, metavar="N,…", help="Explain only these, as 3 or 2,5-7."
)
@click.option("--words/--no-words", default=True, show_default=True, help="Take away each word in turn.")
@click.option(
    "--context",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many utterances before and after to take away in turn, of those that are read.",
)
@click.option(
    "-o",
    "--output",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a file; its ending chooses the format.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
@device_options
@click.option("--force", is_flag=True, help="Overwrite existing outputs.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
def command(**typed: Any) -> None:
    """Show why each utterance of MEDIA gets its emotion.

    The words that matter, what each modality contributed, and what the utterances around it did: each is
    taken away, and the model is asked again. Numbers are log-odds of the emotion; what is positive speaks
    for it. Takes some seconds for ten utterances; --utterance and --no-words make it shorter.
    """
    from erc_cli.registry import load_registry

    _explain(Asked(**typed), load_registry())


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed, by option."""

    media: Path | None
    transcript: Path | None
    transcript_format: str | None
    columns: tuple[str, ...]
    speakers: Path | None
    preset: str
    drop: tuple[str, ...]
    keep: tuple[str, ...]
    settings: tuple[str, ...]
    numbers: tuple[str, ...]
    words: bool
    context: int
    output: tuple[Path, ...]
    as_json: bool
    device: str
    precision: str | None
    force: bool
    quiet: bool


def _explain(asked: Asked, registry: Registry) -> None:
    from erc_cli import console
    from erc_cli.commands.outputs import choose_writers, media_check
    from erc_cli.commands.work import Wanted, find_inputs, load, say, say_placements, talk, with_names

    quiet = asked.quiet
    spans = _spans(asked.numbers)
    inputs = with_names(
        find_inputs(asked.media, asked.transcript, registry, _HINT), asked.columns, asked.speakers
    )
    writers = choose_writers(asked.output, registry, inputs.paths, force=asked.force)
    say(inputs.note, quiet=quiet)
    wanted = Wanted(asked.preset, asked.drop, asked.keep, asked.settings, asked.device, asked.precision)
    with console.progress(quiet=quiet) as report:
        check = media_check(writers)
        work = load(registry, wanted, inputs, asked.transcript_format, report, check=check)
        what = _wanted(asked, spans, len(work.recording.transcript.utterances))
        say_placements(work.model.placements, asked.device, quiet=quiet)
        result = _explained(work, what, report)
    try:
        _show(result, as_json=asked.as_json, quiet=quiet)
        talk(result, quiet=quiet)
    finally:  # a full or closed stdout loses no file, and a file that fails, no answer
        _write(result, writers, asked)


def _explained(work: Work, what: Wanted, report: Report) -> Result:
    from erc_cli.explain import explain
    from erc_cli.prediction import check_judged

    heard = work.hear(report)
    result = work.answer_from(heard)
    check_judged(result)
    conversation = work.recording.conversation
    found = explain(work.model, conversation, heard.features, result.predictions, what, report=report)
    return replace(result, predictions=found)


def _spans(numbers: tuple[str, ...]) -> list[tuple[int, int]]:
    """First and last number of every part of `2,5-7`, counted from 1.

    Raises:
        UsageError: something else.
    """
    parts = [part.strip() for one in numbers for part in one.split(",")]
    found = []
    for part in parts:
        match = _SPAN.fullmatch(part)
        span = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= span[0] <= span[1]:
            raise UsageError(
                f"--utterance {part}: expected numbers of utterances, from 1.",
                hint="Type for instance: --utterance 3,7-9",
            )
        found.append(span)
    return found


def _wanted(asked: Asked, spans: list[tuple[int, int]], count: int) -> Wanted:
    """What to explain of a conversation of `count` utterances.

    Raises:
        UsageError: it has not so many.
    """
    from erc_cli.explain import Wanted

    most = max((last for _, last in spans), default=0)
    if most > count:
        has = f"there {'is' if count == 1 else 'are'} {count}"
        raise UsageError(f"--utterance {most}: {has}.", hint=f"Numbers go from 1 to {count}.")
    places = {i for first, last in spans for i in range(first - 1, last)}
    return Wanted(sorted(places) if spans else None, asked.words, asked.context)


def _show(result: Result, *, as_json: bool, quiet: bool) -> None:
    from rich.text import Text

    from erc_cli import console
    from erc_cli.explain_view import LEGEND, explained_table

    if as_json:
        from erc_cli.result import to_dict

        console.print_json(to_dict(result))
        return
    out = console.out()
    out.print(explained_table(result, out.width))
    console.err(quiet=quiet).print(Text(LEGEND, style="dim"), soft_wrap=True)


def _write(result: Result, writers: list[tuple[Path, WriterSpec]], asked: Asked) -> None:
    from functools import partial

    from erc_cli import console
    from erc_cli.commands.outputs import write_all
    from erc_cli.commands.work import say

    with console.progress(quiet=asked.quiet) as report:
        write_all(result, writers, force=asked.force, report=report, say=partial(say, quiet=asked.quiet))
