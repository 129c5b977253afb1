"""What flows through `erc`: plain frozen records, and the protocols that plugins fulfil.

This module imports nothing heavy, because every plugin's front page imports it.
Arrays are numpy float32 at every plugin border; tensors stay inside a plugin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    from numpy.typing import NDArray

    from erc_cli.learning import Report

    FloatArray = NDArray[np.float32]
    IntArray = NDArray[np.int64]
    ByteArray = NDArray[np.uint8]
    BoolArray = NDArray[np.bool_]


class Modality(StrEnum):
    """A branch of the model."""

    TEXT = "text"
    AUDIO = "audio"
    VISUAL = "visual"


class Status(StrEnum):
    """Why a modality has, or has not, something to say about an utterance."""

    OK = "ok"
    NO_FACE = "no_face"
    NO_VIDEO = "no_video"
    NO_AUDIO_TRACK = "no_audio_track"
    SILENT = "silent"
    NO_TEXT = "no_text"
    OUTSIDE_MEDIA = "outside_media"
    UNREADABLE = "unreadable"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning about the input. `code` is for machines, `line` counts from 1 where known."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn: `start` and `end` in seconds from the medium's start."""

    start: float
    end: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a reader returns: utterances in time order, and what was odd about the file.

    `detail`: what a transcriber has to say of how it made them, ready for JSON.
    """

    utterances: tuple[Utterance, ...]
    format: str
    warnings: tuple[Notice, ...] = ()
    path: Path | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Utterances in time order. Row i of every array made from it is utterance i."""

    utterances: tuple[Utterance, ...]
    id: str = ""


# --- media ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a probe found. `duration` in seconds; sizes in pixels after rotation."""

    path: Path
    sha256: str
    duration: float
    video: bool
    audio: bool
    width: int = 0
    height: int = 0
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What an extractor wants of the media for one utterance.

    `sound`: a span (start, end) in seconds, or None. `frames`: times in seconds, each answered
    by the frame on screen then. `longest_side`: frames are scaled down to it, never up.
    """

    sound: tuple[float, float] | None = None
    frames: tuple[float, ...] = ()
    longest_side: int = 640


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: `time` is its own time stamp in seconds, `rgb` uint8 [height, width, 3]."""

    time: float
    rgb: ByteArray


@dataclass(frozen=True, slots=True)
class Clip:
    """What the media gave for a `Wish`.

    `sound`: 16 kHz mono float32 [samples] within -1..1, or None unless `sound_status` is `ok`.
    `frames` is empty unless `frames_status` is `ok`. A span that is only partly inside the
    medium is `ok` and holds the part inside.
    """

    sound: FloatArray | None = None
    sound_status: Status = Status.OK
    frames: tuple[Frame, ...] = ()
    frames_status: Status = Status.OK


class Transcriber(Protocol):
    """Makes a transcript of a recording that has none."""

    def transcribe(self, media: MediaInfo, report: Report) -> Transcript:
        """The utterances that are heard in `media`, which has sound; none, where nobody speaks.

        Times in seconds from the medium's start; words that are not known are an empty text, and a
        speaker who is not known is None.
        """


# --- extractors ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Encoded:
    """One utterance after `Extractor.encode`: a vector [d], or the reason why there is none."""

    values: FloatArray | None
    status: Status = Status.OK
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a conversation in one modality.

    `values` float32 [n, d]; `present` bool [n]; `status` one per row. A row is present exactly
    when its status is `ok`; the values of an absent row mean nothing and are never read.
    `detail`: what else the extractor has to say of each row, ready for JSON; empty, or one per row.
    """

    values: FloatArray
    present: BoolArray
    status: tuple[Status, ...]
    detail: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier on features: logits = values @ weight.T + bias.

    `weight` float32 [classes, d], `bias` float32 [classes], `prior` float32 [classes]: the share
    of each class in the data that it was trained on.
    """

    weight: FloatArray
    bias: FloatArray
    prior: FloatArray


