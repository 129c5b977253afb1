"""RTTM in and out (NIST, RT-09 evaluation plan, appendix A).

A line has ten fields: type, file, channel, start, duration, orthography, subtype, speaker,
confidence, lookahead; `<NA>` where there is nothing. Read are the lines of type SPEAKER.

RTTM has no field for an emotion. Each utterance is written as two lines:

    SPEAKER  talk 1 1.000 1.500 <NA>  <NA>  Monica <NA> <NA>
    NON-LEX  talk 1 1.000 1.500 anger other Monica 0.61 <NA>

NON-LEX is the standard's type for what a speaker utters besides words (laughter, breath), `other` its
subtype for the rest; the label stands where a word would, with its confidence. Readers of turns,
pyannote among them, take the lines of type SPEAKER only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from erc_cli.errors import UsageError
from erc_cli.textfile import read_bytes_as_text
from erc_cli.transcripts import Cue, build_transcript, parse_time
from erc_cli.types import Notice, Result, Transcript

NOTHING = "<NA>"
_LEAST = 8  # fields that a turn needs: the last is the speaker
# What a field cannot hold: blanks, which part fields, and what cannot be written.
_BLANK = re.compile("[\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def read(path: Path, media: Path | None = None) -> Transcript:
    """The turns of one recording, as utterances without words.

    Of several recordings in the file, the one that is named like `media` is read, or, without a
    medium, like the file itself.

    Raises:
        UsageError: no such file, or several recordings, none of them named like the medium.
    """
    notices: list[Notice] = []
    found: dict[str, list[Cue]] = {}
    for number, line in enumerate(read_bytes_as_text(path).split("\n"), 1):
        fields = line.split()
        if not fields or fields[0].upper() != "SPEAKER":
            continue
        start, length = (parse_time(field) for field in (*fields[3:5], "", "")[:2])
        if len(fields) < _LEAST or start is None or length is None:
            message = f"A turn cannot be read ({line.strip()[:60]}); it was left out."
            notices.append(Notice("cue_times", message, number))
            continue
        speaker = None if fields[7] == NOTHING else fields[7]
        found.setdefault(fields[1], []).append(Cue(start, start + length, "", speaker, number))
    cues = _chosen(found, path, media)
    return build_transcript(cues, "rttm", notices, path, speakers_from_text=False, markup=False, worded=False)


def _chosen(found: dict[str, list[Cue]], path: Path, media: Path | None) -> list[Cue]:
    if len(found) <= 1:
        return [cue for cues in found.values() for cue in cues]
    wanted = _plain((media or path).stem)
    fitting = [name for name in found if _plain(name) == wanted or _plain(Path(name).stem) == wanted]
    if len(fitting) == 1:
        return found[fitting[0]]
    names = ", ".join(list(found)[:10]) + (" …" if len(found) > 10 else "")
    whose = f"the medium {media.name}" if media is not None else "the file"
    first = next(iter(found))
    parts = quote(f" {first} "), quote(str(path)), quote(f"{first}.rttm")
    raise UsageError(
        f"{path} holds {len(found)} recordings, none of them named like {whose}: {names}.",
        hint=f"Keep the lines of one: grep -F {parts[0]} {parts[1]} > {parts[2]}",
    )


def _plain(name: str) -> str:
    """A name as different tools would write it alike."""
    return re.sub(r"[\W_]+", "", name).casefold()


def write(result: Result, path: Path) -> None:
    """Two lines for each utterance: the turn, and its emotion. Times in milliseconds' precision."""
    source = result.media.path if result.media is not None else result.transcript.path
    file = _field(source.stem if source is not None else path.stem)
    names = _names([said.speaker for said in result.utterances])
    lines = []
    for said, found in zip(result.utterances, result.predictions, strict=True):
        start = max(0.0, said.start)
        place = f"{file} 1 {start:.3f} {max(0.001, said.end - start):.3f}"
        label, speaker = _field(result.label(found)), names[said.speaker]
        lines.append(f"SPEAKER {place} {NOTHING} {NOTHING} {speaker} {NOTHING} {NOTHING}\n")
        lines.append(f"NON-LEX {place} {label} other {speaker} {found.confidence:.2f} {NOTHING}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _names(speakers: Sequence[str | None]) -> dict[str | None, str]:
    """Speakers as fields; two that would be written alike get numbers."""
    names: dict[str | None, str] = {None: NOTHING}
    for speaker in dict.fromkeys(speakers):
        if speaker is not None:
            field, number = _field(speaker), 1
            while field in names.values():
                number += 1
                field = f"{_field(speaker)}_{number}"
            names[speaker] = field
    return names


def _field(text: str) -> str:
    """Text as one field, never empty."""
    return _BLANK.sub("_", text.strip()).strip("_") or NOTHING
