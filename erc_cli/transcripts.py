"""From a transcript file to utterances: which reader, which turns, and what was odd.

A reader plugin finds the cues of its format and hands them to `build_transcript`, which cleans the
text, finds speakers (`erc_cli.speakers`), splits turns and mends times, so that every format gives
utterances of the same kind.

Notices, each with the line of the file where it is known: `cue_times` (end before start, no
length, before zero, unreadable), `cue_overlap`, `cue_order`, `cue_duplicate`, `cue_empty`,
`sound_only`, `content_differs` (the content is of another format than the name says).
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from erc_cli.errors import UsageError, nearest
from erc_cli.speakers import VOICE, Turn, learn, only_sounds, split_turns
from erc_cli.specs import ReaderSpec, Reading
from erc_cli.textfile import read_bytes_as_text, tidy
from erc_cli.times import parse_time
from erc_cli.types import Notice, Transcript, Utterance

__all__ = ["Cue", "build_transcript", "parse_time", "plain_text", "read_bytes_as_text", "read_transcript"]

LONGEST_GIVEN = 1.0
SHORTEST = 0.1
OVERLAP = 0.0015
MOST_OF_A_KIND = 20
COLUMNS = ("start", "end", "duration", "text", "speaker")
#: what stands for words in a transcript that was made without them (`erc_cli.transcript_write`)
WORDLESS = "[speech]"
_NOTHING = Reading()


@dataclass(frozen=True, slots=True)
class Cue:
    """What a reader found: times in seconds, raw text with its lines, and where it stood."""

    start: float
    end: float
    text: str
    speaker: str | None = None
    line: int | None = None


# --- choosing a reader ----------------------------------------------------------------------


def read_transcript(
    path: Path,
    readers: Mapping[str, ReaderSpec],
    *,
    format: str | None = None,
    reading: Reading = _NOTHING,
) -> Transcript:
    """The transcript at `path`, read as `format`, else by its ending, else by its content.

    Content wins over the ending where another format recognises it and the ending's does not.
    `reading`: the medium, and the user's names of columns.

    Raises:
        UsageError: no readable text file, an unknown format, no cue in it, or names of columns for
            a format that has none.
    """
    text = read_bytes_as_text(path)
    named = _named(path, readers, format)
    seen = [spec for spec in readers.values() if spec.sniff is not None and spec.sniff(text)]
    if format is not None or (named is not None and (named in seen or named.sniff is None)):
        seen = []
    candidates = [*seen, *([named] if named is not None and named not in seen else [])]
    if not candidates:
        endings = ", ".join(sorted({end for spec in readers.values() for end in spec.extensions}))
        hint = f"Name the file by its format ({endings}), or save it as one of them."
        raise UsageError(f"{path} is in no known transcript format{_looks_like(text)}.", hint=hint)
    refused: UsageError | None = None
    for spec in candidates:
        try:
            transcript = _read_as(spec, path, reading)
        except UsageError as error:
            refused = error  # the ending's own reader comes last, and its words are shown
            continue
        if transcript.utterances:
            return _noted(transcript, spec, named, path)
        refused = _no_cues(path, spec, text, transcript)
    raise refused if refused is not None else UsageError(f"{path} cannot be read.")


def columns_from(words: Iterable[str]) -> dict[str, str]:
    """`["start=Begin,text=Words"]` as a mapping.

    Raises:
        UsageError: a column that there is none of, or no `NAME=NAME`.
    """
    found: dict[str, str] = {}
    for word in words:
        # Headings may have commas in them, too.
        for pair in re.split(r",(?=\s*\w+\s*=)", word):
            key, equals, name = (part.strip() for part in pair.partition("="))
            if not equals or not name:
                hint = "For instance: --columns start=Begin,text=Words"
                raise UsageError(f"--columns {pair!r} is not COLUMN=NAME.", hint=hint)
            if key not in COLUMNS:
                hint = f"Columns: {', '.join(COLUMNS)}.{nearest(key, COLUMNS)}"
                raise UsageError(f"--columns has no {key!r}.", hint=hint)
            if found.setdefault(key, name) != name:
                raise UsageError(f"--columns gives {key} twice.", hint="Name one column for it.")
    return found


def _read_as(spec: ReaderSpec, path: Path, reading: Reading) -> Transcript:
    if reading.columns and not spec.takes_columns:
        hint = "Leave out --columns, or say that it is a table: --transcript-format csv"
        raise UsageError(f"{path} is read as {spec.name}, which has no columns to name.", hint=hint)
    return spec.read(path) if spec.read_with is None else spec.read_with(path, reading)


def _named(path: Path, readers: Mapping[str, ReaderSpec], format: str | None) -> ReaderSpec | None:
    """The reader asked for, or that of the file's ending, or None."""
    if format is not None:
        if format not in readers:
            hint = f"Known formats: {', '.join(sorted(readers))}.{nearest(format, readers)}"
            raise UsageError(f"Unknown transcript format {format!r}.", hint=hint)
        return readers[format]
    ending = path.suffix.lower()
    return next((spec for spec in readers.values() if ending in spec.extensions), None)


