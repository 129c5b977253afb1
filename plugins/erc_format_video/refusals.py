"""Which recordings no annotated video can be made of."""

from __future__ import annotations

from erc_cli.errors import UsageError
from erc_cli.types import MediaInfo


def with_pictures(media: MediaInfo | None) -> MediaInfo:
    """The recording, if it has pictures to draw into.

    Raises:
        UsageError: there is none, or it has sound only.
    """
    if media is None:
        raise UsageError(
            "A video needs a recording, and there are words only.",
            hint="Name it: erc predict VIDEO --transcript FILE, or erc report RESULT.json --media VIDEO",
        )
    if not media.video:
        raise UsageError(
            f"{media.path} has sound only: there are no pictures to draw into.",
            hint="Write a page or subtitles: -o out.html, -o out.ass",
        )
    return media
