"""What the tests of formats share: every reader and writer of ours, and made-up results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import erc_format_elan
import erc_format_json
import erc_format_praat
import erc_format_rttm
import erc_format_subtitles
import erc_format_table
from erc_cli.specs import ReaderSpec, Reading, WriterSpec
from erc_cli.transcripts import read_transcript
from erc_cli.types import MediaInfo, Modality, Opinion, Prediction, Result, Status, Transcript, Utterance

DATA = Path(__file__).parent / "data" / "transcripts"
PLUGINS: tuple[ModuleType, ...] = (
    *(erc_format_elan, erc_format_json, erc_format_praat),
    *(erc_format_rttm, erc_format_subtitles, erc_format_table),
)
READERS: dict[str, ReaderSpec] = {spec.name: spec for plugin in PLUGINS for spec in plugin.erc_readers()}
WRITERS: dict[str, WriterSpec] = {spec.name: spec for plugin in PLUGINS for spec in plugin.erc_writers()}
LABELS = ("neutral", "joy", "anger")

SAID = (
    Utterance(0.48, 2.1, 'There\'s nothing to tell, "really"; no?', "Monica"),
    Utterance(2.5, 3.001, "C'mon: you're going out — with the guy…", "Joey"),
    Utterance(2.75, 4.0, "Ça va, 田中 😀 <3", "Monica"),
    Utterance(3600.0, 3661.123, "Hi.", "Phoebe Buffay"),
    Utterance(3662.0, 3663.0, "Who said that?", None),
)
#: what breaks files: markup of every format, formulas, other scripts, speech over one's own speech
AWKWARD = (
    Utterance(0.0, 5.0, "<b>&amp; ]]> {\\an8} \\N --> 1", "A & B <c>"),
    Utterance(1.0, 2.0, '=1+1 "quoted" ""', "A & B <c>"),
    Utterance(1.5, 3.0, "שלום، مرحبا 👩‍👩‍👧 e\u0301", "דנה"),
    Utterance(2.0, 2.5, "NON-LEX SPEAKER <NA>", "A & B <c>"),
    Utterance(6.0, 6.5, "item [1]: xmin = 3", "x, y emotion"),
    Utterance(7.0, 7.5, "3 < 4 ! no", "x, y"),
)
NAMELESS = (Utterance(1.0, 2.0, "MONICA: Hi!", None), Utterance(3.0, 4.0, "", None))


def read(path: Path, reading: Reading | None = None, format: str | None = None) -> Transcript:
    """Read by all of our readers."""
    return read_transcript(path, READERS, format=format, reading=reading or Reading())


def saved(folder: Path, name: str, text: str) -> Path:
    """A file of that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def written(folder: Path, name: str, *utterances: Utterance, labels: tuple[str, ...] = LABELS) -> Path:
    """A result written by the writer `name`."""
    path = folder / f"out{WRITERS[name].extensions[0]}"
    WRITERS[name].write(result(*utterances, labels=labels), path)
    return path


def result(*utterances: Utterance, labels: tuple[str, ...] = LABELS) -> Result:
    """Made-up predictions for these utterances: the third label at 61 %, no face."""
    p = (0.2, 0.19, 0.61, *(0.0 for _ in labels[3:]))
    opinions = {Modality.TEXT: Opinion(Status.OK, p, 0.25), Modality.VISUAL: Opinion(Status.NO_FACE)}
    media = MediaInfo(Path("v.mp4"), "0" * 64, 9.0, video=True, audio=True)
    found = tuple(Prediction(p, opinions) for _ in utterances)
    return Result(labels, utterances, found, media, Transcript(utterances, "srt"), (), {"erc": "0.1.0"})


def turns(transcript: Transcript) -> list[tuple[float, float, str | None, str]]:
    """Start, end, speaker and words of each utterance."""
    return [(u.start, u.end, u.speaker, u.text) for u in transcript.utterances]


def codes(transcript: Transcript) -> list[str]:
    """Codes of the warnings."""
    return [notice.code for notice in transcript.warnings]


def moved(utterances: tuple[Utterance, ...], seconds: float) -> tuple[Utterance, ...]:
    """The same, later."""
    return tuple(replace(u, start=u.start + seconds, end=u.end + seconds) for u in utterances)
