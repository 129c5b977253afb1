"""The tolerant front: subtitle text as people have it, into text that pysubs2 reads without loss.

pysubs2 knows the formats, but not the lines that its events came from, and it glues the text of a
damaged cue to the cue before. So the cues are laid out anew here, each with the line of its timing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from erc_cli.transcripts import parse_time
from erc_cli.types import Notice

COLON = "\ue000"
"""Stands for a colon in text that pysubs2 would take for a time."""

LONGEST = 100 * 3600.0 - 1
"""pysubs2 reads two digits of hours."""

_STAMP = r"-?\d+(?:\s?:\s?\d+){0,2}(?:\s?[.,]\s?\d+|:\d{3})?"
_TIMING = re.compile(
    rf"\s*(?:\d{{1,6}}[.)]?\s+(?=-?\d+\s?:))?[\[(]?(?P<start>{_STAMP})"
    r"\s*(?P<arrow>[-–—−]{1,4}\s?[-–—−]{0,3}\s?(?:>|&gt;|＞)|[=~]{1,4}>|→|⟶)"
    rf"\s*(?P<end>{_STAMP})(?P<rest>(?:[\])]|\s).*)?"
)
_ARROW = re.compile(r"[-–—−]\s?(?:>|&gt;|＞)|→|⟶")
_SETTING = re.compile(r"[A-Za-z]+\d?:\S+")
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9]")
_INLINE = re.compile(r"<\d[\d:.,]*>")


@dataclass(frozen=True, slots=True)
class Repaired:
    """Text for pysubs2, the place of each cue in it, and what was given up.

    `places[i]`: line in the original, start and end in seconds (pysubs2 knows none before zero).
    """

    text: str
    places: tuple[tuple[int, float, float], ...]
    notices: tuple[Notice, ...]


@dataclass(slots=True)
class _Block:
    """A cue while its lines are collected; `number` is what stood above its times."""

    line: int
    start: float
    end: float
    text: list[str]
    number: str = ""
    readable: bool = True


def repair(text: str, *, vtt: bool) -> Repaired:
    """SubRip or WebVTT laid out anew, whatever its blank lines, numbers and time stamps were."""
    lines = text.replace(COLON, ":").split("\n")
    if vtt:
        lines = _without_notes(lines)
    notices: list[Notice] = []
    blocks = list(_blocks(lines, notices, vtt=vtt))
    if any(_INLINE.search(line) for block in blocks for line in block.text):
        blocks = _unrolled(blocks, notices)
    point = "." if vtt else ","
    made = ["WEBVTT\n"] if vtt else []
    for number, block in enumerate(blocks, 1):
        made += [str(number), f"{_stamp(block.start, point)} --> {_stamp(block.end, point)}"]
        made += [_shielded(line) for line in block.text]
        made.append("")
    # pysubs2 takes a lone number at the end of a cue for the next cue's: give the last one, too.
    made.append(str(len(blocks) + 1))
    places = tuple((block.line, block.start, block.end) for block in blocks)
    return Repaired("\n".join(made) + "\n", places, tuple(notices))


def _blocks(lines: list[str], notices: list[Notice], *, vtt: bool) -> Iterator[_Block]:
    """Every cue with its lines of text, numbers and identifiers removed."""
    preface = _Block(0, 0.0, 0.0, [], readable=False)
    found = [preface]
    for number, line in enumerate(lines, 1):
        timing = _TIMING.fullmatch(line)
        if timing is None and not (_ARROW.search(line) and re.match(r"\s*[\d:.,]+\s*\S{0,2}[-–—−→]", line)):
            found[-1].text.append(line)
            continue
        above = _drop_number(found, vtt=vtt)
        block = _block(timing, number) if timing else None
        if block is None:
            message = f"The times of a cue cannot be read ({line.strip()[:40]}); the cue was left out."
            notices.append(Notice("cue_times", message, number))
            block = _Block(number, 0.0, 0.0, [], readable=False)
        block.number = above
        found.append(block)
    _drop_last_number(found[-1])
    for block in found:
        if block.readable:
            block.text = [line for line in block.text if line.strip()]
            yield block


def _block(timing: re.Match[str], line: int) -> _Block | None:
    """The cue that a timing line opens, or None when its times are beyond sense."""
    start, end = (_seconds(timing[name]) for name in ("start", "end"))
    if start is None or end is None or max(abs(start), abs(end)) > LONGEST:
        return None
    rest = (timing["rest"] or "").strip(" \t])")
    settings = all(_SETTING.fullmatch(word) for word in rest.split())
    return _Block(line, start, end, [] if settings else [rest])


def _seconds(stamp: str) -> float | None:
    """Seconds of a stamp; `0:00:01:500` has its milliseconds after a colon."""
    return parse_time(re.sub(r":(\d{3})$", r".\1", stamp))


def _drop_number(found: list[_Block], *, vtt: bool) -> str:
    """Take the next cue's number, or its WebVTT identifier, off the text of the cue before it.

    Returns what was taken. Only in a file whose first cue has a number are numbers looked for.
    """
    text, first = found[-1].text, len(found) == 1
    # A space alone is text to WebVTT (YouTube writes such lines): only an empty line ends a cue.
    identified = (
        vtt and len(text) > 1 and text[-1].strip() and text[-2] == "" and any(map(str.strip, text[:-1]))
    )
    _drop_blanks(text)
    digits = bool(text) and re.fullmatch(r"\s*\d+\s*", text[-1])
    # A cue that says "10", with the next number missing, keeps its word.
    numbered = first or (bool(found[1].number) and (len(text) > 1 or _follows(text[-1:], found[-1])))
    return text.pop().strip() if (digits and numbered) or identified else ""


def _drop_last_number(last: _Block) -> None:
    """Take the number of a cue that was cut off away from the text of the last whole one."""
    _drop_blanks(last.text)
    if len(last.text) > 1 and not last.text[-2].strip() and _follows(last.text[-1:], last):
        last.text.pop()


def _drop_blanks(text: list[str]) -> None:
    while text and not text[-1].strip():
        text.pop()


def _follows(lines: list[str], block: _Block) -> bool:
    """Whether the line is the number after the block's own."""
    numbers = [word.strip() for word in (*lines, block.number)]
    if len(numbers) < 2 or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in numbers):
        return False
    return int(numbers[0]) == int(numbers[1]) + 1


