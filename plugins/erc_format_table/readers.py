"""Tables into utterances.

Columns by name, in any order, small or capital letters: `start`, `end`, `text`, `speaker`, with the
synonyms of `_NAMES`, among them MELD's `StartTime`, `EndTime`, `Utterance`, `Speaker`. Cells are
separated by commas, semicolons, tabs or bars, whichever the header uses. Times are seconds or
[hh:]mm:ss[.,]mmm; whisper's .tsv has whole milliseconds, which is recognised.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from erc_cli.errors import UsageError
from erc_cli.transcripts import Cue, build_transcript, parse_time, plain_text, read_bytes_as_text
from erc_cli.types import Notice, Transcript
from erc_format_table.cells import unguard

_NAMES = {
    "start": ("start", "starttime", "begin", "startseconds", "onset", "from"),
    "end": ("end", "endtime", "stop", "endseconds", "offset", "to"),
    "text": ("text", "utterance", "transcript", "transcription", "sentence", "subtitle", "words"),
    "speaker": ("speaker", "speakername", "character", "actor", "who", "name"),
}
_OURS = frozenset(("index", "label", "confidence"))
_NEEDED = ("start", "end", "text")


@dataclass(frozen=True, slots=True)
class Header:
    """The first row: how cells are separated, where each column is, and all its names."""

    delimiter: str
    columns: Mapping[str, int]
    names: tuple[str, ...]
    line: int


def header(text: str) -> Header | None:
    """The header of a table that has start, end and text, or None."""
    found = _any_header(text)
    return found if found is not None and all(name in found.columns for name in _NEEDED) else None


def read(name: str, path: Path) -> Transcript:
    """The utterances of a table.

    Raises:
        UsageError: no start, end or text column, a damaged table, or several episodes in one table.
    """
    text = read_bytes_as_text(path)
    head = header(text)
    if head is None:
        raise _no_columns(text, path)
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


def _any_header(text: str) -> Header | None:
    """The first row that is not blank, split by the separator that finds the most known columns."""
    lines = text.split("\n", 20)[:20]
    number = next(
        (i for i, line in enumerate(lines) if line.strip() and not line.lower().startswith("sep=")), None
    )
    if number is None:
        return None
    best: Header | None = None
    for delimiter in (",", "\t", ";", "|"):
        names = tuple(cell.strip().strip('"').strip().casefold() for cell in lines[number].split(delimiter))
        plain = [re.sub(r"\([^()]*\)|[\s_.-]", "", name) for name in names]
        columns = {
            field: plain.index(synonym)
            for field, synonyms in _NAMES.items()
            if (synonym := next((word for word in synonyms if word in plain), None)) is not None
        }
        if best is None or len(columns) > len(best.columns):
            best = Header(delimiter, columns, names, number + 1)
    return best


def _no_columns(text: str, path: Path) -> UsageError:
    head = _any_header(text)
    names = head.names if head is not None else ()
    missing = [name for name in _NEEDED if head is None or name not in head.columns]
    shown = ", ".join(names)[:120]
    columns = "column" if len(missing) == 1 else "columns"
    message = f"{path} has no {columns} {', '.join(missing)}; its first row is: {shown}."
    hint = "Name the columns in the first row: start,end,text,speaker (MELD's names are known, too)."
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
    start, end = parse_time(cells["start"]), parse_time(cells["end"])
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
    """0.001 where times are whole milliseconds, as in whisper's .tsv: else 1."""
    at = head.columns["start"], head.columns["end"]
    pairs = [(row[at[0]].strip(), row[at[1]].strip()) for _, row in rows if max(at) < len(row)]
    if not pairs or not all(re.fullmatch(r"[0-9]{1,12}", cell) for pair in pairs for cell in pair):
        return 1.0
    # Nobody speaks for minutes in every utterance.
    if median(int(end) - int(start) for start, end in pairs) < 150:
        return 1.0
    notices.append(
        Notice("times_in_ms", "Times are whole numbers this large: they were read as milliseconds.")
    )
    return 0.001


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
