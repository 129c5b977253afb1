"""One recording from its files to a `Result`: what `erc predict` and `erc ablate` do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erc_cli import __version__
from erc_cli.errors import UsageError
from erc_cli.pipeline import Model, extract, fuse
from erc_cli.preset import Preset
from erc_cli.registry import Registry
from erc_cli.result import NOTICE
from erc_cli.transcripts import read_transcript
from erc_cli.types import (
    Conversation,
    Features,
    MediaInfo,
    Modality,
    Notice,
    Report,
    Result,
    Transcript,
)

BIOMETRIC = frozenset({Modality.AUDIO, Modality.VISUAL})


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


def open_recording(
    media: Path | None, transcript: Path | None, registry: Registry, *, format: str | None = None
) -> Recording:
    """Read the transcript and probe the medium.

    Raises:
        UsageError: one of them is not there or not usable.
    """
    from erc_cli.media import probe

    if transcript is None:
        transcript = _beside(media, registry)
    info = probe(media) if media is not None else None
    script = read_transcript(transcript, registry.readers, format=format)
    notices = [*script.warnings]
    if info is not None:
        notices += [*info.warnings, *_outside(script, info)]
    return Recording(script, info, tuple(notices))


def _beside(media: Path | None, registry: Registry) -> Path:
    """A transcript of the medium's name beside it."""
    if media is None:
        raise UsageError("Nothing to work on.", hint="Type: erc predict video.mp4 --transcript video.srt")
    endings = [ending for spec in registry.readers.values() for ending in spec.extensions]
    found = [path for ending in endings if (path := media.with_suffix(ending)).is_file() and path != media]
    if not found:
        raise UsageError(
            f"No transcript given, and none beside {media} ({media.stem}{', '.join(endings)}).",
            hint=f"Type: erc predict '{media}' --transcript FILE",
        )
    return found[0]


def _outside(script: Transcript, info: MediaInfo) -> list[Notice]:
    """Told once: a transcript that goes on after the medium's end may be another recording's."""
    late = [u for u in script.utterances if u.start >= info.duration]
    if not late:
        return []
    count = len(script.utterances)
    message = (
        f"{len(late)} of {count} utterances begin after the end of {info.path.name}"
        f" ({info.duration:.1f} s); they have text only. Is it the right transcript?"
    )
    return [Notice("outside_media", message)]


@dataclass(slots=True)
class Heard:
    """Features of a recording, and the warnings that came up on the way."""

    features: Mapping[Modality, Features]
    warnings: list[Notice]


def hear(model: Model, recording: Recording, report: Report) -> Heard:
    """Extract every branch's features from a recording."""
    notices: list[Notice] = []
    features = extract(
        model.extractors, recording.conversation, recording.media, report=report, warn=notices.append
    )
    return Heard(features, notices)


def answer(
    model: Model, recording: Recording, heard: Heard, preset: Preset, registry: Registry, device: str
) -> Result:
    """Fuse, attribute, and add what a reader of the result must know."""
    predictions = fuse(model, recording.conversation, heard.features)
    return Result(
        labels=model.labels,
        utterances=recording.transcript.utterances,
        predictions=predictions,
        media=recording.media,
        transcript=recording.transcript,
        warnings=(*recording.warnings, *heard.warnings),
        meta=_meta(preset, registry, device),
    )


def _meta(preset: Preset, registry: Registry, device: str) -> dict[str, Any]:
    specs = {str(m): registry.extractor(use.name) for m, use in preset.extractors.items()}
    plugins = {m: f"{spec.name} {registry.owner(spec).version}".strip() for m, spec in specs.items()}
    fusion = registry.fusion(preset.fusion.name)
    return {
        "erc": __version__,
        "preset": preset.name,
        "plugins": {**plugins, "fusion": f"{fusion.name} {registry.owner(fusion).version}".strip()},
        "device": device,
        "seed": 0,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "biometric": bool(BIOMETRIC & set(preset.extractors)),
        "notice": NOTICE,
    }
