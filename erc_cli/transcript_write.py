"""A transcript as a file that can be corrected and given back: SubRip, WebVTT or JSON.

What has no words gets `[speech]`, which the readers take for no words; put words in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.files import atomic_write, check_output
from erc_cli.transcripts import WORDLESS
from erc_cli.types import Transcript, Utterance

_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def check_transcript_path(path: Path, force: bool = False) -> None:
    """Whether a transcript can be written there, for commands to find out before the long work.

    Raises:
        UsageError: another ending, the file is there already, or its folder is missing or read-only.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"--save-transcript {path}: a transcript is saved as {', '.join(_WRITERS)}.",
            hint=f"For instance: --save-transcript {path.with_suffix('.srt') if path.name else 't.srt'}",
        )
    check_output(path, force)


def write_transcript(transcript: Transcript, path: Path, force: bool = False) -> None:
    """Write the utterances, whole or not at all, in the format of the path's ending.

    Raises:
        UsageError: as `check_transcript_path`.
        ErcError: the disk is full.
    """
    check_transcript_path(path, force)
    text = _WRITERS[path.suffix.lower()](transcript.utterances)
    with atomic_write(path, force) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def _srt(utterances: Sequence[Utterance]) -> str:
    """`SPEAKER: text`, times in milliseconds."""
    cues = []
    for number, one in enumerate(utterances, 1):
        # An arrow would pass for times, and `<` for a tag.
        words = _words(one).replace("-->", "→").replace("<", "‹")
        said = f"{_line(one.speaker)}: {words}" if one.speaker else words
        cues.append(f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{said}\n")
    return "\n".join(cues)


def _vtt(utterances: Sequence[Utterance]) -> str:
    """The speaker in a voice tag."""
    cues = ["WEBVTT\n"]
    for number, one in enumerate(utterances, 1):
        said = _escaped(_words(one))
        if one.speaker:
            said = f"<v {_escaped(_line(one.speaker))}>{said}</v>"
        cues.append(f"{number}\n{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{said}\n")
    return "\n".join(cues)


def _json(utterances: Sequence[Utterance]) -> str:
    """`{"segments": [...]}`, as whisperX writes it; times in seconds."""
    rows = [
        {
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "text": _words(one),
            **({"speaker": one.speaker} if one.speaker else {}),
        }
        for one in utterances
    ]
    return json.dumps({"segments": rows}, ensure_ascii=False, indent=1) + "\n"


_WRITERS: Mapping[str, Callable[[Sequence[Utterance]], str]] = {".srt": _srt, ".vtt": _vtt, ".json": _json}


def _words(one: Utterance) -> str:
    return _line(one.text) or WORDLESS


def _line(text: str | None) -> str:
    """Text without line breaks, which end a cue, and without control characters."""
    return " ".join(_ILLEGAL.sub(" ", text or "").split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    whole = max(0, round(seconds * 1000))
    hours, rest = divmod(whole, 3_600_000)
    return f"{hours:02d}:{rest // 60_000:02d}:{rest // 1000 % 60:02d}{point}{rest % 1000:03d}"