def _noted(transcript: Transcript, spec: ReaderSpec, named: ReaderSpec | None, path: Path) -> Transcript:
    """The transcript, with a notice where its content was not what its name says."""
    if named is None or named is spec:
        return replace(transcript, path=path)
    message = f"{path.name} is named like {named.name} but is {spec.name}; it was read as {spec.name}."
    warnings = (Notice("content_differs", message), *transcript.warnings)
    return replace(transcript, path=path, warnings=warnings)


def _no_cues(path: Path, spec: ReaderSpec, text: str, transcript: Transcript) -> UsageError:
    """What was expected of a file without a single utterance."""
    odd = [notice for notice in transcript.warnings if notice.code != "encoding"]
    why = f" {odd[0].message}" if odd else ""
    hint = "Expected at least one utterance with a start, an end and words."
    if spec.example:
        shown = "\n".join(f"    {line}" for line in spec.example.strip("\n").split("\n"))
        hint = f"Expected {spec.name}, for example:\n{shown}"
    return UsageError(f"{path} has no {spec.name} cue with words{_looks_like(text)}.{why}", hint=hint)


def _looks_like(text: str) -> str:
    """`"; it looks like …"` for well-known texts that are no transcript, else nothing."""
    head = text.lstrip()[:4000].lower()
    known = (
        (r"<!doctype html|<html|<head>", "a web page (HTML): download the subtitle file itself"),
        (r"<tt[\s>]|<\?xml", "XML or TTML subtitles: convert it to .srt"),
        (r"<sami", "SAMI subtitles: convert it to .srt"),
        (r"\{\d+\}\{\d*\}", "MicroDVD subtitles, which count frames: convert it to .srt"),
        (r"\[\d+:\d\d[.:]\d\d\]", "a lyrics file (LRC), which has no ends: convert it to .srt"),
        (r"webvtt", "WebVTT"),
        (r"\[script info\]", "ASS subtitles"),
        (r"#extm3u", "a playlist (M3U): name the subtitle file itself"),
        (r"[\[{]\s*[\"{\[\]}]", "JSON"),
        (r"version https://git-lfs", "a Git LFS pointer: fetch the file itself"),
    )
    found = next((what for pattern, what in known if re.match(pattern, head)), None)
    return f"; it looks like {found}" if found else ""


# --- from cues to utterances ----------------------------------------------------------------


