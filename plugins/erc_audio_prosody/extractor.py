"""The extractor `prosody`: from the sound of an utterance to features of how it is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from erc_audio_prosody.context import REACH, with_context
from erc_cli.hearing import status_of
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

RATE = 16_000  # of `Clip.sound`
STEADY = 3.0  # dB: sound without voice that varies less is noise, not a whisper

# What MELD's train split holds: the median, and the 0.1 and 99.9 percentiles, rounded. The order is
# that of `praat.FIGURES`. An undefined articulation rate means that no syllable was found: 0.
TYPICAL = np.array([2.5, 63.3, 8.1, 230.0, 61.4, 284.0, 0.0, 6.6], dtype=np.float32)
LOWEST = np.array([0.1, 40.0, 0.5, 75.0, 0.0, 0.0, 0.0, -3.0], dtype=np.float32)
HIGHEST = np.array([20.0, 75.0, 18.0, 500.0, 200.0, 525.0, 7.0, 17.0], dtype=np.float32)
LONG_TAILED = np.array([0, 2, 3, 4])  # duration, deviation of intensity, pitch and its deviation


class ProsodyExtractor:
    """Measures in `encode`; `gather` fills what is undefined and keeps outliers within MELD's range."""

    def __init__(self, *, max_seconds: float, silence_db: float, log: bool, context: bool) -> None:
        self._max_seconds = max_seconds
        self._silence_db = silence_db
        self._log = log
        self._context = context

    @property
    def dim(self) -> int:
        """Eight figures, or with context four times as many."""
        return 4 * len(TYPICAL) if self._context else len(TYPICAL)

    @property
    def head(self) -> Head | None:
        """None: the fusion fits one."""
        return None

    @property
    def reach(self) -> tuple[int, int]:
        """With context, what was heard before an utterance, and the next one. Else it is heard by itself."""
        return REACH if self._context else (0, 0)

    def wish(self, utterance: Utterance) -> Wish:
        """The utterance's sound, at most `max_seconds` of it; nothing if it has no length."""
        if utterance.end <= utterance.start:
            return Wish()
        return Wish(sound=(utterance.start, min(utterance.end, utterance.start + self._max_seconds)))

    def encode(self, clip: Clip) -> Encoded:
        """The eight figures, undefined ones filled; `silent` where there is nothing like speech.

        Silent is what is shorter than 0.1 s, nowhere reaches `silence_db`, or is steady noise without
        any voiced frame. A whisper varies, and counts: its pitch is undefined. `detail["undefined"]`
        names the figures that were filled.
        """
        if clip.sound is None:
            status = clip.sound_status if clip.sound_status is not Status.OK else Status.NO_AUDIO_TRACK
            return Encoded(None, status)
        from erc_audio_prosody.praat import FIGURES, SHORTEST, measure

        if len(clip.sound) < SHORTEST * RATE or not clip.sound.any():
            return Encoded(None, Status.SILENT)
        found = measure(clip.sound, RATE)
        steady = not found.voiced and found.figures[FIGURES.index("intensity_variation")] < STEADY
        if found.loudest < self._silence_db or steady:
            return Encoded(None, Status.SILENT, {"loudest_db": round(found.loudest, 1)})
        undefined = [name for name, value in zip(FIGURES, found.figures, strict=True) if np.isnan(value)]
        return Encoded(_filled(found.figures), detail={"undefined": undefined} if undefined else {})

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features [n, `dim`]: the figures, filled (MELD's tables have gaps) and within MELD's range."""
        status = tuple(
            status_of(row, utterance) for row, utterance in zip(rows, conversation.utterances, strict=True)
        )
        present = np.array([s is Status.OK for s in status], dtype=np.bool_)
        figures = [TYPICAL if row is None or row.values is None else row.values for row in rows]
        values = np.clip(_filled(np.array(figures, np.float32).reshape(-1, len(TYPICAL))), LOWEST, HIGHEST)
        typical = TYPICAL
        if self._log:
            values, typical = _logarithmic(values), _logarithmic(TYPICAL)
        if self._context:
            values = with_context(values, present, typical)
        values[~present] = 0.0
        return Features(values, present, status)


def _filled(figures: FloatArray) -> FloatArray:
    """`figures` [..., 8] with what is not finite replaced by the typical value."""
    return np.where(np.isfinite(figures), figures, TYPICAL).astype(np.float32)


def _logarithmic(values: FloatArray) -> FloatArray:
    """The long-tailed figures of `values` [..., 8] as log(1 + x)."""
    scaled = values.copy()
    scaled[..., LONG_TAILED] = np.log1p(scaled[..., LONG_TAILED])
    return scaled
