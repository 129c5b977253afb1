"""`erc predict`: which emotion each utterance of a recording expresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options
from erc_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from erc_cli.registry import Registry
    from erc_cli.specs import WriterSpec
    from erc_cli.types import Result


@click.command(
    cls=Command,
    examples=(
        "erc predict video.mp4 --transcript video.srt",
        "erc predict talk.wav --transcript talk.vtt -o talk.csv -o talk.json",
        "erc predict video.mp4 --transcript t.srt --drop visual --json | jq .speakers",
        "erc predict talk.mp4 -t talk.csv --columns start=Begin,text=Words --speakers names.yaml -o talk.eaf",
    ),
)
@click.argument("media", required=False, type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--transcript",
    type=click.Path(path_type=Path),
    help="SRT, VTT, ASS, ELAN, TextGrid, RTTM, JSON, CSV or TSV.",
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
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option(
    "-o",
    "--output",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a file; its ending chooses the format.",
)
@click.option("--format", "output_format", metavar="NAME", help="The format of -o, whatever its ending.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
@device_options
@click.option("--offline", is_flag=True, help="Use no network. (This command never does.)")
@click.option("--force", is_flag=True, help="Overwrite existing outputs.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
def command(
    media: Path | None,
    transcript: Path | None,
    transcript_format: str | None,
    columns: tuple[str, ...],
    speakers: Path | None,
    preset: str,
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    settings: tuple[str, ...],
    output: tuple[Path, ...],
    output_format: str | None,
    as_json: bool,
    device: str,
    precision: str | None,
    offline: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Say which emotion each utterance of MEDIA expresses, who said it, and how sure that is.

    Without --transcript, a transcript of the medium's name beside it is used. Without MEDIA, the
    text alone is used.
    """
    from erc_cli import console
    from erc_cli.commands.work import Wanted, find_inputs, load, say, say_placements, talk, with_names
    from erc_cli.registry import load_registry

    registry = load_registry()
    inputs = find_inputs(media, transcript, registry, "Type: erc predict video.mp4 --transcript video.srt")
    inputs = with_names(inputs, columns, speakers)
    writers = choose_writers(output, registry, inputs.paths, force=force, format=output_format)
    say(inputs.note, quiet=quiet)
    wanted = Wanted(preset, drop, keep, settings, device, precision)
    with console.progress(quiet=quiet) as report:
        work = load(registry, wanted, inputs, transcript_format, report)
        say_placements(work.model.placements, device, quiet=quiet)
        result = work.answer(report)
    try:
        show(result, as_json=as_json)
        talk(result, quiet=quiet)
    finally:  # a full or closed stdout loses no file, and a file that fails, no answer
        for path, spec in write_all(result, writers, force=force):
            lost = f" (left out: {spec.leaves_out})" if spec.leaves_out else ""
            say(f"Written: {path}{lost}", quiet=quiet)


def choose_writers(
    outputs: tuple[Path, ...],
    registry: Registry,
    inputs: list[Path],
    *,
    force: bool,
    format: str | None = None,
) -> list[tuple[Path, WriterSpec]]:
    """The writer of each output, checked before any work is done; `format` is for all of them.

    Raises:
        UsageError: no format has that ending or name, the file is there already or an input, or
            its folder cannot be written.
    """
    from erc_cli.files import check_output

    if format is not None and not outputs:
        raise UsageError("--format is for -o, which is not given.", hint=f"Add: -o FILE --format {format}")
    named = None if format is None else registry.writer(format)
    by_ending = {ending: spec for spec in registry.writers.values() for ending in spec.extensions}
    chosen: list[tuple[Path, WriterSpec]] = []
    taken = {path.resolve(): path for path in inputs}
    for path in outputs:
        spec = named or _by_ending(path, by_ending)
        if path.resolve() in taken:
            other = taken[path.resolve()]
            what = f"the input {other}" if other in inputs else "named twice"
            raise UsageError(f"-o {path} is {what}.", hint="Give another name with -o.")
        taken[path.resolve()] = path
        registry.require(spec)
        check_output(path, force)
        chosen.append((path, spec))
    return chosen


def _by_ending(path: Path, known: Mapping[str, WriterSpec]) -> WriterSpec:
    ending = path.suffix.lower()
    other = "or name the format: --format NAME"
    if not ending:
        hint = f"{_endings(known)}, {other}"
        raise UsageError(f"-o {path} has no ending; for instance {path}.json.", hint=hint)
    if ending not in known:
        close = nearest(ending, known)
        hint = f"{_endings(known)}, {other}"
        raise UsageError(f"-o {path}: no result format ends in {ending!r}.{close}", hint=hint)
    return known[ending]


def _endings(known: Iterable[str]) -> str:
    return f"Endings: {', '.join(sorted(known))}"


def write_all(
    result: Result, writers: list[tuple[Path, WriterSpec]], *, force: bool
) -> Iterator[tuple[Path, WriterSpec]]:
    """Write every output, each whole or not at all; yields those that are written."""
    from erc_cli.files import atomic_write

    for path, spec in writers:
        with atomic_write(path, force) as draft:
            spec.write(result, draft)
        yield path, spec


def show(result: Result, *, as_json: bool) -> None:
    """The answer on stdout: the table and the summary, or the document."""
    from erc_cli import console

    if as_json:
        from erc_cli.result import to_dict

        console.print_json(to_dict(result))
        return
    from erc_cli import view

    out = console.out()
    out.print(view.result_table(result, out.width))
    out.print()
    out.print(view.speakers_table(result, out.width))
