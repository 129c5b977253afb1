"""The extractor `mel`: from the sound of an utterance to the embedding of its spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from erc_audio_mel.network import load_mel_net
from erc_audio_mel.spectrogram import fitted
from erc_cli.hearing import gathered, loudest
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray


class MelExtractor:
    """Fulfils `Extractor`: M2FNet's audio feature of each utterance by itself."""

    def __init__(self, weights: Path, *, silence_db: float, device: str) -> None:
        self._net, self._head = load_mel_net(weights)
        self._net.to(device)
        self._silence_db, self._device = silence_db, device

    @property
    def dim(self) -> int:
        """Width of the embedding, 300 in the paper."""
        return self._net.dim

    @property
    def head(self) -> Head | None:
        """A classifier, if the network was trained on the preset's labels."""
        return self._head

    @property
    def reach(self) -> tuple[int, int]:
        """Utterances before and after one that its features are made from: none."""
        return 0, 0

    def wish(self, utterance: Utterance) -> Wish:
        """The middle of the utterance, as long as the network wants; nothing if it has no length."""
        if utterance.end <= utterance.start:
            return Wish()
        return Wish(sound=middle(utterance.start, utterance.end, self._net.look.seconds))

    def encode(self, clip: Clip) -> Encoded:
        """The embedding; `silent` where the sound nowhere reaches `silence_db`."""
        if clip.sound is None:
            status = clip.sound_status if clip.sound_status is not Status.OK else Status.NO_AUDIO_TRACK
            return Encoded(None, status)
        level = loudest(clip.sound)
        if not level >= self._silence_db:
            return Encoded(None, Status.SILENT, {"loudest_db": round(max(level, -200.0), 1)})
        return Encoded(self._embed(clip.sound))

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """The rows as they are: an utterance is heard without its context."""
        return gathered(conversation, rows, self.dim)

    @torch.inference_mode()
    def _embed(self, sound: FloatArray) -> FloatArray:
        ready = torch.from_numpy(np.array(fitted(sound, self._net.look.samples)))
        values: FloatArray = self._net(ready[None].to(self._device))[0].cpu().numpy()
        return values


def middle(start: float, end: float, seconds: float) -> tuple[float, float]:
    """The middle `seconds` of a span, or all of it."""
    spare = max(end - start - seconds, 0.0) / 2
    return start + spare, end - spare
