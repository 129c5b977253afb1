"""The working part: one number per utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish


@dataclass(frozen=True, slots=True)
class Words:
    """Number of words times `scale`; width 1."""

    scale: float

    @property
    def dim(self) -> int:
        """One."""
        return 1

    @property
    def head(self) -> Head | None:
        """None: it was never trained."""
        return None

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing of the media."""
        del utterance
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Never called, because nothing is wished for."""
        del clip
        return Encoded(None, Status.NO_TEXT)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """The features [n, 1]."""
        del rows
        counts = [len(u.text.split()) for u in conversation.utterances]
        values = np.array(counts, np.float32).reshape(-1, 1) * np.float32(self.scale)
        present = np.array(counts, np.bool_)
        return Features(values, present, tuple(Status.OK if c else Status.NO_TEXT for c in counts))
