"""What audio branches have in common: what to ask for, what counts as nothing to hear, and rows to features.

Sound is `Clip.sound`: 16 kHz, mono, float32 within -1..1.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from erc_cli.device import Placement
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish

if TYPE_CHECKING:
    from erc_cli.types import BoolArray, FloatArray

RATE = 16_000
SHORTEST = 0.1  # seconds; prosody's limit as well
WINDOW = 400  # samples (25 ms) over which a level is measured
_LEAST = 1e-6  # a value that varies less does not vary

Normalise = Literal["none", "speaker", "dialogue"]


class SoundNet(Protocol):
    """What makes vectors of sounds."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def placement(self) -> Placement:
        """Where it runs."""

    def enough(self, samples: int) -> bool:
        """Whether a sound of so many samples is long enough."""

    def vectors(self, sounds: Sequence[FloatArray]) -> list[FloatArray]:
        """A vector [`dim`] of each sound; the others beside it change nothing but the speed."""


@dataclass(frozen=True, slots=True)
class SoundExtractor:
    """Fulfils `Extractor` and `EncodesMany`: a network's vector of each utterance by itself.

    What nowhere reaches `silence_db` is silent. `normalise`: see `normalised`.
    """

    net: SoundNet
    silence_db: float = -60.0
    normalise: Normalise = "none"

    @property
    def dim(self) -> int:
        """The network's."""
        return self.net.dim

    @property
    def head(self) -> Head | None:
        """None: the fusion fits one."""
        return None

    @property
    def placement(self) -> Placement:
        """The network's."""
        return self.net.placement

    @property
    def reach(self) -> tuple[int, int] | None:
        """None where rows are normalised by all of the speaker's or dialogue's; else each is by itself."""
        return (0, 0) if self.normalise == "none" else None

    def wish(self, utterance: Utterance) -> Wish:
        """All of the utterance's sound; nothing if it has no length."""
        if utterance.end <= utterance.start:
            return Wish()
        return Wish(sound=(utterance.start, utterance.end))

    def encode(self, clip: Clip) -> Encoded:
        """The vector of one utterance, or why there is none."""
        return self.encode_many([clip])[0]

    def encode_many(self, clips: Sequence[Clip]) -> list[Encoded]:
        """The same of several utterances."""
        rows = [self._unheard(clip) for clip in clips]
        heard = [i for i, row in enumerate(rows) if row is None]
        sounds = [sound for i in heard if (sound := clips[i].sound) is not None]
        made = dict(zip(heard, self.net.vectors(sounds) if sounds else [], strict=True))
        return [Encoded(made[i]) if row is None else row for i, row in enumerate(rows)]

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features [n, `dim`]: the vectors, normalised if that is wanted."""
        return gathered(conversation, rows, self.dim, self.normalise)

    def _unheard(self, clip: Clip) -> Encoded | None:
        row = unheard(clip, self.silence_db)
        if row is None and clip.sound is not None and not self.net.enough(len(clip.sound)):
            return Encoded(None, Status.SILENT, {"seconds": round(len(clip.sound) / RATE, 3)})
        return row


def loudest(sound: FloatArray) -> float:
    """The highest root mean square of 25 ms, in dB of full scale; -inf for nothing at all."""
    count = len(sound) // WINDOW
    frames = sound[: count * WINDOW].reshape(count, WINDOW) if count else sound[None]
    power = float(np.square(frames.astype(np.float64)).mean(1).max()) if frames.size else 0.0
    return 10 * float(np.log10(power)) if power > 0 else -np.inf


def unheard(clip: Clip, silence_db: float) -> Encoded | None:
    """The row of a clip in which there is nothing to hear, None where there is something.

    `silent` is what is shorter than 0.1 s or nowhere reaches `silence_db` (dB of full scale);
    `unreadable` what holds numbers that are not finite, as damaged float files do.
    """
    if clip.sound is None:
        status = clip.sound_status if clip.sound_status is not Status.OK else Status.NO_AUDIO_TRACK
        return Encoded(None, status)
    if not np.isfinite(clip.sound).all():
        return Encoded(None, Status.UNREADABLE, {"sound": "not finite"})
    seconds = len(clip.sound) / RATE
    if seconds < SHORTEST:
        return Encoded(None, Status.SILENT, {"seconds": round(seconds, 3)})
    level = loudest(clip.sound)
    if level < silence_db:
        return Encoded(None, Status.SILENT, {"loudest_db": round(max(level, -200.0), 1)})
    return None


def status_of(row: Encoded | None, utterance: Utterance) -> Status:
    """The status of a row; one that was never encoded has no length, or there was no sound."""
    if row is None:
        return Status.SILENT if utterance.end <= utterance.start else Status.NO_AUDIO_TRACK
    if row.values is None and row.status is Status.OK:
        return Status.UNREADABLE
    return row.status


def gathered(
    conversation: Conversation, rows: Sequence[Encoded | None], dim: int, normalise: Normalise = "none"
) -> Features:
    """Features [n, `dim`] of rows, each as it is or in relation to the speaker's or dialogue's others."""
    status = tuple(status_of(row, u) for row, u in zip(rows, conversation.utterances, strict=True))
    present = np.array([s is Status.OK for s in status], np.bool_)
    values = np.zeros((len(rows), dim), np.float32)
    for i, row in enumerate(rows):
        if row is not None and row.values is not None:
            values[i] = row.values
    if normalise != "none":
        values = normalised(values, present, conversation, normalise)
    return Features(values, present, status)


def normalised(
    values: FloatArray, present: BoolArray, conversation: Conversation, by: Normalise
) -> FloatArray:
    """`values` [n, d] with mean 0 and deviation 1 over the present rows of each speaker, or of all.

    Later utterances count as well as earlier ones. A speaker's only row becomes zeros.
    """
    whose: list[Hashable] = [u.speaker if by == "speaker" else None for u in conversation.utterances]
    scaled = values.copy()
    for one in dict.fromkeys(whose):
        rows = present & np.array([w == one for w in whose], np.bool_)
        if rows.any():
            spread = values[rows].std(axis=0)
            spread[spread < _LEAST] = 1.0
            scaled[rows] = (values[rows] - values[rows].mean(axis=0)) / spread
    return scaled