def _without_notes(lines: list[str]) -> list[str]:
    """WebVTT lines with the header and the NOTE, STYLE and REGION blocks made blank."""
    made: list[str] = []
    skipping, blank = False, True
    for number, line in enumerate(lines):
        if _TIMING.fullmatch(line) or not line.strip():
            skipping = False
        elif (number == 0 or blank) and re.match(r"\s*(WEBVTT|NOTE|STYLE|REGION)\b", line):
            skipping = True
        blank = not line.strip()
        made.append("" if skipping else line)
    return made


def _unrolled(blocks: list[_Block], notices: list[Notice]) -> list[_Block]:
    """Automatic captions that scroll: each line where it is spoken, not again while it scrolls up.

    Such files give every word its time (`<00:00:01.500><c> word</c>`), and repeat the line before.
    """
    kept: list[_Block] = []
    last = ""
    dropped = 0
    for block in blocks:
        fresh = []
        for line in block.text:
            plain = " ".join(re.sub(r"<[^<>]*>", "", line).split())
            if plain and plain == last and not _INLINE.search(line):
                dropped += 1
                continue
            fresh.append(line)
            last = plain or last
        if fresh or not block.text:
            kept.append(_Block(block.line, block.start, block.end, fresh))
    if dropped:
        message = f"The captions scroll: {dropped} repeated lines were left out."
        notices.append(Notice("cue_duplicate", message))
    return kept


def _shielded(line: str) -> str:
    """A line of text that cannot be mistaken for a timing line."""
    line = _INLINE.sub("", line)
    return line.replace(":", COLON) if len(re.findall(r"\d:\d", line)) > 1 else line


def _stamp(seconds: float, point: str) -> str:
    """`hh:mm:ss,mmm`; a time before zero loses its sign here, but not in `Repaired.places`."""
    whole = round(abs(seconds) * 1000)
    return (
        f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d}{point}{whole % 1000:03d}"
    )


def repair_ass(text: str) -> Repaired:
    """The dialogue lines of an ASS or SSA file, in the one field order that pysubs2 knows."""
    fields = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]
    notices: list[Notice] = []
    made = [
        "[Script Info]",
        "ScriptType: v4.00+",
        "",
        "[Events]",
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text",
    ]
    places: list[tuple[int, float, float]] = []
    section = ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        section = line.casefold() if re.fullmatch(r"\[[^\]]*\]", line) else section
        kind, _, rest = line.partition(":")
        if kind.casefold() == "format" and section in ("[events]", ""):
            fields = [name.strip().casefold() for name in rest.split(",")]
        elif kind.casefold() == "dialogue":
            cells = dict(zip(fields, rest.split(",", max(0, len(fields) - 1)), strict=False))
            times = [parse_time(cells.get(name, "").strip()) for name in ("start", "end")]
            known = [min(time, LONGEST) for time in times if time is not None and time >= 0]
            if len(known) < 2 or "text" not in cells:
                message = f"A dialogue line cannot be read ({line[:40]}); it was left out."
                notices.append(Notice("cue_times", message, number))
                continue
            start, end = (_stamp(time, ".") for time in known)
            if _DRAWING.search(cells["text"]):
                continue
            # Braces hold tags and the authors' comments.
            said = re.sub(r"\{[^{}]*\}", "", cells["text"])
            name = cells.get("name", cells.get("actor", "")).strip()
            made.append(f"Dialogue: 0,{start},{end},Default,{name},0,0,0,,{said}")
            places.append((number, known[0], known[1]))
    return Repaired("\n".join(made) + "\n", tuple(places), tuple(notices))