def build_transcript(
    cues: Iterable[Cue],
    format: str,
    warnings: Sequence[Notice] = (),
    path: Path | None = None,
    *,
    speakers_from_text: bool = True,
    markup: bool = True,
    worded: bool = True,
) -> Transcript:
    """Utterances in time order, from the cues of one file.

    Where a cue has a speaker of its own, no other is sought in its text. `speakers_from_text`:
    find `NAME: text` and its like. `markup`: the cues are subtitles, so that tags go, a dash begins
    a turn, and a cue of sounds alone is left out; else one cue is one utterance, be it empty.
    `worded`: the format has words, so that a cue without any is told.
    """
    notices = list(warnings)
    timed = _mended(list(cues), notices)
    cleaned = [replace(cue, text=plain_text(cue.text) if markup else tidy(cue.text)) for cue in timed]
    cleaned = [replace(cue, speaker=_name(cue.speaker)) for cue in cleaned]
    evidence = learn(
        [cue.text for cue in cleaned if cue.speaker is None],
        [cue.speaker for cue in cleaned if cue.speaker is not None],
    )
    utterances: list[Utterance] = []
    for cue in cleaned:
        turns = [Turn(cue.speaker, " ".join(cue.text.replace(VOICE, " ").split()))]
        if cue.speaker is None and speakers_from_text:
            turns = split_turns(cue.text, evidence)
            if not markup and len(turns) != 1:
                turns = (
                    [Turn(turns[0].speaker, " ".join(turn.text for turn in turns))]
                    if turns
                    else [Turn(None, "")]
                )
        utterances += _spread(cue, _with_words(cue, turns, markup, notices if worded else []))
    # Two turns of a long cue may lie around a cue that overlaps it.
    utterances.sort(key=lambda utterance: (utterance.start, utterance.end))
    return Transcript(tuple(utterances), format, _fewer(notices), path)


