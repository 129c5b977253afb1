"""One recording from its files to a `Result`: what `erc predict` and `erc ablate` do.

chosen = choose(Wanted("default"), registry)      # checks names and options, loads nothing
loaded = load(chosen, registry)                   # the networks, for as many recordings as there are
result = loaded.answer(open_inputs(Inputs(Path("talk.mp4"), Path("talk.srt")), registry))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from erc_cli import __version__, certainty
from erc_cli.contamination import as_data, marks_in
from erc_cli.device import about, find_device
from erc_cli.errors import UsageError
from erc_cli.features import refuse_bound_to_data
from erc_cli.learning import Progress, Report
from erc_cli.live import settle, whole_readers
from erc_cli.pairing import find_transcript
from erc_cli.pipeline import Model, extract, fuse, load_model, priors_of
from erc_cli.preset import Preset, find_preset, override, refuse_stale_fusion
from erc_cli.preset import drop as without
from erc_cli.preset import keep as only
from erc_cli.recording import Inputs, Recording, apart, open_inputs, open_recording
from erc_cli.registry import Registry
from erc_cli.result import NOTICE
from erc_cli.types import (
    Features,
    Modality,
    Notice,
    Prediction,
    Result,
    Status,
)

__all__ = [
    "Chosen",
    "Heard",
    "Inputs",
    "Loaded",
    "Recording",
    "Wanted",
    "answer",
    "apart",
    "check_judged",
    "choose",
    "find_transcript",
    "hear",
    "load",
    "open_inputs",
    "open_recording",
]

BIOMETRIC = frozenset({Modality.AUDIO, Modality.VISUAL})
SOUGHT = {Modality.TEXT: "words", Modality.AUDIO: "voice", Modality.VISUAL: "face"}


#: told of settled answers: the number of the first utterance, and the answers from it on
Rows = Callable[[int, Sequence[Prediction]], None]


# --- what is wanted ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """The preset, what is changed about it (`--drop`, `--keep`, `--set`), and where it runs.

    `min_confidence`: below it an answer is labelled `uncertain`.
    """

    preset: str
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    device: str = "auto"
    precision: str | None = None
    min_confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """A preset as wanted: checked, and nothing of it loaded. `dropped` were left out by name."""

    wanted: Wanted
    preset: Preset
    dropped: frozenset[Modality]


def choose(wanted: Wanted, registry: Registry) -> Chosen:
    """Find the preset, change it as wanted, and check whatever is quick to check.

    Raises:
        UsageError: no such preset, or it does not fit what is wanted.
        ErcError: a library is missing.
    """
    certainty.checked(wanted.min_confidence)
    found = find_preset(wanted.preset, registry)
    preset = override(found, wanted.settings, registry)
    reduced = only(preset, wanted.keep, registry) if wanted.keep else preset
    reduced = without(reduced, wanted.drop, registry)
    refuse_stale_fusion(found, reduced, registry)
    refuse_bound_to_data(reduced, registry)
    certainty.checked(wanted.min_confidence, reduced.labels)
    for use in reduced.extractors.values():
        registry.require(registry.extractor(use.name))
    return Chosen(wanted, reduced, frozenset(preset.extractors) - frozenset(reduced.extractors))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, ready for any number of recordings; `about` goes into the `meta` of each result.

    `min_confidence`: that of the results.
    """

    registry: Registry
    preset: Preset
    model: Model
    about: Mapping[str, Any]
    min_confidence: float = 0.0

    def answer(self, recording: Recording, report: Report = lambda step: None) -> Result:
        """The whole result of one recording.

        Raises:
            UsageError: there is nothing in it to judge by.
            ErcError: every modality failed.
        """
        result = self.answer_from(recording, hear(self.model, recording, report))
        check_judged(result)
        return result

    def answer_live(self, recording: Recording, rows: Rows, report: Report = lambda step: None) -> Result:
        """The same, and `rows` is told each answer as soon as it is settled, see `erc_cli.live`.

        Answers before the first one that has anything to judge by wait for it.

        Raises:
            UsageError: there is nothing in it to judge by.
            ErcError: every modality failed.
        """
        if whole_readers(self.model):
            result = self.answer(recording, report)
            rows(0, result.predictions)
            return result
        notices: list[Notice] = []
        said: list[Prediction] = []
        told = 0
        settled = settle(
            self.model, recording.conversation, recording.media, report=report, warn=notices.append
        )
        for piece in settled:
            said += piece.predictions
            if told or any(map(_judged, piece.predictions)):
                rows(told, said[told:])
                told = len(said)
        result = self._result(recording, tuple(said), notices)
        check_judged(result)
        return result

    def answer_from(
        self, recording: Recording, heard: Heard, dropped: frozenset[Modality] = frozenset()
    ) -> Result:
        """Predictions from features; those of `dropped` modalities are left out."""
        model = replace(self.model, dropped=self.model.dropped | dropped)
        kept = {m: f for m, f in heard.features.items() if m not in dropped}
        part = Heard(kept, heard.warnings)
        made = answer(model, recording, part, self.preset, self.registry, self.about)
        return replace(made, min_confidence=self.min_confidence)

    def _result(
        self, recording: Recording, predictions: tuple[Prediction, ...], notices: Sequence[Notice]
    ) -> Result:
        meta = _meta(self.model, self.preset, self.registry, self.about)
        made = _made(self.model, recording, predictions, notices, meta)
        return replace(made, min_confidence=self.min_confidence)


def load(chosen: Chosen, registry: Registry, report: Report = lambda step: None) -> Loaded:
    """Build the networks of a chosen preset.

    Raises:
        UsageError: there is no such device, or it has not that precision.
        ErcError: a file that a part needs is missing or damaged.
    """
    wanted, preset = chosen.wanted, chosen.preset
    report(Progress("model", 0, 1, preset.name))
    device = find_device(wanted.device)
    model = load_model(preset, registry, device=device, precision=wanted.precision, dropped=chosen.dropped)
    report(Progress("model", 1, 1, ""))
    settings = {"settings": list(wanted.settings)} if wanted.settings else {}
    ran = about(device, wanted.precision, model.placements)
    told = {**settings, **ran, **as_data(marks_in(preset, registry))}
    return Loaded(registry, preset, model, told, certainty.checked(wanted.min_confidence, preset.labels))


# --- the answer ----------------------------------------------------------------------------


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
    return _made(model, recording, predictions, heard.warnings, _meta(model, preset, registry, about))


def _made(
    model: Model,
    recording: Recording,
    predictions: tuple[Prediction, ...],
    notices: Sequence[Notice],
    meta: Mapping[str, Any],
) -> Result:
    script = recording.transcript
    told = {notice.code for notice in script.warnings}  # a transcriber has met the same damage
    more = [notice for notice in notices if notice.code not in told]
    return Result(
        labels=model.labels,
        utterances=recording.transcript.utterances,
        predictions=predictions,
        media=recording.media,
        transcript=recording.transcript,
        warnings=(*recording.warnings, *more, *_priors(predictions, model)),
        meta={**meta, "transcriber": dict(script.detail)} if script.detail else meta,
    )


def check_judged(result: Result) -> None:
    """UsageError if not one utterance has words, a voice or a face."""
    if any(notice.code == "nothing_present" for notice in result.warnings) and not any(
        map(_judged, result.predictions)
    ):
        different = apart(result.transcript, result.media)
        if different:
            raise UsageError(different, hint="Name the transcript of this recording: --transcript FILE")
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
