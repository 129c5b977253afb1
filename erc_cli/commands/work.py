"""What `predict` and `ablate` share: from the command line to a loaded model and a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from erc_cli.device import find_device
from erc_cli.pipeline import Model, load_model
from erc_cli.prediction import Heard, Recording, answer, hear, open_recording
from erc_cli.preset import Preset, find_preset, override
from erc_cli.preset import drop as without
from erc_cli.preset import keep as only
from erc_cli.registry import Registry
from erc_cli.types import Modality, Progress, Report, Result


@dataclass(frozen=True, slots=True)
class Wanted:
    """The preset and what the command line changes about it."""

    preset: str
    drop: tuple[str, ...]
    keep: tuple[str, ...]
    settings: tuple[str, ...]
    device: str


@dataclass(frozen=True, slots=True)
class Work:
    """A model and a recording, ready to be answered."""

    registry: Registry
    preset: Preset
    model: Model
    recording: Recording
    device: str

    def hear(self, report: Report) -> Heard:
        """Features of the recording."""
        return hear(self.model, self.recording, report)

    def answer(self, report: Report) -> Result:
        """Features and predictions in one go."""
        return self.answer_from(self.hear(report))

    def answer_from(self, heard: Heard, dropped: frozenset[Modality] = frozenset()) -> Result:
        """Predictions from features; those of `dropped` modalities are left out."""
        model = replace(self.model, dropped=self.model.dropped | dropped)
        kept = {m: f for m, f in heard.features.items() if m not in dropped}
        part = Heard(kept, heard.warnings)
        return answer(model, self.recording, part, self.preset, self.registry, self.device)


def load(
    registry: Registry,
    wanted: Wanted,
    media: Path | None,
    transcript: Path | None,
    transcript_format: str | None,
    report: Report,
) -> Work:
    """Check everything that is quick to check first, then load what is slow."""
    preset = override(find_preset(wanted.preset, registry), wanted.settings, registry)
    reduced = only(preset, wanted.keep, registry) if wanted.keep else preset
    reduced = without(reduced, wanted.drop, registry)
    for use in reduced.extractors.values():
        registry.require(registry.extractor(use.name))
    recording = open_recording(media, transcript, registry, format=transcript_format)
    report(Progress("model", 0, 1, reduced.name))
    device = find_device(wanted.device)
    dropped = frozenset(preset.extractors) - frozenset(reduced.extractors)
    model = load_model(reduced, registry, device=device, dropped=dropped)
    report(Progress("model", 1, 1, ""))
    return Work(registry, reduced, model, recording, device)
