"""The extractors `minilm` and `roberta`: features of every utterance of a conversation in its context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from erc_cli.device import Placement
from erc_cli.errors import UsageError
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish
from erc_text_minilm.context import Sample, Window, sample, sequences
from erc_text_minilm.network import ContextEncoder, load
from erc_text_minilm.pretrained import (
    TOKENIZER,
    TRAINED,
    check_fit,
    check_folder,
    pretrained,
    read_tokenizer,
)
from erc_text_minilm.running import Running, batches, place


def open_minilm(
    weights: Path, tokenizer: Path, window: Window, running: Running, labels: Sequence[str] = ()
) -> TextExtractor:
    """The trained extractor `minilm`; without its head where that was fitted to other labels.

    Raises:
        ErcError: a file is damaged, or an option out of range.
    """
    model, head = load(weights)
    return TextExtractor(model, _fit(model, head, labels), read_tokenizer(tokenizer), window, running)


def open_encoder(
    source: Path, tokenizer: Path | None, window: Window, running: Running, labels: Sequence[str] = ()
) -> TextExtractor:
    """The extractor `roberta`, trained (a file), or as published (a model's folder: without a head).

    A head that was fitted to other labels is left out.

    Raises:
        ErcError: a file is damaged, or an option does not fit the model.
    """
    head: Head | None = None
    if source.is_dir():
        check_folder(source, "text.weights")
        words = read_tokenizer(tokenizer or source / TOKENIZER)
        source = source / TRAINED if (source / TRAINED).is_file() else source
    else:
        words = read_tokenizer(tokenizer or source.with_name(TOKENIZER))
    if source.is_dir():
        model = pretrained(source, ("",), "roberta", running.pooling, "text.weights").eval()
    else:
        model, head = load(source, "roberta")
        if model.pooling != running.pooling:
            raise UsageError(
                f"text.pooling: {source} was trained with {model.pooling!r}, not {running.pooling!r}.",
                hint=f"Type: --set text.pooling={model.pooling}, or train anew.",
            )
    check_fit(model, words, window, "text")
    return TextExtractor(model, head and _fit(model, head, labels), words, window, running)


def _fit(model: ContextEncoder, head: Head, labels: Sequence[str]) -> Head | None:
    """The head, if it answers the preset's labels; files of version 0.1 do not say which theirs are."""
    same = tuple(labels) == model.labels if model.labels else len(labels) == len(head.prior)
    return head if same or not labels else None


def has_words(utterance: Utterance) -> bool:
    """Whether there is anything to read: a letter, a digit, or a mark such as `?!`."""
    return any(c.isalnum() or c in "?!\uff1f\uff01" for c in utterance.text)


def _check_range(option: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        limit = f"{least} or more" if most is None else f"{least} to {most}"
        raise UsageError(f"text.{option}: {value} is out of range.", hint=f"Choose {limit}.")


class TextExtractor:
    """Needs no media; all the work is in `gather`, in batches of like length."""

    def __init__(
        self, model: ContextEncoder, head: Head | None, tokenizer: Tokenizer, window: Window, running: Running
    ) -> None:
        _check_range("batch", running.batch, 1, None)
        _check_range("past", window.past, 0, None)
        _check_range("future", window.future, 0, None)
        _check_range("max_tokens", window.max_tokens, 3, model.positions)
        self._model, self._head = model, head
        self._tokenizer, self._window, self._batch = tokenizer, window, running.batch
        self._placement = place(model, running)

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._model.dim

    @property
    def head(self) -> Head | None:
        """The classifier that the encoder was fine-tuned with, if it was."""
        return self._head

    @property
    def placement(self) -> Placement:
        """Where the encoder runs, and in which precision."""
        return self._placement

    @property
    def reach(self) -> tuple[int, int]:
        """How many utterances before and after one are read for its features."""
        return self._window.past, self._window.future

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing of the media."""
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Nothing to do for one utterance by itself."""
        return Encoded(None, Status.NO_TEXT)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features [n, d]; an utterance without words is `no_text`."""
        samples = list(sequences(conversation, self._tokenizer, self._window))
        return self._features(samples, conversation.utterances)

    def gather_rows(self, asked: Sequence[tuple[Conversation, int]]) -> Features:
        """Row i of what `gather` gives for the conversation, for each (conversation, i), in batches."""
        samples = [sample(conversation, i, self._tokenizer, self._window) for conversation, i in asked]
        return self._features(samples, [conversation.utterances[i] for conversation, i in asked])

    @torch.inference_mode()
    def _features(self, samples: Sequence[Sample], utterances: Sequence[Utterance]) -> Features:
        values = np.zeros((len(samples), self.dim), dtype=np.float32)
        # minilm's batches stay as they were: others change the last bits of its features
        tight = self._model.kind != "minilm" and self._placement.device == "cpu"
        for chosen in batches([len(s.ids) for s in samples], self._batch, tight=tight):
            inputs = self._model.inputs([samples[i] for i in chosen])
            values[chosen] = self._model.features(*inputs).float().cpu().numpy()
        status = tuple(Status.OK if has_words(u) else Status.NO_TEXT for u in utterances)
        present = np.array([s is Status.OK for s in status], dtype=bool)
        return Features(values, present, status)
