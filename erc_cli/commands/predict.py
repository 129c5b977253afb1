"""`erc predict`: which emotion each utterance of a recording expresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options, probability
from erc_cli.commands.outputs import choose_writers
from erc_cli.errors import UsageError

if TYPE_CHECKING:
    from erc_cli.prediction import Wanted
    from erc_cli.registry import Registry
    from erc_cli.transcribing import Plan

__all__ = ["Asked", "choose_writers", "command", "predict_one"]

SLASHES = tuple(filter(None, (os.sep, os.altsep)))


@click.command(
    cls=Command,
    examples=(
        "erc predict video.mp4 --transcript video.srt",
        "erc predict talk.wav --transcript talk.vtt -o talk.csv -o talk.json",
        "erc predict video.mp4 --transcript t.srt --drop visual --json | jq .speakers",
        "erc predict talk.mp4 -t talk.csv --columns start=Begin,text=Words --speakers names.yaml -o talk.eaf",
        "erc predict talk.mp4 --drop audio --jsonl - | jq .label",
        "erc predict talk.mp4 --min-confidence 0.6 -o talk.html",
        "erc predict talk.wav --transcriber segments --save-transcript talk.srt",
        "erc predict recordings/ -o results/ --format json --format srt --jobs 4",
    ),
)
@click.argument("media", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--transcript",
    type=click.Path(path_type=Path),
    help="SRT, VTT, ASS, ELAN, TextGrid, RTTM, JSON, CSV or TSV; or a folder of them.",
)
@click.option("--transcript-format", metavar="NAME", help="Its format, where name and content mislead.")
@click.option(
    "--columns", multiple=True, metavar="F=NAME,…", help="What a table calls start, end, text, speaker."
)
@click.option(
    "--speakers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML that renames or merges them.",
)
@click.option(
    "-p",
    "--preset",
    shell_complete=completion.presets,
    default="default",
    show_default=True,
    help="A preset, YAML file or run folder.",
)
@click.option(
    "--drop",
    multiple=True,
    shell_complete=completion.modalities,
    metavar="M",
    help="Leave out text, audio or visual.",
)
@click.option(
    "--keep", multiple=True, shell_complete=completion.modalities, metavar="M", help="Leave out all others."
)
@click.option(
    "--transcriber",
    metavar="NAME",
    help="Make the transcript: segments (no words), whisper. Of several recordings: where there is none.",
)
@click.option(
    "--save-transcript",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep it, to be corrected and given back (SRT, VTT, JSON).",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="K=V",
    help="Change an option of the preset, or of the transcriber (transcriber.K=V).",
)
@click.option(
    "-o",
    "--output",
    multiple=True,
    type=click.Path(),
    metavar="FILE|DIR",
    help="Write a file; its ending chooses the format. Of several recordings: the folder of the results.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="The format of -o, whatever its ending; for a folder several.  [default there: json]",
)
@click.option(
    "--min-confidence",
    callback=probability,
    metavar="P",
    default="0",
    help="Label an utterance uncertain where no emotion has a probability of at least P, from 0 to 1. "
    "As far as a preset is calibrated (see its card; faces are not), of utterances with 0.6 about 60 % are "
    "right, in talk like its data.  [default: 0, never]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
@click.option("--jsonl", metavar="-", help="Print each utterance as a line of JSON as soon as it is settled.")
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Recordings at a time, with -o DIR."
)
@click.option("--fail-fast", is_flag=True, help="With -o DIR: stop at the first recording that fails.")
@device_options
@click.option("--offline", is_flag=True, help="Use no network. (This command never does.)")
@click.option("--force", is_flag=True, help="Overwrite existing outputs, do all recordings of a folder anew.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
@click.pass_context
def command(context: click.Context, /, **typed: Any) -> None:
    """Say which emotion each utterance of MEDIA expresses, who said it, and how sure that is.

    Without --transcript, a transcript of the medium's name beside it is used. Without MEDIA, the
    text alone is used.

    MEDIA may also be a folder, a pattern in quotes, a list (.txt, a path a line), or several of them,
    with -o DIR. What was cut off goes on where it was: type the same command again. The exit code is 3
    when some of the recordings failed.
    """
    from erc_cli.registry import load_registry

    asked = Asked(**typed)
    registry = load_registry()
    if asked.several:
        from erc_cli.commands.predict_batch import predict_all

        context.exit(predict_all(asked, registry))
    predict_one(asked, registry)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed, by option."""

    media: tuple[Path, ...]
    transcript: Path | None
    transcript_format: str | None
    columns: tuple[str, ...]
    speakers: Path | None
    preset: str
    drop: tuple[str, ...]
    keep: tuple[str, ...]
    transcriber: str | None
    save_transcript: Path | None
    settings: tuple[str, ...]
    output: tuple[str, ...]
    formats: tuple[str, ...]
    min_confidence: float
    as_json: bool
    jsonl: str | None
    jobs: int
    fail_fast: bool
    device: str
    precision: str | None
    offline: bool
    force: bool
    quiet: bool

    @property
    def several(self) -> bool:
        """Whether results go into a folder: of several recordings, or of one where that was typed."""
        from erc_cli.batch_find import stands_for_several

        folder = any(name.endswith(SLASHES) or Path(name).is_dir() for name in self.output)
        scripts = not self.media and self.transcript is not None and self.transcript.is_dir()
        return folder or scripts or len(self.media) > 1 or any(map(stands_for_several, self.media))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What `-o` names."""
        return tuple(map(Path, self.output))

    @property
    def wanted(self) -> Wanted:
        """The preset and what is changed about it."""
        from erc_cli.prediction import Wanted
        from erc_cli.transcribing import split_settings

        settings, _ = split_settings(self.settings)
        where = self.device, self.precision
        return Wanted(self.preset, self.drop, self.keep, settings, *where, self.min_confidence)

    def plan(self, registry: Registry) -> Plan | None:
        """The transcriber that is wanted, if any.

        Raises:
            UsageError: it or one of its options is not there, or only its options were given.
            ErcError: a library is missing.
        """
        from erc_cli.transcribing import plan, split_settings

        if self.save_transcript is not None and self.transcriber is None:
            raise UsageError(
                "--save-transcript keeps what a transcriber makes, and none is named.",
                hint="Add: --transcriber segments",
            )
        _, settings = split_settings(self.settings)
        made = plan(self.transcriber, settings, registry, device=self.device, precision=self.precision)
        if made is not None:
            made.save, made.force = self.save_transcript, self.force
        return made


def predict_one(asked: Asked, registry: Registry) -> None:
    """One recording: the answer on stdout, and what `-o` names.

    Raises:
        ErcError: see `erc_cli.prediction`.
    """
    from erc_cli import console
    from erc_cli.commands.outputs import media_check, write_all
    from erc_cli.commands.screen import Screen
    from erc_cli.commands.work import (
        find_inputs,
        load,
        say,
        say_placements,
        talk,
        to_transcribe,
        with_names,
    )

    hint = "Type: erc predict video.mp4 --transcript video.srt"
    medium, made = next(iter(asked.media), None), asked.plan(registry)
    if made is None:
        inputs = find_inputs(medium, asked.transcript, registry, hint)
    else:
        inputs = to_transcribe(medium, asked.transcript, made)
    inputs = with_names(inputs, asked.columns, asked.speakers)
    if len(asked.formats) > 1:
        hint = "Several formats are for a folder: -o DIR/ --format srt --format json"
        raise UsageError("--format is given twice, and is for every -o FILE.", hint=hint)
    named = next(iter(asked.formats), None)
    kept = [path for path in (asked.save_transcript,) if path is not None]
    taken = [*inputs.paths, *kept]
    writers = choose_writers(asked.outputs, registry, taken, force=asked.force, format=named)
    say(inputs.note, quiet=asked.quiet)
    screen = Screen.of(asked)
    with console.progress(quiet=asked.quiet, screen=screen.bars) as report:
        check = media_check(writers)
        work = load(registry, asked.wanted, inputs, asked.transcript_format, report, check=check)
        for path in kept:
            say(f"Written: {path}", quiet=asked.quiet)
        say_placements(work.model.placements, asked.device, quiet=asked.quiet)
        rows = screen.rows(work, go_on=bool(writers))
        result = work.answer(report) if rows is None else work.answer_live(rows, report)
    try:
        screen.show(result, rows)
        talk(result, quiet=asked.quiet)
    finally:  # a full or closed stdout loses no file, and a file that fails, no answer
        with console.progress(quiet=asked.quiet) as report:
            write_all(result, writers, force=asked.force, report=report, say=partial(say, quiet=asked.quiet))
