"""The example conversation that comes with erc."""

from __future__ import annotations

from pathlib import Path

from erc_cli.errors import ErcError


def example_files() -> tuple[Path, Path]:
    """Its medium and transcript: inside the package in a wheel, beside it in a checkout.

    Raises:
        ErcError: the installation lacks them.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "examples", package.parent / "examples"):
        media, transcript = folder / "conversation.mp4", folder / "conversation.srt"
        if media.is_file() and transcript.is_file():
            return media, transcript
    raise ErcError(
        "The example is not installed.", hint="Give a file: erc ablate video.mp4 --transcript t.srt"
    )