def plain_text(text: str) -> str:
    r"""Subtitle text without tags (`<i>`, `{\an8}`), entities decoded, `\N` a new line.

    A voice tag `<v Name>` becomes a line that `erc_cli.speakers` understands.
    """
    text = text.replace(VOICE, "")
    text = re.sub(r"\\[Nn]", "\n", text).replace("\\h", " ")
    text = re.sub(r"\{(?:[\\=]|[yYcCfFsSpP]:)[^{}]*\}", "", text)
    text = re.sub(r"<v(?:\.[^\s<>]*)?\s([^<>]*)>", _voice, text)
    text = re.sub(r"<br\s*/?>|</p>", "\n", text, flags=re.IGNORECASE)
    text = re.sub(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>", "", text)
    return tidy(html.unescape(text))


def _voice(match: re.Match[str]) -> str:
    name = html.escape(" ".join(html.unescape(match[1]).split()), quote=False)  # decoded with the rest
    return f"\n{VOICE}{name}{VOICE}"


def _mended(cues: list[Cue], notices: list[Notice]) -> list[Cue]:
    """Cues with usable times, sorted; what was mended or dropped is told."""
    usable = [mended for cue in cues if (mended := _ordered(cue, notices)) is not None]
    ordered = sorted(usable, key=lambda cue: (cue.start, cue.end))
    late = next((i for i, (a, b) in enumerate(pairwise(usable), 1) if b.start < a.start), None)
    if late is not None:
        message = "Cues are not in the order of their times; they were sorted."
        notices.append(Notice("cue_order", message, usable[late].line))
    kept: list[Cue] = []
    seen: set[tuple[float, float, str, str | None]] = set()
    for cue in ordered:
        key = (cue.start, cue.end, cue.text, cue.speaker)
        if key in seen:
            message = f"The cue at {_clock(cue.start)} occurs twice; it was taken once."
            notices.append(Notice("cue_duplicate", message, cue.line))
            continue
        seen.add(key)
        kept.append(cue)
    return _told_overlaps([_lengthened(cue, kept, i, notices) for i, cue in enumerate(kept)], notices)


def _ordered(cue: Cue, notices: list[Notice]) -> Cue | None:
    """The cue with `0 <= start <= end`, in milliseconds, or None when its times mean nothing."""
    start, end = cue.start, cue.end
    message = ""
    if not (math.isfinite(start) and math.isfinite(end)):
        notices.append(Notice("cue_times", "A cue whose times are no numbers was left out.", cue.line))
        return None
    if end < start:
        start, end = end, start
        message = f"A cue ends ({_clock(start)}) before it starts ({_clock(end)}); the two were exchanged."
    if start < 0:
        message = "A cue starts before 0:00; it was cut there."
        if end <= 0:
            notices.append(Notice("cue_times", "A cue that lies before 0:00 was left out.", cue.line))
            return None
        start = 0.0
    if message:
        notices.append(Notice("cue_times", message, cue.line))
    return replace(cue, start=round(start, 3), end=round(end, 3))


def _lengthened(cue: Cue, cues: Sequence[Cue], index: int, notices: list[Notice]) -> Cue:
    """A cue without length lasts one second, or until the next cue, but at least 0.1 s."""
    if cue.end > cue.start:
        return cue
    after = next((other.start for other in cues[index + 1 : index + 50] if other.start > cue.start), math.inf)
    end = max(cue.start + SHORTEST, min(cue.start + LONGEST_GIVEN, after))
    message = f"The cue at {_clock(cue.start)} has no length; it was given {end - cue.start:.1f} s."
    notices.append(Notice("cue_times", message, cue.line))
    return replace(cue, end=round(end, 3))


def _told_overlaps(cues: list[Cue], notices: list[Notice]) -> list[Cue]:
    """The same cues; those that start before the one ahead of them ends are told.

    Two people who are known to be two may talk at the same time, and are not told.
    """
    for before, cue in pairwise(cues):
        two = cue.speaker is not None and before.speaker is not None and cue.speaker != before.speaker
        if cue.start < before.end - OVERLAP and not two:
            ends = _clock(before.end)
            message = f"The cue at {_clock(cue.start)} starts before the one ahead of it ends ({ends})."
            notices.append(Notice("cue_overlap", message, cue.line))
    return cues


def _with_words(cue: Cue, turns: list[Turn], markup: bool, notices: list[Notice]) -> list[Turn]:
    """The turns that say something; a subtitle cue without any is told, unless it says so itself."""
    if [turn.text for turn in turns] == [WORDLESS]:
        return [replace(turns[0], text="")]
    if not markup:
        if not any(turn.text for turn in turns):
            notices.append(
                Notice("cue_empty", f"The utterance at {_clock(cue.start)} has no text.", cue.line)
            )
        return turns
    spoken = [Turn(turn.speaker, turn.text.strip(" ♪♫#")) for turn in turns if not only_sounds(turn.text)]
    if not spoken and cue.text:
        shown = " ".join(cue.text.replace(VOICE, "").split())
        message = f"The cue at {_clock(cue.start)} has no words ({shown[:40]}); it was left out."
        notices.append(Notice("sound_only", message, cue.line))
    elif not spoken:
        notices.append(
            Notice("cue_empty", f"The cue at {_clock(cue.start)} is empty; it was left out.", cue.line)
        )
    return spoken


def _spread(cue: Cue, turns: Sequence[Turn]) -> list[Utterance]:
    """The turns over the cue's time, each in proportion to the length of its text."""
    total = sum(len(turn.text) + 1 for turn in turns)
    made: list[Utterance] = []
    done = 0
    for turn in turns:
        start = cue.start + (cue.end - cue.start) * done / total
        done += len(turn.text) + 1
        end = cue.start + (cue.end - cue.start) * done / total
        made.append(Utterance(round(start, 3), round(end, 3), turn.text, _name(turn.speaker)))
    return made


def _name(speaker: str | None) -> str | None:
    """A speaker's name on one line, or None when nothing is left of it."""
    return (" ".join(tidy(speaker.replace(VOICE, "")).split()) or None) if speaker else None


def _fewer(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    """By line, at most `MOST_OF_A_KIND` notices of each code, and how many more there were."""
    counts: Counter[str] = Counter()
    kept: list[Notice] = []
    for notice in sorted(notices, key=lambda notice: notice.line or 0):
        counts[notice.code] += 1
        if counts[notice.code] <= MOST_OF_A_KIND:
            kept.append(notice)
    more = {code: count - MOST_OF_A_KIND for code, count in counts.items() if count > MOST_OF_A_KIND}
    return (*kept, *(Notice(code, f"And {count} more of this kind.") for code, count in more.items()))


def _clock(seconds: float) -> str:
    """`seconds` as h:mm:ss.mmm, without hours where there are none."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{minutes}:{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{hours}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}" if hours else shown
