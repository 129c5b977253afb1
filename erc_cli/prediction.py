"""One recording from its files to a `Result`: what `erc predict` and `erc ablate` do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erc_cli import __version__
from erc_cli.errors import UsageError
from erc_cli.learning import Report
from erc_cli.pipeline import Model, extract, fuse, priors_of
from erc_cli.preset import Preset
from erc_cli.registry import Registry
from erc_cli.result import NOTICE
from erc_cli.speaker_map import read_speaker_map
from erc_cli.specs import Reading
from erc_cli.transcripts import read_transcript
from erc_cli.types import (
    Conversation,
    Features,
    MediaInfo,
    Modality,
    Notice,
    Prediction,
    Result,
    Status,
    Transcript,
)

BIOMETRIC = frozenset({Modality.AUDIO, Modality.VISUAL})
#: what is taken first of the files beside a medium
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
#: what is taken last, because it says who speaks, but not what
WORDLESS = (".rttm",)
#: endings that are usually written with capitals
SPELT = {".textgrid": ".TextGrid"}
SOUGHT = {Modality.TEXT: "words", Modality.AUDIO: "voice", Modality.VISUAL: "face"}


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
    notices = [*script.warnings]
    if info is not None:
        notices += [*info.warnings, *_outside(script, info)]
    return Recording(script, info, tuple(notices))


def _probe(media: Path) -> MediaInfo:
    from erc_cli.media import probe  # a text alone needs no decoder

    return probe(media)


def find_transcript(media: Path, registry: Registry) -> Path:
    """The transcript of the medium's name beside it: subtitles first, never a result of ours.

    Raises:
        UsageError: there is none, or the medium itself is not there.
    """
    if not media.is_file():
        _probe(media)  # says what is wrong with it
    known = [ending for spec in registry.readers.values() for ending in spec.extensions]
    first = [ending for ending in SUBTITLES if ending in known]
    last = [ending for ending in WORDLESS if ending in known]
    endings = [*first, *(ending for ending in known if ending not in (*first, *last)), *last]
    spelt = [name for ending in endings for name in (ending, ending.upper(), SPELT.get(ending, ending))]
    for path in map(media.with_suffix, spelt):
        if path.is_file() and path != media and not _own_result(path):
            return path
    raise UsageError(
        f"No transcript given, and none beside {media} ({media.stem}{', '.join(endings)}).",
        hint="Name it with --transcript FILE.",
    )


def _own_result(path: Path) -> bool:
    """Whether a JSON, JSON lines, table or RTTM is what `erc predict -o` once wrote."""
    if path.suffix.lower() in SUBTITLES:
        return False
    with path.open("rb") as stream:
        head = stream.read(65536).decode("utf-8", errors="replace").lstrip("\ufeff")
    first = head.partition("\n")[0]
    cells = {cell.strip(' "\r') for cell in re.split(r"[,;\t|]", first)}
    table = "confidence" in cells and any(cell.startswith("p_") for cell in cells)
    line = first.startswith("{") and '"modalities"' in first and '"probabilities"' in first
    turns = head.startswith("SPEAKER ") and "\nNON-LEX " in head
    return table or line or turns or bool(re.match(r'\s*\{\s*"schema"\s*:\s*"erc\.', head))


def _outside(script: Transcript, info: MediaInfo) -> list[Notice]:
    """Told once: a transcript that goes on after the medium's end may be another recording's."""
    late = [u for u in script.utterances if u.start >= info.duration]
    if not late:
        return []
    count = len(script.utterances)
    message = (
        f"{len(late)} of {count} utterances begin after the end of {info.path.name}"
        f" ({info.duration:.1f} s); they have no sound or picture. Is it the right transcript?"
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
    model: Model,
    recording: Recording,
    heard: Heard,
    preset: Preset,
    registry: Registry,
    about: Mapping[str, Any],
) -> Result:
    """Fuse, attribute, and add what a reader of the result must know; `about` goes into `meta`."""
    predictions = fuse(model, recording.conversation, heard.features)
    return Result(
        labels=model.labels,
        utterances=recording.transcript.utterances,
        predictions=predictions,
        media=recording.media,
        transcript=recording.transcript,
        warnings=(*recording.warnings, *heard.warnings, *_priors(predictions, model)),
        meta=_meta(model, preset, registry, about),
    )


def check_judged(result: Result) -> None:
    """UsageError if not one utterance has words, a voice or a face."""
    if any(notice.code == "nothing_present" for notice in result.warnings) and not any(
        map(_judged, result.predictions)
    ):
        raise UsageError(
            "There is nothing to judge by: no utterance has any of what the model looks at.",
            hint="Check that the transcript belongs to the medium, or drop fewer modalities.",
        )


def _judged(prediction: Prediction) -> bool:
    return any(said.status is Status.OK for said in prediction.opinions.values())


def _priors(predictions: Sequence[Prediction], model: Model) -> list[Notice]:
    """Told once: utterances whose answer is only what is usual in the training data."""
    count = sum(not _judged(prediction) for prediction in predictions)
    if not count:
        return []
    sought = [SOUGHT[m] for m in Modality if m in model.extractors and m not in model.dropped]
    what = " or ".join(filter(None, (", ".join(sought[:-1]), *sought[-1:])))
    have, get = ("utterance has", "it gets") if count == 1 else ("utterances have", "they get")
    message = f"{count} {have} no {what} to judge by; {get} the prior of the training data."
    return [Notice("nothing_present", message)]


def _meta(model: Model, preset: Preset, registry: Registry, about: Mapping[str, Any]) -> dict[str, Any]:
    specs = {str(m): registry.extractor(use.name) for m, use in preset.extractors.items()}
    plugins = {m: f"{spec.name} {registry.owner(spec).version}".strip() for m, spec in specs.items()}
    fusion = registry.fusion(preset.fusion.name)
    dropped = [str(m) for m in Modality if m in model.dropped]
    priors = {
        str(m): {label: round(float(x), 4) for label, x in zip(model.labels, prior, strict=True)}
        for m, prior in priors_of(model).items()
        if m not in model.dropped
    }
    return {
        "erc": __version__,
        "preset": preset.name,
        "preset_sha256": hashlib.sha256(preset.path.read_bytes()).hexdigest(),
        "plugins": {**plugins, "fusion": f"{fusion.name} {registry.owner(fusion).version}".strip()},
        **({"dropped": dropped} if dropped else {}),
        **({"priors": priors} if priors else {}),
        **about,
        "seed": 0,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "biometric": bool(BIOMETRIC & set(preset.extractors)),
        "notice": NOTICE,
    }
