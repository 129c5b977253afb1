"""The extractor `minilm`: features of every utterance of a conversation in its context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from erc_cli.errors import ErcError, UsageError
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish
from erc_text_minilm.context import Window, sequences
from erc_text_minilm.network import collate, load


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json`.

    Raises:
        ErcError: it is damaged.
    """
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise ErcError(f"{path}: not a tokenizer ({error}).", hint="Get the preset anew.") from None


def has_words(utterance: Utterance) -> bool:
    """Whether there is anything to read: a letter, a digit, or a mark such as `?!`."""
    return any(c.isalnum() or c in "?!\uff1f\uff01" for c in utterance.text)


def _check_range(option: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        limit = f"{least} or more" if most is None else f"{least} to {most}"
        raise UsageError(f"text.{option}: {value} is out of range.", hint=f"Choose {limit}.")


class TextExtractor:
    """Needs no media; all the work is in `gather`, in batches of like length."""

    def __init__(self, weights: Path, tokenizer: Path, window: Window, *, batch: int, device: str) -> None:
        self._model, self._head = load(weights)
        positions = int(self._model.config["max_position_embeddings"])
        _check_range("batch", batch, 1, None)
        _check_range("past", window.past, 0, None)
        _check_range("future", window.future, 0, None)
        _check_range("max_tokens", window.max_tokens, 3, positions)
        self._model.to(device)
        self._tokenizer = read_tokenizer(tokenizer)
        self._window, self._batch, self._device = window, batch, device

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._model.dim

    @property
    def head(self) -> Head:
        """The classifier that the encoder was fine-tuned with."""
        return self._head

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing of the media."""
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Nothing to do for one utterance by itself."""
        return Encoded(None, Status.NO_TEXT)

    @torch.inference_mode()
    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features [n, d]; an utterance without words is `no_text`."""
        samples = list(sequences(conversation, self._tokenizer, self._window))
        values = np.zeros((len(samples), self.dim), dtype=np.float32)
        order = sorted(range(len(samples)), key=lambda i: len(samples[i].ids))
        for begin in range(0, len(order), self._batch):
            chosen = order[begin : begin + self._batch]
            inputs = [part.to(self._device) for part in collate([samples[i] for i in chosen])]
            values[chosen] = self._model.features(*inputs).float().cpu().numpy()
        status = tuple(Status.OK if has_words(u) else Status.NO_TEXT for u in conversation.utterances)
        present = np.array([s is Status.OK for s in status], dtype=bool)
        return Features(values, present, status)
