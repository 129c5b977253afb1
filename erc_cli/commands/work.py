"""What `predict` and `ablate` share: from the command line to a loaded model and a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from erc_cli import console, view
from erc_cli.contamination import as_data, marks_in
from erc_cli.device import Placement, about, find_device, line_of, slow_bf16, unused_gpu
from erc_cli.errors import UsageError
from erc_cli.features import refuse_bound_to_data
from erc_cli.learning import Progress, Report
from erc_cli.pipeline import Model, load_model
from erc_cli.prediction import (
    Heard,
    Recording,
    answer,
    check_judged,
    find_transcript,
    hear,
    open_recording,
)
from erc_cli.preset import Preset, find_preset, override
from erc_cli.preset import drop as without
from erc_cli.preset import keep as only
from erc_cli.registry import Registry
from erc_cli.transcripts import columns_from
from erc_cli.types import Modality, Result


@dataclass(frozen=True, slots=True)
class Wanted:
    """The preset and what the command line changes about it."""

    preset: str
    drop: tuple[str, ...]
    keep: tuple[str, ...]
    settings: tuple[str, ...]
    device: str
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files to work on; `note` says where they come from if they were not named.

    `columns`: what the transcript calls its columns; `speakers`: a file with other names for them.
    """

    media: Path | None
    transcript: Path
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    speakers: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them: no output may be one of these."""
        return [path for path in (self.media, self.transcript, self.speakers) if path is not None]


def find_inputs(media: Path | None, transcript: Path | None, registry: Registry, hint: str) -> Inputs:
    """What was named; without a transcript, the one beside the medium.

    Raises:
        UsageError: nothing was named (`hint` says what to type), a name is no local file's, or
            there is no transcript.
    """
    for path in filter(None, (media, transcript)):
        _refuse_elsewhere(path)
    if transcript is not None:
        return Inputs(media, transcript)
    if media is None:
        raise UsageError("Nothing to work on.", hint=hint)
    found = find_transcript(media, registry)
    return Inputs(media, found, f"Transcript: {found.name} (found beside the medium)")


def with_names(inputs: Inputs, columns: Sequence[str], speakers: Path | None) -> Inputs:
    """The same inputs, with `--columns` and `--speakers` as they were typed.

    Raises:
        UsageError: a column that there is none of, or no `NAME=NAME`.
    """
    return replace(inputs, columns=columns_from(columns), speakers=speakers)


def _refuse_elsewhere(path: Path) -> None:
    if str(path) == "-":
        raise UsageError("Standard input is not read.", hint="Save it to a file, and name that.")
    address = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path))  # one letter is a Windows drive
    if address and not path.exists():
        shown = str(path).replace(":/", "://", 1)  # Path takes two slashes for one
        raise UsageError(
            f"{shown} is no file: erc reads local files only.", hint="Download it first, and name the file."
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A model and a recording, ready to be answered."""

    registry: Registry
    preset: Preset
    model: Model
    recording: Recording
    about: Mapping[str, Any]

    def hear(self, report: Report) -> Heard:
        """Features of the recording."""
        return hear(self.model, self.recording, report)

    def answer(self, report: Report) -> Result:
        """Features and predictions in one go."""
        result = self.answer_from(self.hear(report))
        check_judged(result)
        return result

    def answer_from(self, heard: Heard, dropped: frozenset[Modality] = frozenset()) -> Result:
        """Predictions from features; those of `dropped` modalities are left out."""
        model = replace(self.model, dropped=self.model.dropped | dropped)
        kept = {m: f for m, f in heard.features.items() if m not in dropped}
        part = Heard(kept, heard.warnings)
        return answer(model, self.recording, part, self.preset, self.registry, self.about)


def load(
    registry: Registry, wanted: Wanted, inputs: Inputs, transcript_format: str | None, report: Report
) -> Work:
    """Check everything that is quick to check first, then load what is slow."""
    preset = override(find_preset(wanted.preset, registry), wanted.settings, registry)
    reduced = only(preset, wanted.keep, registry) if wanted.keep else preset
    reduced = without(reduced, wanted.drop, registry)
    refuse_bound_to_data(reduced, registry)
    for use in reduced.extractors.values():
        registry.require(registry.extractor(use.name))
    recording = open_recording(
        inputs.media,
        inputs.transcript,
        registry,
        format=transcript_format,
        columns=inputs.columns,
        speakers=inputs.speakers,
    )
    report(Progress("model", 0, 1, reduced.name))
    device = find_device(wanted.device)
    dropped = frozenset(preset.extractors) - frozenset(reduced.extractors)
    model = load_model(reduced, registry, device=device, precision=wanted.precision, dropped=dropped)
    report(Progress("model", 1, 1, ""))
    settings = {"settings": list(wanted.settings)} if wanted.settings else {}
    ran = about(device, wanted.precision, model.placements)
    marks = as_data(marks_in(reduced, registry))
    return Work(registry, reduced, model, recording, {**settings, **ran, **marks})


def say(text: str, *, quiet: bool) -> None:
    """One line on stderr, as long as it is; nothing if it is empty."""
    if text:
        console.err(quiet=quiet).print(Text(text), soft_wrap=True)


def say_placements(placements: Mapping[str, Placement], wanted: str, *, quiet: bool) -> None:
    """On stderr where each stage runs and in which precision, and what is odd about that; `wanted` is
    `--device` as typed."""
    say(line_of(placements), quiet=quiet)
    device = next((one.device for one in placements.values() if one.device != "cpu"), "cpu")
    for warning in (unused_gpu(wanted, device), slow_bf16(placements)):
        warn(warning or "", quiet=quiet)


def warn(text: str, *, quiet: bool) -> None:
    """One warning on stderr; nothing if it is empty."""
    if text:
        console.err(quiet=quiet).print(Text.assemble(("Warning", "yellow"), f": {text}"), soft_wrap=True)


def talk(result: Result, *, quiet: bool) -> None:
    """Warnings and the notice on stderr."""
    err = console.err(quiet=quiet)
    for notice in result.warnings:
        err.print(view.notice_text(notice), soft_wrap=True)
    law = "; biometric use is restricted by law in places: see README"
    what = "Emotion as expressed, not felt"
    err.print(Text(what + (law if result.meta.get("biometric") else ""), style="dim"), soft_wrap=True)
