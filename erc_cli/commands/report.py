"""`erc report`: a saved result as a page, another format, or its timeline as a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from erc_cli.click_parts import Command
from erc_cli.errors import ErcError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from erc_cli.registry import Registry
    from erc_cli.specs import WriterSpec
    from erc_cli.types import Result

PAGE = ".html"


@click.command(
    cls=Command,
    examples=(
        "erc predict talk.mp4 --transcript talk.srt -o talk.json",
        "erc report talk.json",
        "erc report talk.json -o to-send.html --embed --title 'Our talk'",
        "erc report talk.json --png timeline.png",
        "erc report talk.json -o annotated.mp4",
    ),
)
@click.argument("result", type=click.Path(path_type=Path), metavar="RESULT.json")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page, or another format by its ending.  [default: RESULT.html, unless there is --png]",
)
@click.option(
    "--png", "picture", type=click.Path(path_type=Path), metavar="FILE", help="The timeline as a picture."
)
@click.option(
    "--media", type=click.Path(path_type=Path), metavar="FILE", help="The recording, if it has moved."
)
@click.option("--embed", is_flag=True, help="Put the recording into the page (up to 64 MB).")
@click.option("--title", default="", help="Instead of the recording's name.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    result: Path,
    output: Path | None,
    picture: Path | None,
    media: Path | None,
    embed: bool,
    title: str,
    force: bool,
    quiet: bool,
) -> None:
    """Make a page of a result: player, timeline, table, summary per speaker.

    RESULT.json is what `erc predict -o RESULT.json` wrote. The page is one file that opens from disk
    and uses no network. It plays the recording from where it lies; --embed puts it inside. Any other
    format that erc predict writes can be made as well, such as the annotated video.
    """
    from erc_cli.commands.work import say
    from erc_cli.files import atomic_write
    from erc_cli.registry import load_registry
    from erc_cli.report_media import with_media
    from erc_cli.result_read import read_result

    page = result.with_suffix(PAGE) if output is None and picture is None else output
    if embed and page is None:
        raise UsageError("--embed is about the page, and --png alone makes none.", hint="Name one with -o.")
    options = {name: value for name, value in (("title", title), ("embed", embed)) if value}
    writer = _writer(page, load_registry(), options) if page is not None else None
    _check([path for path in (page, picture) if path is not None], [result, media], force=force)
    if picture is not None and find_spec("matplotlib") is None:
        raise ErcError("--png needs matplotlib.", hint="Type: pip install 'erc-cli[report]'")
    found, notes = with_media(read_result(result), result.parent, media)
    if page is not None and writer is not None:
        for note in notes if PAGE in writer.extensions else ():  # others refuse what they cannot use
            say(note, quiet=quiet)
        _write(writer, found, page, options, force=force, quiet=quiet)
    if picture is not None:
        from erc_cli.timeline_png import draw

        with atomic_write(picture, force) as draft:
            draw(found, draft, title=title)
        say(f"Written: {picture}", quiet=quiet)


def _writer(page: Path, registry: Registry, options: Mapping[str, object]) -> WriterSpec:
    """The plugin that writes the page, or what the ending says; it must take our options."""
    from erc_cli.options import NOTHING, schema
    from erc_cli.saving import writer_of

    if not page.suffix:
        raise UsageError(
            f"-o {page} has no ending.", hint=f"Type: -o {page.with_suffix(PAGE)}, or --png FILE"
        )
    if page.suffix.lower() == ".png":
        raise UsageError(f"-o {page}: a picture of the timeline is --png.", hint=f"Type: --png {page}")
    spec = writer_of(page, registry)
    registry.require(spec)
    refused = sorted(set(options) - set(schema(spec.write, NOTHING)))
    if refused:
        raise UsageError(
            f"--{refused[0]} is about the page, and {page.name} is none.",
            hint=f"Leave it out, or name a page: -o {page.with_suffix(PAGE)}",
        )
    return spec


def _write(
    writer: WriterSpec, found: Result, page: Path, options: Mapping[str, object], *, force: bool, quiet: bool
) -> None:
    from functools import partial

    from erc_cli import console
    from erc_cli.commands.work import say
    from erc_cli.writing import write_result

    tell = partial(say, quiet=quiet)
    with console.progress(quiet=quiet) as report:
        write_result(writer, found, page, force=force, report=report, say=tell, **options)
    lost = f" (left out: {writer.leaves_out})" if writer.leaves_out else ""
    tell(f"Written: {page}{lost}")


def _check(outputs: list[Path], inputs: list[Path | None], *, force: bool) -> None:
    """Every output can be written, and none is an input or another output."""
    from erc_cli.files import check_output

    taken = {path.resolve(): f"the input {path}" for path in inputs if path is not None}
    for path in outputs:
        if path.resolve() in taken:
            raise UsageError(f"{path} is {taken[path.resolve()]}.", hint="Give another name with -o.")
        taken[path.resolve()] = "named twice"
        check_output(path, force)
