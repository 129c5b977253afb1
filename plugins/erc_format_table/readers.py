"""Tables into utterances.

Columns by name, in any order, small or capital letters: `start`, `end`, `text`, `speaker`, with the
synonyms of `_NAMES`, among them MELD's `StartTime`, `EndTime`, `Utterance`, `Speaker`. Cells are
separated by commas, semicolons, tabs or bars, whichever the header uses. The user may name columns
otherwise, and a `duration` may stand for the end. Times are seconds, milliseconds or
[hh:]mm:ss[.,]mmm: see `erc_cli.times`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from erc_cli.errors import UsageError, nearest
from erc_cli.times import unit_of
from erc_cli.transcripts import Cue, build_transcript, parse_time, plain_text, read_bytes_as_text
from erc_cli.types import Notice, Transcript
from erc_format_table.cells import unguard

_NAMES = {
    "start": ("start", "starttime", "begin", "begintime", "startseconds", "onset", "from", "tmin"),
    "end": ("end", "endtime", "stop", "endseconds", "offset", "to", "tmax"),
    "duration": ("duration", "dur", "length"),
    "text": ("text", "utterance", "transcript", "transcription", "sentence", "subtitle", "words"),
    "speaker": ("speaker", "speakername", "character", "actor", "who", "name"),
}
_NO_MAP: Mapping[str, str] = MappingProxyType({})
_OURS = frozenset(("index", "label", "confidence"))
_NEEDED = ("start", "end", "text")
_UNIT = re.compile(r"(?<=[\W_])(?:ms|msecs?|milliseconds?|s|secs?|seconds?|hh:mm:ss[.,]\w*|ss\.msec)$")


@dataclass(frozen=True, slots=True)
class Header:
    """The first row: how cells are separated, where each column is, and all its names."""

    delimiter: str
    columns: Mapping[str, int]
    names: tuple[str, ...]
    line: int


def header(text: str, wanted: Mapping[str, str] = _NO_MAP) -> Header | None:
    """The header of a table that has start, end (or duration) and text, or None.

    `wanted`: names of columns that the user gave.
    """
    found = _any_header(text, wanted)
    return None if found is None or _missing(found) else found


def read(name: str, path: Path, wanted: Mapping[str, str] = _NO_MAP) -> Transcript:
    """The utterances of a table. `wanted`: start, end, duration, text or speaker -> column.

    Raises:
        UsageError: no start, end or text column, none that was wanted, a damaged table, or several
            episodes in one table.
    """
    text = read_bytes_as_text(path)
    head = header(text, wanted)
    if head is None or not set(wanted) <= set(head.columns):
        raise _no_columns(text, path, wanted)
    rows = _rows(text, head, path)
    _refuse_several(rows, head, path)
    ours = _OURS.issubset(head.names)
    notices: list[Notice] = []
    scale = _scale(rows, head, notices)
    cues: list[Cue] = []
    for line, row in rows:
        cue = _cue(row, head, line, scale, ours=ours)
        if cue is None:
            notices.append(Notice("cue_times", "A row without usable start and end was left out.", line))
        else:
            cues.append(cue)
    found = not ours and all(cue.speaker is None for cue in cues)
    return build_transcript(cues, name, notices, path, speakers_from_text=found, markup=False)


def _any_header(text: str, wanted: Mapping[str, str]) -> Header | None:
    """The first row that is not blank, split by the separator that finds the most known columns."""
    lines = text.split("\n", 20)[:20]
    number = next(
        (i for i, line in enumerate(lines) if line.strip() and not line.lower().startswith("sep=")), None
    )
    if number is None:
        return None
    best: Header | None = None
    for delimiter in (",", "\t", ";", "|"):
        names = _cells(lines[number], delimiter)
        found = Header(delimiter, _columns(names, wanted), tuple(map(str.casefold, names)), number + 1)
        if best is None or len(found.columns) > len(best.columns):
            best = found
    return best


def _cells(line: str, delimiter: str) -> tuple[str, ...]:
    """The cells of one line; none where it is no line of a table."""
    try:
        row = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell of more than 128 KiB
        return ()
    return tuple(cell.strip().strip('"').strip() for cell in row)


def _columns(names: Sequence[str], wanted: Mapping[str, str]) -> dict[str, int]:
    """Where each known column is: as the user named it, else by a synonym that no other one has."""
    folded = [name.casefold() for name in names]
    columns: dict[str, int] = {}
    for field, name in wanted.items():
        if name in names:
            columns[field] = names.index(name)
        elif name.casefold() in folded:
            columns[field] = folded.index(name.casefold())
    plain = [_plain(name) for name in folded]
    for field, synonyms in _NAMES.items():
        if field in wanted or (field == "duration" and "end" in columns):
            continue
        places = [plain.index(word) for word in synonyms if word in plain]
        free = next((at for at in places if at not in columns.values()), None)
        if free is not None:
            columns[field] = free
    return columns


def _plain(name: str) -> str:
    """A heading without its unit, brackets, blanks and the like: `Begin Time - msec` is `begintime`."""
    bare = re.sub(r"\([^()]*\)", "", name).strip()
    return re.sub(r"[\s_.-]", "", _UNIT.sub("", bare))


def _missing(head: Header) -> list[str]:
    return [
        name
        for name in _NEEDED
        if name not in head.columns and not (name == "end" and "duration" in head.columns)
    ]


def _no_columns(text: str, path: Path, wanted: Mapping[str, str]) -> UsageError:
    head = _any_header(text, wanted)
    names = () if head is None else _cells(text.split("\n", head.line)[head.line - 1], head.delimiter)
    missing = ["start", "end", "text"] if head is None else _missing(head)
    for field, name in wanted.items():
        if head is None or field not in head.columns:
            hint = f"Its columns: {', '.join(names)[:300]}.{nearest(name, names)}"
            return UsageError(f"{path} has no column {name!r} for {field}.", hint=hint)
    columns = "column" if len(missing) == 1 else "columns"
    shown = ", ".join(names)[:120]
    message = f"{path} has no {columns} {', '.join(missing)}; its first row is: {shown}."
    hint = (
        "Name the columns in the first row, start,end,text,speaker (MELD's names are known, too), "
        f"or say which is which: --columns '{missing[0] if missing else 'start'}=NAME'"
    )
    return UsageError(message, hint=hint)


def _rows(text: str, head: Header, path: Path) -> list[tuple[int, list[str]]]:
    """The rows below the header that are not blank, each with the line where it starts."""
    below = text.split("\n", head.line)[head.line :]
    table = csv.reader(io.StringIO(below[0] if below else "", newline=""), delimiter=head.delimiter)
    rows: list[tuple[int, list[str]]] = []
    line = head.line + 1
    while True:
        try:
            row = next(table)
        except StopIteration:
            return rows
        except csv.Error as error:
            hint = "Quote cells that hold separators or line breaks, and save it again."
            raise UsageError(f"{path} is damaged at line {line}: {error}.", hint=hint) from error
        if any(cell.strip() for cell in row):
            rows.append((line, row))
        line = head.line + 1 + table.line_num


def _cue(row: Sequence[str], head: Header, line: int, scale: float, *, ours: bool) -> Cue | None:
    cells = {name: row[at].strip() if at < len(row) else "" for name, at in head.columns.items()}
    start, end = parse_time(cells["start"]), parse_time(cells.get("end", ""))
    if "end" not in cells:
        length = parse_time(cells["duration"])
        end = None if start is None or length is None else start + length
    if start is None or end is None:
        return None
    text, speaker = cells["text"], cells.get("speaker", "")
    if ours:
        text, speaker = unguard(text), unguard(speaker)
    else:
        # EmoryNLP, a sister of MELD, writes its speakers as ['Monica Geller'].
        names = re.findall(r"'([^']+)'|\"([^\"]+)\"", speaker) if speaker.startswith("[") else []
        speaker = " and ".join(a or b for a, b in names) or speaker
        text = plain_text(text)
    return Cue(start * scale, end * scale, text, speaker or None, line)


def _scale(rows: Sequence[tuple[int, list[str]]], head: Header, notices: list[Notice]) -> float:
    """Seconds in the unit of the times, for the whole table."""
    if "end" in head.columns:
        at = head.columns["start"], head.columns["end"]
        spans = [(row[at[0]], row[at[1]]) for _, row in rows if max(at) < len(row)]
    else:
        at = head.columns["start"], head.columns["duration"]
        spans = [("0", row[at[1]]) for _, row in rows if max(at) < len(row)]
    return unit_of(spans, notices, *(head.names[place] for place in at))


def _refuse_several(rows: Sequence[tuple[int, list[str]]], head: Header, path: Path) -> None:
    """A data set is not a conversation: times of different episodes cannot be put in one order.

    Raises:
        UsageError: MELD's columns Season and Episode name more than one episode.
    """
    places = [head.names.index(name) for name in ("season", "episode") if name in head.names]
    if not places:
        return
    episodes = {tuple(row[at].strip() for at in places if at < len(row)) for _, row in rows}
    if len(episodes) > 1:
        hint = (
            "A transcript is one conversation: keep the rows of one episode. "
            "For the whole data set: erc evaluate PRESET --data meld:DIR"
        )
        raise UsageError(f"{path} holds {len(episodes)} episodes, each with its own times.", hint=hint)