class Extractor(Protocol):
    """One branch: from an utterance's words, sound or pictures to a vector.

    `encode` sees one utterance's clip and may be called in any order; it is called only for
    utterances whose `wish` was not empty. `gather` sees the whole conversation and returns its
    features; `rows[i]` is what `encode` returned for utterance i, or None where it was not called.
    """

    @property
    def dim(self) -> int:
        """Width d of the features."""

    @property
    def head(self) -> Head | None:
        """The classifier that the extractor was trained with, if any."""

    def wish(self, utterance: Utterance) -> Wish:
        """What `encode` needs of the media for this utterance."""

    def encode(self, clip: Clip) -> Encoded:
        """One utterance's vector, or why there is none."""

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features of the conversation, context and speakers taken into account."""


class PictureExtractor(Extractor, Protocol):
    """A visual extractor that can also be fed with ready-cut face pictures."""

    def encode_pictures(self, pictures: ByteArray) -> Features:
        """Features [n, d] of uint8 pictures [n, height, width] (grey) of one face each."""


# --- fusion and results --------------------------------------------------------------------


class Fusion(Protocol):
    """From features to probabilities, for every subset of modalities.

    A fusion may also have `prior_of(modality) -> FloatArray | None`: the class shares [classes] of the
    population that `alone` speaks of, where it states them. They are written beside the answers, and
    calibration is also measured in that population (`erc_cli.pipeline.priors_of` asks for them).
    """

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> FloatArray:
        """Probabilities [n, classes], rows summing to 1, from the modalities given.

        With no modality at all, or none present in a row, the answer is the prior.
        """

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> FloatArray:
        """What one modality says by itself: calibrated probabilities [n, classes]."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One modality on one utterance. Without status `ok` there are no probabilities.

    `detail` is the extractor's, see `Features`.
    """

    status: Status
    probabilities: tuple[float, ...] = ()
    contribution: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WordChange:
    """A word of an utterance, characters `start` to `end` of its text.

    `change`: how much higher the log-odds of the predicted label are with the word than without it.
    """

    text: str
    start: int
    end: int
    change: float


@dataclass(frozen=True, slots=True)
class ContextChange:
    """Another utterance, by its place in the conversation; `change` as of a word."""

    index: int
    change: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which words and which other utterances moved the answer for one utterance.

    `words` None: they were not asked for, or no branch reads them. `method`: how they were weighed.
    """

    context: tuple[ContextChange, ...] = ()
    words: tuple[WordChange, ...] | None = None
    method: str = "occlusion"


UNCERTAIN = "uncertain"  # the label where no emotion is probable enough, see `Result.min_confidence`


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one utterance: probabilities over `labels`, and each modality's part."""

    probabilities: tuple[float, ...]
    opinions: Mapping[Modality, Opinion]
    explanation: Explanation | None = None

    @property
    def best(self) -> int:
        """Index of the most probable label."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """Probability of the most probable label."""
        return self.probabilities[self.best]

    def below(self, least: float) -> bool:
        """Whether not even the most probable label has a probability of `least`."""
        return self.confidence < least - 1e-9  # which writing and reading back may move it by

    def label(self, labels: Sequence[str], least: float = 0.0) -> str:
        """The most probable of `labels`, or `uncertain`, see `Result.label`."""
        return UNCERTAIN if self.below(least) else labels[self.best]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that `erc predict` knows; writers turn it into files.

    `predictions[i]` is the answer for `utterances[i]`; probabilities are in the order of `labels`.
    An answer whose greatest probability is below `min_confidence` is labelled `uncertain`.
    """

    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    predictions: tuple[Prediction, ...]
    media: MediaInfo | None
    transcript: Transcript
    warnings: tuple[Notice, ...]
    meta: Mapping[str, Any]
    min_confidence: float = 0.0

    def label(self, prediction: Prediction) -> str:
        """What an utterance is said to express: its most probable label, or `uncertain`."""
        return prediction.label(self.labels, self.min_confidence)

    @property
    def shown_labels(self) -> tuple[str, ...]:
        """All that `label` may say: `labels`, and `uncertain` behind them where it is possible."""
        return (*self.labels, UNCERTAIN) if self.min_confidence else self.labels

    def to_dict(self) -> dict[str, Any]:
        """The document `erc.result/1`, the same that `erc predict --json` prints."""
        from erc_cli.result import to_dict

        return to_dict(self)

    def to_json(self, *, indent: int | None = None) -> str:
        """That document as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent, default=str)

    def save(self, path: str | PathLike[str], *, format: str | None = None, force: bool = False) -> Path:
        """Write a file, whole or not at all; its ending, or `format`, chooses among the formats of `-o`.

        Raises:
            UsageError: no such format, the file is there already and `force` is false, or its folder
                cannot be written.
            ErcError: the format needs a library that is not installed, or the disk is full.
        """
        from erc_cli.saving import save

        return save(self, Path(path), format=format, force=force)

    @overload
    def to_frame(self, library: Literal["pandas"] = "pandas") -> pandas.DataFrame: ...
    @overload
    def to_frame(self, library: Literal["polars"]) -> polars.DataFrame: ...
    def to_frame(self, library: str = "pandas") -> Any:
        """A data frame, one row per utterance, with the columns of `-o FILE.parquet`.

        Raises:
            ErcError: the library is not installed.
        """
        from erc_cli.frames import to_frame

        return to_frame(self, library)

    def __repr__(self) -> str:
        from erc_cli.notebook import line_of

        return line_of(self)

    def _repr_html_(self) -> str:
        """The first utterances, for a notebook."""
        from erc_cli.notebook import table_of

        return table_of(self)
