"""Fakes that are real plugins, with features and probabilities that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import (
    Clip,
    Conversation,
    Encoded,
    Extractor,
    Features,
    Fusion,
    Head,
    Modality,
    Status,
    Utterance,
    Wish,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import FloatArray

RATE = 16_000


@dataclass(frozen=True, slots=True)
class FakeExtractor:
    """Features that can be worked out by hand: length of the text, of the sound, number of frames.

    Width 2: (that number times `scale`, 1). Present where there is text, sound, or a frame.
    """

    modality: Modality = Modality.TEXT
    scale: float = 1.0
    classes: int = 3

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def head(self) -> Head:
        """Class k has the logit k times the first feature; the prior is even."""
        weight = np.zeros((self.classes, 2), np.float32)
        weight[:, 0] = np.arange(self.classes)
        even = np.full(self.classes, 1 / self.classes, np.float32)
        return Head(weight, np.zeros(self.classes, np.float32), even)

    @property
    def reach(self) -> tuple[int, int]:
        """Every utterance is by itself."""
        return 0, 0

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing for text, the span for audio, one frame in its middle for visual."""
        if self.modality is Modality.AUDIO:
            return Wish(sound=(utterance.start, utterance.end))
        if self.modality is Modality.VISUAL:
            return Wish(frames=((utterance.start + utterance.end) / 2,), longest_side=32)
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Seconds of sound, or number of frames."""
        audio = self.modality is Modality.AUDIO
        status = clip.sound_status if audio else clip.frames_status
        if status is not Status.OK or (audio and clip.sound is None):
            return Encoded(None, Status.SILENT if status is Status.OK else status)
        size = (0 if clip.sound is None else len(clip.sound)) / RATE if audio else len(clip.frames)
        return Encoded(np.array([size * self.scale, 1], np.float32))

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """One row per utterance, as encoded; for text the number of characters."""
        if self.modality is Modality.TEXT:
            rows = [_length(u.text, self.scale) for u in conversation.utterances]
        values = np.zeros((len(rows), 2), np.float32)
        status = []
        for i, row in enumerate(rows):
            status.append(Status.UNREADABLE if row is None else row.status)
            if row is not None and row.values is not None:
                values[i] = row.values
        return Features(values, np.array([s is Status.OK for s in status], np.bool_), tuple(status))


def _length(text: str, scale: float) -> Encoded:
    if not text:
        return Encoded(None, Status.NO_TEXT)
    return Encoded(np.array([len(text) * scale, 1], np.float32))


@dataclass(frozen=True, slots=True)
class FakeFusion:
    """The mean of the present modalities' opinions; each says class (first feature, rounded) mod classes.

    An opinion is 0.9 for that class and the rest spread evenly. Without any: the even prior.
    """

    classes: int = 3

    @property
    def reach(self) -> tuple[int, int]:
        """Every utterance is by itself."""
        return 0, 0

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> FloatArray:
        """Probabilities [n, classes]."""
        count = len(conversation.utterances)
        total = np.zeros((count, self.classes), np.float64)
        voices = np.zeros((count, 1), np.float64)
        for one in features.values():
            total[one.present] += self._opinion(one)
            voices[one.present] += 1
        even = np.full_like(total, 1 / self.classes)
        return np.where(voices > 0, total / np.maximum(voices, 1), even).astype(np.float32)

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> FloatArray:
        """Probabilities [n, classes] of one modality."""
        return self.predict(conversation, {modality: features})

    def _opinion(self, features: Features) -> NDArray[np.float64]:
        said = np.rint(features.values[features.present, 0]).astype(int) % self.classes
        opinion = np.full((len(said), self.classes), 0.1 / (self.classes - 1))
        opinion[np.arange(len(said)), said] = 0.9
        return opinion


def _build_text(*, scale: float = 1.0) -> Extractor:
    return FakeExtractor(Modality.TEXT, scale)


def _build_audio(*, scale: float = 1.0) -> Extractor:
    return FakeExtractor(Modality.AUDIO, scale)


def _build_visual(*, scale: float = 1.0) -> Extractor:
    return FakeExtractor(Modality.VISUAL, scale)


def _build_fusion(*, labels: Sequence[str]) -> Fusion:
    return FakeFusion(len(labels))


class FakePlugin:
    """Extractors `fake-text`, `fake-audio`, `fake-visual` and fusion `fake-mean`, by real hooks.

    `Registry.of(FakePlugin())` makes a registry of them.
    """

    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        """The three fake extractors."""
        builds = {Modality.TEXT: _build_text, Modality.AUDIO: _build_audio, Modality.VISUAL: _build_visual}
        return [ExtractorSpec(f"fake-{m}", m, f"fake {m} for tests", build) for m, build in builds.items()]

    @hookimpl
    def erc_fusions(self) -> Sequence[FusionSpec]:
        """The fake fusion."""
        return [FusionSpec("fake-mean", "mean of fake opinions, for tests", _build_fusion)]
