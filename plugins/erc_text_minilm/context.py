"""An utterance and its context as token ids (M2FNet section 3.1, in the manner of EmoBERTa).

    [CLS] NAME: past [SEP] NAME: the utterance [SEP] NAME: next [SEP]

The utterance itself has token type 1, everything around it type 0, and the encoder's output is
averaged over the utterance's own tokens and the separator that closes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from erc_cli.types import Conversation, Utterance

# Transcripts differ in their quotes and dashes; the words are the same.
PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u0092": "'",
        "\u0091": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u0093": '"',
        "\u0094": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u0096": "-",
        "\u0097": "-",
        "\u2026": "...",
        "\u0085": "...",
        "\u00a0": " ",
    }
)


class Tokenizer(Protocol):
    """The part of `tokenizers.Tokenizer` that is used here."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Token ids of a text."""

    def token_to_id(self, token: str) -> int | None:
        """The id of a special token."""


class Encoding(Protocol):
    """The part of `tokenizers.Encoding` that is used here."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much context is read: utterances before and after, names, and tokens in all."""

    past: int
    future: int
    speakers: bool
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One model input: `ids`, and the span [start, end) of the utterance's own tokens."""

    ids: tuple[int, ...]
    start: int
    end: int


def plain(utterance: Utterance, *, speakers: bool) -> str:
    """The utterance as the encoder reads it, e.g. `Monica: There's nothing to tell!`."""
    text = " ".join(utterance.text.translate(PLAIN).split())
    return f"{utterance.speaker}: {text}" if speakers and utterance.speaker else text


def sequences(conversation: Conversation, tokenizer: Tokenizer, window: Window) -> Iterator[Sample]:
    """One model input per utterance, in order."""
    begin, separator = _special(tokenizer, "[CLS]"), _special(tokenizer, "[SEP]")
    pieces = [
        tokenizer.encode(plain(u, speakers=window.speakers), add_special_tokens=False).ids
        for u in conversation.utterances
    ]
    for i in range(len(pieces)):
        yield _around(pieces, i, begin, separator, window)


def _special(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the tokenizer has no {token}")
    return number


def _around(pieces: Sequence[list[int]], i: int, begin: int, separator: int, window: Window) -> Sample:
    """The utterance first, then its neighbours from the nearest outwards while tokens are left."""
    own = pieces[i][: window.max_tokens - 2]
    left = window.max_tokens - 2 - len(own)
    before: list[int] = []
    after: list[int] = []
    for distance in range(1, max(window.past, window.future) + 1):
        if distance <= window.past and i - distance >= 0 and left > 1:
            piece = pieces[i - distance][-(left - 1) :]
            before = [*piece, separator, *before]
            left -= len(piece) + 1
        if distance <= window.future and i + distance < len(pieces) and left > 1:
            piece = pieces[i + distance][: left - 1]
            after = [*after, *piece, separator]
            left -= len(piece) + 1
    start = 1 + len(before)
    ids = (begin, *before, *own, separator, *after)
    return Sample(ids, start, start + len(own) + 1)
