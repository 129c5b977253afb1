"""Subtitles into utterances: the tolerant front, pysubs2, and `build_transcript`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pysubs2

from erc_cli.transcripts import Cue, build_transcript, read_bytes_as_text
from erc_cli.types import Transcript
from erc_format_subtitles.front import COLON, repair, repair_ass

_OURS = re.compile(
    r"(?:<(?:font color=\"#[0-9a-f]{6}\"|c\.emotion\.[a-z0-9-]+)>)?"
    r"\[(?:uncertain|[^\[\]]{1,40} \d{1,3}%)\](?:</(?:font|c)>)?$"
)


def read(name: str, path: Path) -> Transcript:
    """The transcript in a file of format `srt`, `vtt` or `ass`.

    Raises:
        UsageError: the file is missing, empty or not text.
    """
    text = read_bytes_as_text(path)
    repaired = repair_ass(text) if name == "ass" else repair(text, vtt=name == "vtt")
    subtitles = pysubs2.SSAFile.from_string(repaired.text, format_=name, keep_html_tags=True)
    cues = [
        Cue(start, end, event.text.replace(COLON, ":"), event.name.strip() or None, line)
        for event, (line, start, end) in zip(subtitles.events, repaired.places, strict=True)
    ]
    return build_transcript(_without_emotions(cues), name, repaired.notices, path)


def _without_emotions(cues: Sequence[Cue]) -> list[Cue]:
    """The cues without the `[joy 61%]` that our own writers add, if every one of them has it.

    Our ASS has the speaker in a field of its own and before the words; there it goes, too.
    """
    trimmed = [replace(cue, text=cue.text.rstrip()) for cue in cues]
    if not all(_OURS.search(cue.text) for cue in trimmed):
        return trimmed
    bare = [replace(cue, text=_OURS.sub("", cue.text)) for cue in trimmed]
    return [replace(cue, text=cue.text.removeprefix(f"{cue.speaker}: ")) for cue in bare]
