"""Where the recording of a saved result is now."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.types import MediaInfo, Result


def with_media(result: Result, folder: Path, named: Path | None) -> tuple[Result, list[str]]:
    """The result with its recording's path as it is found, and what is to be said about that.

    `named` is what the user says; else the path in the result counts as it is, as seen from `folder`
    (the result's), and by its name in `folder`.

    Raises:
        UsageError: `named` is not there, or cannot be played.
    """
    if named is not None:
        return _named(result, named)
    if result.media is None:
        return result, []
    path = result.media.path
    if path.is_file():
        return result, []
    for candidate in (folder / path, folder / path.name):
        if candidate.is_file():
            return _moved(result, result.media, candidate)
    where = f"The recording {path} is not there; the page will ask for it."
    return result, [f"{where} If it has moved: --media FILE"]


def _named(result: Result, named: Path) -> tuple[Result, list[str]]:
    if not named.is_file():
        raise UsageError(f"There is no recording {named}.", hint="Name a file with --media.")
    if result.media is None:
        from erc_cli.media import probe

        return replace(result, media=probe(named)), []
    return _moved(result, result.media, named)


def _moved(result: Result, media: MediaInfo, path: Path) -> tuple[Result, list[str]]:
    found = replace(result, media=replace(media, path=path))
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == media.sha256
    said = f"{path} is another file than the one that the result is about (its SHA-256 differs)."
    return found, [] if same else [said]
