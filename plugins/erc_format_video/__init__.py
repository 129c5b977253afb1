"""The annotated video: the recording with faces, emotions and words drawn into its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Report
from erc_cli.specs import WriterSpec
from erc_cli.types import MediaInfo, Result


def _write(
    result: Result,
    path: Path,
    *,
    report: Report = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """`report` hears of the seconds that are done, `say` of sound that could not be copied as it is."""
    from erc_format_video.writer import write

    write(result, path, report=report, say=say)


def _check(media: MediaInfo | None) -> None:
    """No video of sound or of a text alone: told before anything is computed."""
    from erc_format_video.refusals import with_pictures

    with_pictures(media)


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """The writer `video`."""
    return (
        WriterSpec(
            "video",
            (".mp4", ".mkv", ".mov"),
            "the recording with faces, emotion and words drawn into it",
            _write,
            needs=("PIL", "matplotlib"),
            extra="video",
            leaves_out="the labels that did not win, modalities",
            check=_check,
        ),
    )
