"""`erc predict`: which emotion each utterance of a recording expresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from erc_cli import completion
from erc_cli.click_parts import Command
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
    ),
)
@click.argument("media", required=False, type=click.Path(path_type=Path))
@click.option("-t", "--transcript", type=click.Path(path_type=Path), help="SRT, VTT, ASS, JSON, CSV or TSV.")
@click.option("--transcript-format", metavar="NAME", help="Its format, where name and content mislead.")
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
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--offline", is_flag=True, help="Use no network. (This command never does.)")
@click.option("--force", is_flag=True, help="Overwrite existing outputs.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
def command(
    media: Path | None,
    transcript: Path | None,
    transcript_format: str | None,
    preset: str,
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    settings: tuple[str, ...],
    output: tuple[Path, ...],
    as_json: bool,
    device: str,
    offline: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Say which emotion each utterance of MEDIA expresses, who said it, and how sure that is.

    Without --transcript, a transcript of the medium's name beside it is used. Without MEDIA, the
    text alone is used.
    """
    from erc_cli import console
    from erc_cli.commands.work import Wanted, find_inputs, load, say, talk
    from erc_cli.registry import load_registry

    registry = load_registry()
    inputs = find_inputs(media, transcript, registry, "Type: erc predict video.mp4 --transcript video.srt")
    writers = choose_writers(output, registry, inputs.paths, force=force)
    say(inputs.note, quiet=quiet)
    wanted = Wanted(preset, drop, keep, settings, device)
    with console.progress(quiet=quiet) as report:
        result = load(registry, wanted, inputs, transcript_format, report).answer(report)
    try:
        show(result, as_json=as_json)
        talk(result, quiet=quiet)
    finally:  # a full or closed stdout loses no file, and a file that fails, no answer
        for path in write_all(result, writers, force=force):
            say(f"Written: {path}", quiet=quiet)


def choose_writers(
    outputs: tuple[Path, ...], registry: Registry, inputs: list[Path], *, force: bool
) -> list[tuple[Path, WriterSpec]]:
    """The writer of each output, checked before any work is done.

    Raises:
        UsageError: no format has that ending, the file is there already or an input, or its
            folder cannot be written.
    """
    from erc_cli.files import check_output

    by_ending = {ending: spec for spec in registry.writers.values() for ending in spec.extensions}
    chosen: list[tuple[Path, WriterSpec]] = []
    taken = {path.resolve(): path for path in inputs}
    for path in outputs:
        ending = path.suffix.lower()
        if not ending:
            raise UsageError(f"-o {path} has no ending; for instance {path}.json.", hint=_endings(by_ending))
        if ending not in by_ending:
            raise UsageError(
                f"-o {path}: no result format ends in {ending!r}.{nearest(ending, by_ending)}",
                hint=_endings(by_ending),
            )
        if path.resolve() in taken:
            other = taken[path.resolve()]
            what = f"the input {other}" if other in inputs else "named twice"
            raise UsageError(f"-o {path} is {what}.", hint="Give another name with -o.")
        taken[path.resolve()] = path
        registry.require(by_ending[ending])
        check_output(path, force)
        chosen.append((path, by_ending[ending]))
    return chosen


def _endings(known: Iterable[str]) -> str:
    return f"Endings: {', '.join(sorted(known))}"


def write_all(result: Result, writers: list[tuple[Path, WriterSpec]], *, force: bool) -> Iterator[Path]:
    """Write every output, each whole or not at all; yields those that are written."""
    from erc_cli.files import atomic_write

    for path, spec in writers:
        with atomic_write(path, force) as draft:
            spec.write(result, draft)
        yield path


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
