"""JSON into utterances.

Taken: our `erc.result/1`; `{"segments": [...]}` as whisperX, Whisper and faster-whisper write it;
`{"transcription": [...]}` of whisper.cpp; `{"utterances": [...]}`; a bare list of such objects; and the
same, one per line. An element has `start`, `end` (seconds, milliseconds or hh:mm:ss.mmm: see
`erc_cli.times`), `text` and perhaps `speaker`; whatever lacks is made good from its `words`, and a
segment in which the words have several speakers becomes several utterances.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError, nearest
from erc_cli.times import unit_of
from erc_cli.transcripts import Cue, build_transcript, parse_time, plain_text, read_bytes_as_text
from erc_cli.types import Notice, Transcript

_EXPECTED = (
    'Expected {"segments": [{"start": 1.0, "end": 2.5, "text": "…", "speaker": "…"}]} as whisperX writes it, '
    "or a result of `erc predict -o FILE.json`."
)
_LISTS = ("segments", "utterances", "transcription", "results")
_FIELDS = ("start", "end", "text", "speaker")
_MANY = 1_000_000


def read_json(path: Path, columns: Mapping[str, str] | None = None) -> Transcript:
    """A JSON document with `utterances` (ours) or `segments` (whisperX), or a bare list.

    `columns`: start, end, text or speaker -> the key that stands for it.

    Raises:
        UsageError: not JSON, or JSON of another shape.
    """
    document = load(read_bytes_as_text(path), path, None)
    ours = isinstance(document, dict) and str(document.get("schema", "")).startswith("erc.result/")
    rows = document
    if isinstance(document, dict):
        keys = ("utterances",) if ours else _LISTS
        rows = next((document[key] for key in keys if isinstance(document.get(key), list)), None)
    if not isinstance(rows, list):
        shown = type(document).__name__
        if isinstance(document, dict):
            shown = f"an object with {', '.join(map(repr, document))[:200] or 'no keys'}"
        raise UsageError(f"{path} is JSON of another shape: {shown}.", hint=_EXPECTED)
    return _transcript([(None, row) for row in rows], "json", path, columns or {}, ours=ours)


def read_lines(path: Path, columns: Mapping[str, str] | None = None) -> Transcript:
    """One JSON object per line, as `erc predict -o FILE.jsonl` writes them.

    Raises:
        UsageError: a line is not JSON.
    """
    lines = read_bytes_as_text(path).split("\n")
    rows = [(number, load(line, path, number)) for number, line in enumerate(lines, 1) if line.strip()]
    ours = all(isinstance(row, dict) and "modalities" in row for _, row in rows)
    return _transcript(rows, "jsonl", path, columns or {}, ours=ours)


def load(text: str, path: Path, line: int | None) -> Any:
    """The JSON value in a text.

    Raises:
        UsageError: it is none; `path` and `line` are named.
    """
    where = f"line {line} of {path}" if line else str(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if line else f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{where} is not JSON: {error.msg} ({place}).", hint=_EXPECTED) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is JSON that cannot be read: {error}.", hint=_EXPECTED) from error


def _transcript(
    rows: Sequence[tuple[int | None, Any]], format: str, path: Path, columns: Mapping[str, str], *, ours: bool
) -> Transcript:
    _check_columns(rows, path, columns)
    notices: list[Notice] = []
    named = [(line, _named(row, columns)) for line, row in rows]
    spans = [(row["start"], row["end"]) for _, row in named if row]
    scale = 1.0 if ours else unit_of(spans, notices, *(columns.get(key, "") for key in ("start", "end")))
    cues: list[Cue] = []
    for index, (line, row) in enumerate(named):
        found = list(_cues(row, line, scale, ours=ours))
        if not found:
            message = f"Segment {index} has no times or no text; it was left out."
            notices.append(Notice("cue_times", message, line))
        cues += found
    sought = not ours and all(cue.speaker is None for cue in cues)
    return build_transcript(cues, format, notices, path, speakers_from_text=sought, markup=False)


def _check_columns(rows: Sequence[tuple[int | None, Any]], path: Path, columns: Mapping[str, str]) -> None:
    keys = dict.fromkeys(str(key) for _, row in rows[:1000] if isinstance(row, dict) for key in row)
    for field, name in columns.items():
        if field not in _FIELDS:
            raise UsageError(f"{field} is not read from JSON.", hint=f"Columns: {', '.join(_FIELDS)}")
        if name not in keys:
            hint = f"Its keys: {', '.join(keys)[:300]}.{nearest(name, keys)}"
            raise UsageError(f"{path} has no {name!r} for {field}.", hint=hint)


def _named(row: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    """The element with the keys that we know; empty where it is none."""
    if not isinstance(row, dict):
        return {}
    found = {key: row.get(columns.get(key, key)) for key in _FIELDS} | {"words": row.get("words")}
    between = row.get("offsets")
    if found["start"] is None and isinstance(between, dict):  # whisper.cpp: whole milliseconds
        times = [parse_time(between.get(key)) for key in ("from", "to")]
        found["start"], found["end"] = (None if time is None else _clock(time) for time in times)
    return found


def _clock(milliseconds: float) -> str:
    """A time that says its unit by itself."""
    return f"0:{milliseconds / 1000:.3f}" if milliseconds >= 0 else ""


def _cues(row: Mapping[str, Any], line: int | None, scale: float, *, ours: bool) -> Iterator[Cue]:
    """The cue of one element, one per run of words where they have several speakers; or none."""
    words = [word for word in row.get("words") or () if isinstance(word, dict)] if _listed(row) else []
    said = {_speaker(word) for word in words} - {None}
    if len(said) > 1 and not ours:
        for speaker, run in groupby(_settled(words), key=lambda pair: pair[0]):
            part = [word for _, word in run]
            yield from _cue(
                {"text": _joined(part), "speaker": speaker, "words": part}, line, scale, ours=ours
            )
        return
    plain = dict(row)
    if not isinstance(row.get("text"), str) and words:
        plain["text"] = _joined(words)
    if _speaker(row) is None and said:
        plain["speaker"] = said.pop()
    yield from _cue({**plain, "words": words}, line, scale, ours=ours)


def _listed(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("words"), list)


def _cue(row: Mapping[str, Any], line: int | None, scale: float, *, ours: bool) -> Iterator[Cue]:
    if not isinstance(row.get("text"), str):
        return
    start, end = parse_time(row.get("start")), parse_time(row.get("end"))
    if start is None or end is None:
        # Words that whisperX could not align have no times of their own.
        starts = [time for word in row["words"] if (time := parse_time(word.get("start"))) is not None]
        ends = [time for word in row["words"] if (time := parse_time(word.get("end"))) is not None]
        start = min(starts, default=None) if start is None else start
        end = max(ends, default=None) if end is None else end
    if start is None or end is None:
        return
    text = row["text"] if ours else plain_text(row["text"])
    yield Cue(start * scale, end * scale, text, _speaker(row), line)


def _speaker(row: Mapping[str, Any]) -> str | None:
    """Who speaks; some services number their speakers."""
    speaker = row.get("speaker")
    if isinstance(speaker, int) and not isinstance(speaker, bool) and abs(speaker) < _MANY:
        return f"Speaker {speaker}"
    return speaker if isinstance(speaker, str) and speaker else None


def _settled(words: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each word with its speaker; one without is said by whoever spoke before, else by the next."""
    last = next(speaker for word in words if (speaker := _speaker(word)) is not None)
    for word in words:
        last = _speaker(word) or last
        yield last, word


def _joined(words: Sequence[Mapping[str, Any]]) -> str:
    """The words as text; Whisper's begin with their blank, whisperX's have none."""
    texts = [word.get("word", word.get("text")) for word in words]
    found = [text for text in texts if isinstance(text, str)]
    spaced = any(text[:1].isspace() for text in found)
    return ("" if spaced else " ").join(found)
