"""A transcript out of Python: utterances, dictionaries, or a data frame of pandas or polars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from numbers import Real
from typing import Any

from erc_cli.errors import UsageError, nearest
from erc_cli.transcripts import COLUMNS, Cue, build_transcript, parse_time
from erc_cli.types import Notice, Transcript, Utterance

FORMAT = "records"
_NEEDED = ("start", "end", "text")
_HINT = (
    "A row is an Utterance, or a mapping such as {'start': 1.0, 'end': 2.5, 'text': 'Hi!', 'speaker': 'Anna'}"
)


def check_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The same mapping; start, end, duration, text or speaker -> what the table calls it.

    Raises:
        UsageError: another key.
    """
    for key in columns:
        if key not in COLUMNS:
            hint = f"Keys: {', '.join(COLUMNS)}.{nearest(str(key), COLUMNS)}"
            raise UsageError(f"columns has a key {key!r} that is none of ours.", hint=hint)
    return dict(columns)


def transcript_of(rows: object, columns: Mapping[str, str]) -> Transcript:
    """The utterances in time order, with what was odd about them, as from a file.

    `rows`: utterances, mappings or a frame; `columns`: start, end, duration, text or speaker -> the
    rows' own name for it. Times are seconds, or text such as `1:02.5`. A speaker may be missing.

    Raises:
        UsageError: no rows, a row of another kind, or one without usable times or text.
    """
    wanted = check_columns(columns)
    cues = [_cue(row, place, wanted) for place, row in enumerate(_each(rows))]
    if not cues:
        raise UsageError("The transcript has no utterances.", hint=_HINT)
    notices: list[Notice] = []
    return build_transcript(cues, FORMAT, notices, None, speakers_from_text=False, markup=False)


def _each(rows: object) -> Iterable[object]:
    """The rows of a frame or a sequence; absent cells of a frame are None."""
    if hasattr(rows, "to_dicts"):  # polars
        found: list[object] = rows.to_dicts()
        return found
    if hasattr(rows, "to_dict") and hasattr(rows, "notna"):  # pandas
        plain: Any = rows.astype(object).where(rows.notna(), None)  # type: ignore[attr-defined]
        made: list[object] = plain.to_dict("records")
        return made
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return rows
    raise UsageError(f"A transcript cannot be made of {type(rows).__name__}.", hint=_HINT)


def _cue(row: object, place: int, columns: Mapping[str, str]) -> Cue:
    if isinstance(row, Utterance):
        row, columns = asdict(row), {}
    if not isinstance(row, Mapping):
        raise UsageError(f"Row {place} of the transcript is {type(row).__name__}.", hint=_HINT)
    names = {key: columns.get(key, key) for key in COLUMNS}
    if names["end"] not in row and names["duration"] in row:
        needed = ["start", "duration", "text"]
    else:
        needed = list(_NEEDED)
    for key in needed:
        if names[key] not in row:
            known = [str(name) for name in row]
            hint = f"It has: {', '.join(known)[:200] or 'nothing'}.{nearest(names[key], known)}"
            more = "" if key in columns else f" Or name it: columns={{{key!r}: NAME}}"
            raise UsageError(f"Row {place} of the transcript has no {names[key]!r}.", hint=hint + more)
    start = _seconds(row[names["start"]], names["start"], place)
    length = _seconds(row[names[needed[1]]], names[needed[1]], place)
    end = length if needed[1] == "end" else start + length
    speaker = _words(row.get(names["speaker"]))
    return Cue(start, end, _words(row[names["text"]]), speaker or None)


def _seconds(value: Any, name: str, place: int) -> float:
    """Seconds of a number (of numpy, too), a time delta, or text."""
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    elif isinstance(value, Real) and not isinstance(value, bool):
        value = float(value)
    found = parse_time(value)
    if found is None or not math.isfinite(found):
        hint = "Times are seconds, or text such as 1:02.5"
        raise UsageError(f"Row {place} of the transcript: {name!r} is {value!r:.60}, no time.", hint=hint)
    return found


def _words(value: object) -> str:
    """A cell as text; None and NaN are nothing."""
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if absent else str(value)
