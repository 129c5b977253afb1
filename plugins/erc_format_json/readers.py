"""JSON into utterances.

Taken: our `erc.result/1`; `{"segments": [...]}` as whisperX, Whisper and faster-whisper write it
(diarised segments carry `speaker`); a bare list of such objects; and the same, one per line. An
element has `start`, `end` (seconds, or hh:mm:ss.mmm), `text` and perhaps `speaker`. A segment
without times takes those of its `words`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError
from erc_cli.transcripts import Cue, build_transcript, parse_time, plain_text, read_bytes_as_text
from erc_cli.types import Notice, Transcript

_EXPECTED = (
    'Expected {"segments": [{"start": 1.0, "end": 2.5, "text": "…", "speaker": "…"}]} as whisperX writes it, '
    "or a result of `erc predict -o FILE.json`."
)


def read_json(path: Path) -> Transcript:
    """A JSON document with `utterances` (ours) or `segments` (whisperX), or a bare list.

    Raises:
        UsageError: not JSON, or JSON of another shape.
    """
    document = _loads(read_bytes_as_text(path), path, None)
    ours = isinstance(document, dict) and str(document.get("schema", "")).startswith("erc.result/")
    rows = document
    if isinstance(document, dict):
        rows = document.get("utterances" if ours else "segments", document.get("utterances"))
    if not isinstance(rows, list):
        shown = type(document).__name__
        if isinstance(document, dict):
            shown = f"an object with {', '.join(map(repr, document))[:200] or 'no keys'}"
        raise UsageError(f"{path} is JSON of another shape: {shown}.", hint=_EXPECTED)
    return _transcript([(None, row) for row in rows], "json", path, ours=ours)


def read_lines(path: Path) -> Transcript:
    """One JSON object per line, as `erc predict -o FILE.jsonl` writes them.

    Raises:
        UsageError: a line is not JSON.
    """
    lines = read_bytes_as_text(path).split("\n")
    rows = [(number, _loads(line, path, number)) for number, line in enumerate(lines, 1) if line.strip()]
    ours = all(isinstance(row, dict) and "modalities" in row for _, row in rows)
    return _transcript(rows, "jsonl", path, ours=ours)


def _loads(text: str, path: Path, line: int | None) -> Any:
    where = f"line {line} of {path}" if line else str(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if line else f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{where} is not JSON: {error.msg} ({place}).", hint=_EXPECTED) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is JSON that cannot be read: {error}.", hint=_EXPECTED) from error


def _transcript(rows: Sequence[tuple[int | None, Any]], format: str, path: Path, *, ours: bool) -> Transcript:
    notices: list[Notice] = []
    cues: list[Cue] = []
    for index, (line, row) in enumerate(rows):
        cue = _cue(row, line, ours=ours)
        if cue is None:
            message = f"Segment {index} has no times or no text; it was left out."
            notices.append(Notice("cue_times", message, line))
        else:
            cues.append(cue)
    found = not ours and all(cue.speaker is None for cue in cues)
    return build_transcript(cues, format, notices, path, speakers_from_text=found, markup=False)


def _cue(row: Any, line: int | None, *, ours: bool) -> Cue | None:
    """The cue of one element, or None where it lacks times or text."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return None
    start, end = parse_time(row.get("start")), parse_time(row.get("end"))
    words = row.get("words")
    if (start is None or end is None) and isinstance(words, list):
        # Words that whisperX could not align have no times of their own.
        timed = [word for word in words if isinstance(word, dict)]
        starts = [time for word in timed if (time := parse_time(word.get("start"))) is not None]
        ends = [time for word in timed if (time := parse_time(word.get("end"))) is not None]
        start = min(starts, default=None) if start is None else start
        end = max(ends, default=None) if end is None else end
    if start is None or end is None:
        return None
    speaker = row.get("speaker")
    text = row["text"] if ours else plain_text(row["text"])
    return Cue(start, end, text, speaker if isinstance(speaker, str) else None, line)
