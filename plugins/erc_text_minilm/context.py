"""An utterance and its context as token ids (M2FNet section 3.1, in the manner of EmoBERTa).

    [CLS] NAME: past [SEP] NAME: the utterance [SEP] NAME: next [SEP]
    <s>NAME: past</s></s>NAME: the utterance</s></s>NAME: next</s>

The special tokens are the model's own, as its tokenizer joins two texts: BERT has one separator
between them, RoBERTa two. The utterance itself has token type 1 where the model has types, everything
around it type 0. Its own tokens and the separator that closes it are its span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from erc_cli.errors import UsageError
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


#: what begins and ends a text where the tokenizer has no template
NAMES = (("[CLS]", "[SEP]"), ("<s>", "</s>"))


class Tokenizer(Protocol):
    """The part of `tokenizers.Tokenizer` that is used here."""

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool) -> Encoding:
        """Token ids of a text, or of two."""

    def token_to_id(self, token: str) -> int | None:
        """The id of a special token."""


class Encoding(Protocol):
    """The part of `tokenizers.Encoding` that is used here."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of the special tokens: one at the begin, `between` two texts, one at the end."""

    begin: int
    between: tuple[int, ...]
    end: int


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
    marks = marks_of(tokenizer)
    pieces = [
        tokenizer.encode(plain(u, speakers=window.speakers), add_special_tokens=False).ids
        for u in conversation.utterances
    ]
    for i in range(len(pieces)):
        yield _around(pieces, i, marks, window)


def sample(conversation: Conversation, i: int, tokenizer: Tokenizer, window: Window) -> Sample:
    """The model input of one utterance alone, the same as the one in `sequences`."""
    first = max(i - window.past, 0)
    pieces = [
        tokenizer.encode(plain(u, speakers=window.speakers), add_special_tokens=False).ids
        for u in conversation.utterances[first : i + window.future + 1]
    ]
    return _around(pieces, i - first, marks_of(tokenizer), window)


def marks_of(tokenizer: Tokenizer) -> Marks:
    """The special tokens as the tokenizer's own template for two texts has them, else by their names.

    Raises:
        UsageError: there are none.
    """
    single = tokenizer.encode("", add_special_tokens=True).ids
    pair = tokenizer.encode("", "", add_special_tokens=True).ids
    if len(single) == 2 and len(pair) > 2:
        return Marks(pair[0], tuple(pair[1:-1]), pair[-1])
    for first, last in NAMES:
        begin, end = tokenizer.token_to_id(first), tokenizer.token_to_id(last)
        if begin is not None and end is not None:
            return Marks(begin, (end,), end)
    raise UsageError(
        "The tokenizer has no tokens that begin and end a text, such as [CLS] and [SEP].",
        hint="Give the tokenizer.json of an encoder such as BERT or RoBERTa.",
    )


def _around(pieces: Sequence[list[int]], i: int, marks: Marks, window: Window) -> Sample:
    """The utterance first, then its neighbours from the nearest outwards while tokens are left."""
    own = pieces[i][: window.max_tokens - 2]
    left = window.max_tokens - 2 - len(own)
    gap = len(marks.between)
    before: list[int] = []
    after: list[int] = []
    for distance in range(1, max(window.past, window.future) + 1):
        if distance <= window.past and i - distance >= 0 and left > gap:
            piece = pieces[i - distance][-(left - gap) :]
            before = [*piece, *marks.between, *before]
            left -= len(piece) + gap
        if distance <= window.future and i + distance < len(pieces) and left > gap:
            piece = pieces[i + distance][: left - gap]
            after = [*after, *marks.between, *piece]
            left -= len(piece) + gap
    start = 1 + len(before)
    ids = (marks.begin, *before, *own, *after, marks.end)
    return Sample(ids, start, start + len(own) + 1)
