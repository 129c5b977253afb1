"""How the page gets at the recording: a link relative to the page, or the bytes inside it."""

from __future__ import annotations

import base64
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from erc_cli.errors import UsageError
from erc_cli.types import MediaInfo

#: bytes of a recording that `embed` takes: beyond, browsers are slow to open the page
LARGEST = 64_000_000
_TYPES = {".mkv": "video/x-matroska", ".m4a": "audio/mp4", ".flac": "audio/flac", ".opus": "audio/ogg"}


@dataclass(frozen=True, slots=True)
class Medium:
    """`kind` is video or audio; `source` a URL relative to the page, empty where `content` has it all.

    `content`: the file in Base64, `type` its media type.
    """

    kind: str
    name: str
    type: str
    source: str
    content: str = ""


def medium_of(info: MediaInfo | None, page: Path, *, embed: bool) -> Medium | None:
    """The recording as the page at `page` needs it; None where there is none.

    Raises:
        UsageError: `embed`, and there is no recording, it cannot be read, or it is too large.
    """
    if info is None:
        if embed:
            raise UsageError(
                "There is no recording to embed: the result has none.", hint="Leave out --embed."
            )
        return None
    kind = "video" if info.video else "audio"
    name = _readable(info.path.name)
    guessed = mimetypes.guess_type(info.path.name)[0]
    content_type = _TYPES.get(info.path.suffix.lower()) or guessed or f"{kind}/mp4"
    if embed:
        return Medium(kind, name, content_type, "", _content(info.path))
    return Medium(kind, name, content_type, link(info.path, page.parent))


def link(path: Path, folder: Path) -> str:
    """A URL of `path` as seen from a page in `folder`; absolute only across Windows drives."""
    target = Path(os.path.abspath(path))  # noqa: PTH100 - links stay links: that is how the user named it
    try:
        relative = Path(os.path.relpath(target, folder.resolve()))
    except ValueError:  # another drive
        return target.as_uri()
    # quote() also hides ":", which would make a scheme of the name's beginning
    return quote(os.fsencode(relative.as_posix()))


def _content(path: Path) -> str:
    hint = "Leave out --embed: the page then links to it, and --media FILE says where it is."
    try:
        size = path.stat().st_size
        if size > LARGEST:
            found = f"{size / 1e6:,.0f} MB, and a page holds at most {LARGEST / 1e6:.0f} MB"
            raise UsageError(f"{path} is too large to embed: {found}.", hint=hint)
        return base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise UsageError(f"{path} cannot be embedded: {error.strerror}.", hint=hint) from None


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", errors="replace")
