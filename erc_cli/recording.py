"""A recording: the files that were named, read and probed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.learning import Report
from erc_cli.registry import Registry
from erc_cli.speaker_map import read_speaker_map
from erc_cli.specs import Reading
from erc_cli.transcribing import Plan, transcribe
from erc_cli.transcripts import read_transcript
from erc_cli.types import Conversation, MediaInfo, Notice, Transcript

OUTSIDE = "outside_media"
#: told of the medium (None: a text alone) before any work; a UsageError ends it
Check = Callable[[MediaInfo | None], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of one recording; `note` says where they come from if they were not named.

    `columns`: what the transcript calls its columns; `speakers`: a file with other names for them;
    `format`: the transcript's, where its name and content mislead; `transcriber`: what makes one where
    there is none.
    """

    media: Path | None
    transcript: Path | None
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    speakers: Path | None = None
    format: str | None = None
    transcriber: Plan | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them: no output may be one of these."""
        return [path for path in (self.media, self.transcript, self.speakers) if path is not None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A transcript and, if there is one, its medium; `warnings` are about both."""

    transcript: Transcript
    media: MediaInfo | None
    warnings: tuple[Notice, ...]

    @property
    def conversation(self) -> Conversation:
        """The utterances."""
        return Conversation(self.transcript.utterances)


def open_inputs(
    inputs: Inputs,
    registry: Registry,
    report: Report = lambda step: None,
    *,
    check: Check = lambda media: None,
) -> Recording:
    """`open_recording` of what was named; without a transcript, what the transcriber makes.

    `check` is asked about the medium before a transcriber listens to it; it may raise.

    Raises:
        UsageError: one of the files is not there or not usable, or nobody speaks in the medium.
        ErcError: the transcriber lacks something that the user can get.
    """
    if inputs.transcript is None:
        return _transcribed(inputs, report, check)
    recording = open_recording(
        inputs.media,
        inputs.transcript,
        registry,
        format=inputs.format,
        columns=inputs.columns,
        speakers=inputs.speakers,
    )
    check(recording.media)
    return recording


def open_recording(
    media: Path | None,
    transcript: Path,
    registry: Registry,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    speakers: Path | None = None,
) -> Recording:
    """Read the transcript and probe the medium.

    `columns`: start, end, text, … -> what the transcript calls it; `speakers`: a map of their names.

    Raises:
        UsageError: one of them is not there or not usable.
    """
    info = _probe(media) if media is not None else None
    renamed = read_speaker_map(speakers) if speakers is not None else None
    reading = Reading(media, columns or {})
    script = read_transcript(transcript, registry.readers, format=format, reading=reading)
    script = script if renamed is None else renamed.applied(script)
    return recording_of(script, info)


def recording_of(script: Transcript, info: MediaInfo | None) -> Recording:
    """A transcript and its medium, with what is odd about each and about the two together."""
    if info is None:
        return Recording(script, None, script.warnings)
    return Recording(script, info, (*script.warnings, *info.warnings, *outside(script, info)))


def _transcribed(inputs: Inputs, report: Report, check: Check) -> Recording:
    """The recording, with what is heard in it."""
    if inputs.media is None or inputs.transcriber is None:
        raise UsageError("There is no transcript.", hint="Name it with --transcript FILE.")
    renamed = read_speaker_map(inputs.speakers) if inputs.speakers is not None else None
    info = _probe(inputs.media)
    check(info)
    script = transcribe(inputs.transcriber, info, report, renamed.applied if renamed else None)
    return Recording(script, info, (*script.warnings, *info.warnings))


def _probe(media: Path) -> MediaInfo:
    from erc_cli.media import probe  # a text alone needs no decoder

    return probe(media)


def outside(script: Transcript, info: MediaInfo) -> list[Notice]:
    """Told once: a transcript that goes on after the medium's end may be another recording's."""
    late = [u for u in script.utterances if u.start >= info.duration]
    if not late:
        return []
    if apart(script, info):
        return [Notice(OUTSIDE, f"{apart(script, info)} Only the words are judged.")]
    count = len(script.utterances)
    message = (
        f"{len(late)} of {count} utterances begin after the end of {info.path.name}"
        f" ({info.duration:.1f} s); they have no sound or picture. Is it the right transcript?"
    )
    return [Notice(OUTSIDE, message)]


def apart(script: Transcript, info: MediaInfo | None) -> str:
    """What to say when transcript and medium have no moment in common; else nothing."""
    if info is None or not script.utterances or script.utterances[0].start < info.duration:
        return ""
    name = script.path.name if script.path is not None else "The transcript"
    return (
        f"{name} and {info.path.name} look like different recordings: the first utterance begins at"
        f" {script.utterances[0].start:.1f} s, and {info.path.name} ends at {info.duration:.1f} s."
    )
