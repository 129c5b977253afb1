"""What `predict` and `ablate` share: from the command line to a loaded model and a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from erc_cli import console, view
from erc_cli.certainty import count_of, told
from erc_cli.device import Placement, line_of, slow_bf16, unused_gpu
from erc_cli.errors import UsageError
from erc_cli.learning import Report
from erc_cli.pipeline import Model
from erc_cli.prediction import (
    Heard,
    Inputs,
    Loaded,
    Recording,
    Rows,
    Wanted,
    choose,
    find_transcript,
    hear,
    open_inputs,
)
from erc_cli.prediction import load as load_chosen
from erc_cli.preset import Preset
from erc_cli.recording import Check
from erc_cli.registry import Registry
from erc_cli.transcribing import Plan
from erc_cli.transcript_write import check_transcript_path
from erc_cli.transcripts import columns_from
from erc_cli.types import Modality, Result

__all__ = [
    "Inputs",
    "Wanted",
    "Work",
    "find_inputs",
    "load",
    "refuse_elsewhere",
    "say",
    "say_placements",
    "talk",
    "to_transcribe",
    "warn",
    "with_names",
]


def find_inputs(media: Path | None, transcript: Path | None, registry: Registry, hint: str) -> Inputs:
    """What was named; without a transcript, the one beside the medium.

    Raises:
        UsageError: nothing was named (`hint` says what to type), a name is no local file's, or
            there is no transcript.
    """
    for path in filter(None, (media, transcript)):
        refuse_elsewhere(path)
    if transcript is not None:
        return Inputs(media, transcript)
    if media is None:
        raise UsageError("Nothing to work on.", hint=hint)
    found = find_transcript(media, registry)
    return Inputs(media, found, f"Transcript: {found.name} (found beside the medium)")


def to_transcribe(media: Path | None, transcript: Path | None, plan: Plan) -> Inputs:
    """The medium, of which the transcriber is to make the transcript, whatever lies beside it.

    Raises:
        UsageError: no medium was named, or a transcript was, or the transcript cannot be saved there.
    """
    for path in filter(None, (media, transcript)):
        refuse_elsewhere(path)
    if transcript is not None:
        raise UsageError(
            "--transcript and --transcriber exclude each other.",
            hint="Leave out --transcriber: the transcript is there.",
        )
    if media is None:
        hint = f"Type: erc predict talk.wav --transcriber {plan.spec.name}"
        raise UsageError("--transcriber needs a recording to listen to.", hint=hint)
    if plan.save is not None:
        check_transcript_path(plan.save, plan.force)
    return Inputs(media, None, f"Transcript: by the transcriber {plan.spec.name}", transcriber=plan)


def with_names(inputs: Inputs, columns: Sequence[str], speakers: Path | None) -> Inputs:
    """The same inputs, with `--columns` and `--speakers` as they were typed.

    Raises:
        UsageError: a column that there is none of, or no `NAME=NAME`.
    """
    return replace(inputs, columns=columns_from(columns), speakers=speakers)


def refuse_elsewhere(path: Path) -> None:
    """UsageError for standard input and addresses, which are no local files."""
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

    loaded: Loaded
    recording: Recording

    @property
    def model(self) -> Model:
        """The model."""
        return self.loaded.model

    @property
    def preset(self) -> Preset:
        """The preset, as it was changed on the command line."""
        return self.loaded.preset

    def hear(self, report: Report) -> Heard:
        """Features of the recording."""
        return hear(self.model, self.recording, report)

    def answer(self, report: Report) -> Result:
        """Features and predictions in one go."""
        return self.loaded.answer(self.recording, report)

    def answer_live(self, rows: Rows, report: Report) -> Result:
        """The same; `rows` is told each answer as soon as it is settled."""
        return self.loaded.answer_live(self.recording, rows, report)

    def answer_from(self, heard: Heard, dropped: frozenset[Modality] = frozenset()) -> Result:
        """Predictions from features; those of `dropped` modalities are left out."""
        return self.loaded.answer_from(self.recording, heard, dropped)


def load(
    registry: Registry,
    wanted: Wanted,
    inputs: Inputs,
    transcript_format: str | None,
    report: Report,
    *,
    check: Check = lambda media: None,
) -> Work:
    """Check everything that is quick to check first (`check`: the medium), then load what is slow."""
    chosen = choose(wanted, registry)
    recording = open_inputs(replace(inputs, format=transcript_format), registry, report, check=check)
    return Work(load_chosen(chosen, registry, report), recording)


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
    """Warnings, how many utterances are uncertain, and the notice on stderr."""
    err = console.err(quiet=quiet)
    for notice in result.warnings:
        err.print(view.notice_text(notice), soft_wrap=True)
    say(told(count_of(result), len(result.predictions), result.min_confidence), quiet=quiet)
    law = "; biometric use is restricted by law in places: see README"
    what = "Emotion as expressed, not felt"
    err.print(Text(what + (law if result.meta.get("biometric") else ""), style="dim"), soft_wrap=True)
