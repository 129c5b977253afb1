"""An utterance's words, the utterance without one of them, and how strong a change is."""

from __future__ import annotations

import re
from dataclasses import replace

from erc_cli.types import Utterance

#: log-odds from which a change is shown, and from which as a strong one: odds 1.1 and 1.6 times as high
LEVELS = (0.1, 0.5)
#: scripts that put no blanks between words: there each character is taken for one
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
#: marks that stand on the character before them go with it
_MARKS = "\u0300-\u036f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u3099\u309a\ufe00-\ufe0f"
_WORD = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|[^\s{_UNSPACED}]+")


def words_of(text: str) -> list[tuple[int, int]]:
    """Where each word of a text begins and ends: what stands between blanks, its punctuation included.

    A character of a script without blanks is a word of its own.
    """
    return [match.span() for match in _WORD.finditer(text)]


def without_word(utterance: Utterance, word: tuple[int, int]) -> Utterance:
    """The utterance as if that word had not been said."""
    start, end = word
    before, after = utterance.text[:start], utterance.text[end:]
    if not before.strip():
        return replace(utterance, text=after.lstrip())
    return replace(utterance, text=before.rstrip() + after)


def silenced(utterance: Utterance) -> Utterance:
    """The utterance with neither words nor a name: its place and its times stay."""
    return replace(utterance, text="", speaker=None)


def strength(change: float) -> int:
    """How strongly a change of log-odds is shown: 0, 1 or 2, negative where it speaks against."""
    size = sum(abs(change) >= level for level in LEVELS)
    return size if change > 0 else -size


def marks(change: float) -> str:
    """The same without colours: `++`, `+`, nothing, `-` or `--`."""
    found = strength(change)
    return "+" * found if found > 0 else "-" * -found
