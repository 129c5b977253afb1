"""Which transcript belongs to a medium: the one of its name beside it."""

from __future__ import annotations

import re
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.registry import Registry

#: what is taken first of the files beside a medium
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
#: what is taken last, because it says who speaks, but not what
WORDLESS = (".rttm",)
#: endings that are usually written with capitals
SPELT = {".textgrid": ".TextGrid"}
NAME_IT = "Name it with --transcript FILE, or have speech cut without words: --transcriber segments"


def find_transcript(media: Path, registry: Registry) -> Path:
    """The transcript of the medium's name beside it: subtitles first, never a result of ours.

    Raises:
        UsageError: there is none, or the medium itself is not there.
    """
    if not media.is_file():
        from erc_cli.media import probe

        probe(media)  # says what is wrong with it
    found = transcript_named(media, registry)
    if found is not None:
        return found
    endings = ", ".join(endings_of(registry))
    raise UsageError(f"No transcript given, and none beside {media} ({media.stem}{endings}).", hint=NAME_IT)


def transcript_named(path: Path, registry: Registry) -> Path | None:
    """The first transcript in the folder of `path` that is named like it but for the ending."""
    spelt = [
        name
        for ending in endings_of(registry)
        for name in (ending, ending.upper(), SPELT.get(ending, ending))
    ]
    for other in map(path.with_suffix, spelt):
        if other.is_file() and other != path and not own_result(other):
            return other
    return None


def endings_of(registry: Registry) -> list[str]:
    """The endings of transcripts, in the order in which they are taken."""
    known = [ending for spec in registry.readers.values() for ending in spec.extensions]
    first = [ending for ending in SUBTITLES if ending in known]
    last = [ending for ending in WORDLESS if ending in known]
    return [*first, *(ending for ending in known if ending not in (*first, *last)), *last]


def own_result(path: Path) -> bool:
    """Whether a JSON, JSON lines, table or RTTM is what `erc predict -o` once wrote."""
    if path.suffix.lower() in SUBTITLES:
        return False
    try:
        stream = path.open("rb")
    except OSError:  # who reads it will say why that cannot be done
        return False
    with stream:
        head = stream.read(65536).decode("utf-8", errors="replace").lstrip("\ufeff")
    first = head.partition("\n")[0]
    cells = {cell.strip(' "\r') for cell in re.split(r"[,;\t|]", first)}
    table = "confidence" in cells and any(cell.startswith("p_") for cell in cells)
    line = first.startswith("{") and '"modalities"' in first and '"probabilities"' in first
    turns = head.startswith("SPEAKER ") and "\nNON-LEX " in head
    return table or line or turns or bool(re.match(r'\s*\{\s*"schema"\s*:\s*"erc\.', head))
