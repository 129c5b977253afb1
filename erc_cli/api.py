"""What `erc predict` does, from Python: the same models, the same checks, the same records.

    >>> from erc_cli import load_preset
    >>> model = load_preset("default", drop="visual", device="cpu")
    >>> model.modalities
    ('text', 'audio')
    >>> for name in ("conversation",):
    ...     result = model.predict(f"examples/{name}.mp4", f"examples/{name}.srt")
    ...     print(len(result.utterances), result.label(result.predictions[0]))
    8 joy

Nothing is printed and nothing is downloaded. What was odd about the input is in `Result.warnings`; what
you can mend is an `ErcError`, whose `hint` says how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from erc_cli.api_inputs import Asked, set_words
from erc_cli.certainty import checked
from erc_cli.learning import Progress, Report
from erc_cli.prediction import Loaded, Wanted, choose, load
from erc_cli.registry import load_registry
from erc_cli.result_read import read_result as _read_result
from erc_cli.transcribing import Plan
from erc_cli.types import Modality, Result

if TYPE_CHECKING:
    from erc_cli.api_inputs import AnyPath, AnyTranscript

    Modalities: TypeAlias = str | Modality | Iterable[str]


def _silent(step: Progress) -> None:
    del step


@dataclass(frozen=True, slots=True, repr=False)
class LoadedPreset:
    """A preset whose networks are in memory, for any number of recordings; `load_preset` makes it."""

    loaded: Loaded
    plans: dict[str, Plan] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.loaded.preset.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions, in the order of all probabilities."""
        return self.loaded.model.labels

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it looks at: some of `text`, `audio`, `visual`."""
        return tuple(str(m) for m in Modality if m in self.loaded.model.extractors)

    @property
    def stages(self) -> dict[str, str]:
        """Where each part runs and in which numbers, such as `cpu, fp32`, by its name."""
        return {stage: str(placement) for stage, placement in self.loaded.model.placements.items()}

    def predict(
        self,
        media: AnyPath | None = None,
        transcript: AnyTranscript | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        speakers: AnyPath | Mapping[str, str] | None = None,
        transcript_format: str | None = None,
        transcriber: str | Mapping[str, Any] | None = None,
        min_confidence: float = 0.0,
        progress: Report | None = None,
    ) -> Result:
        """The emotion that each utterance expresses; arguments as of `predict`."""
        model = replace(self.loaded, min_confidence=checked(min_confidence, self.labels))
        asked = Asked(media, transcript, columns or {}, speakers, transcript_format, transcriber)
        report, device = progress or _silent, str(self.loaded.about["device"])
        recording = asked.opened(self.loaded.registry, report, device, self.plans)
        return model.answer(recording, report)

    def __repr__(self) -> str:
        uses = self.loaded.preset.extractors
        branches = ", ".join(f"{m} {uses[Modality(m)].name}" for m in self.modalities)
        fusion = self.loaded.preset.fusion.name
        return f"<erc preset {self.name}: {branches}; fusion {fusion}; {len(self.labels)} labels>"


def _words(words: Modalities) -> tuple[str, ...]:
    return (str(words),) if isinstance(words, str) else tuple(str(word) for word in words)


def load_preset(
    name_or_path: AnyPath = "default",
    *,
    drop: Modalities = (),
    keep: Modalities = (),
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str | None = None,
    progress: Report | None = None,
) -> LoadedPreset:
    """Load a preset once, to be used for many recordings.

    Args:
        name_or_path: a name of `erc presets list`, a YAML file, or the folder of a run.
        drop: modalities to leave out: `"visual"`, or `("audio", "visual")`.
        keep: the only modalities to use.
        settings: options of the preset to change: `{"text.past": 1}`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `fp32`, `bf16` or `fp16`; None: fp32, or what the preset says.
        progress: called with each `Progress` step.

    Raises:
        UsageError: no such preset, option, modality or device.
        ErcError: a library or a model that it needs is missing.
    """
    registry = load_registry()
    wanted = Wanted(
        fspath(name_or_path), _words(drop), _words(keep), set_words(settings or {}), device, precision
    )
    return LoadedPreset(load(choose(wanted, registry), registry, progress or _silent))


def predict(
    media: AnyPath | None = None,
    transcript: AnyTranscript | None = None,
    preset: AnyPath | LoadedPreset = "default",
    *,
    columns: Mapping[str, str] | None = None,
    speakers: AnyPath | Mapping[str, str] | None = None,
    transcript_format: str | None = None,
    transcriber: str | Mapping[str, Any] | None = None,
    min_confidence: float = 0.0,
    progress: Report | None = None,
) -> Result:
    """Which emotion each utterance of a recording expresses, who said it, and how sure that is.

        >>> from erc_cli import predict
        >>> said = [{"start": 0.5, "end": 3.7, "text": "We did it! I am so happy!", "speaker": "Anna"}]
        >>> result = predict("examples/conversation.mp4", said)
        >>> result.label(result.predictions[0])
        'joy'

    Args:
        media: a recording with sound, pictures or both; None: the words alone are judged.
        transcript: a file (SRT, VTT, ASS, ELAN, TextGrid, RTTM, JSON, CSV, TSV), a `Transcript`, a
            sequence of `Utterance` or of mappings, or a data frame. None: the file of the recording's
            name beside it.
        preset: a name or path, loaded for this call, or what `load_preset` gave.
        columns: what a table calls `start`, `end` (or `duration`), `text`, `speaker`.
        speakers: old name -> new name, or a YAML file of that; equal new names merge speakers.
        transcript_format: the file's format, where its name and content mislead.
        transcriber: what makes the transcript where there is none: `"segments"` (times, no words), or with
            options `{"use": "whisper", "weights": "whisper-base"}`.
        min_confidence: from 0 to 1; an utterance of which no emotion is so probable is labelled
            `uncertain`: see `Result.label`.
        progress: called with each `Progress` step.

    Returns:
        The result, equal to what `erc predict --json` prints.

    Raises:
        UsageError: an input is not there or not usable, or there is nothing to judge by.
        ErcError: a library or a model is missing, or every modality failed.
    """
    if isinstance(preset, LoadedPreset):
        return preset.predict(
            media,
            transcript,
            columns=columns,
            speakers=speakers,
            transcript_format=transcript_format,
            transcriber=transcriber,
            min_confidence=min_confidence,
            progress=progress,
        )
    asked = Asked(media, transcript, columns or {}, speakers, transcript_format, transcriber)
    report, registry = progress or _silent, load_registry()
    chosen = choose(Wanted(fspath(preset), min_confidence=min_confidence), registry)
    recording = asked.opened(registry, report)  # what is wrong with it is told before the slow part
    return load(chosen, registry, report).answer(recording, report)


def read_result(path: AnyPath) -> Result:
    """A result that `erc predict -o FILE.json` or `Result.save` wrote.

    Raises:
        UsageError: no such file, or it is no result.
    """
    return _read_result(Path(path))
