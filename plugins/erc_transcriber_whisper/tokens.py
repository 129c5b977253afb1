"""Whisper's tokens: which number is which mark, and from a row of numbers to words with times.

A row is `<|0.00|> words <|2.40|><|2.40|> words <|5.12|>`: a time before and after each segment, in steps of
0.02 s. Time marks have the numbers behind `<|notimestamps|>`, whether or not the tokenizer names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError, nearest

STEP = 0.02  # seconds
TASKS = ("transcribe", "translate")
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_AGAIN = "Get the whole model anew: its files belong together."


@dataclass(frozen=True, slots=True)
class Said:
    """A segment: seconds from the sound's start, and words."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Numbers of the marks; `times`: of the first time mark. `languages` and `tasks` as `<|en|>` and
    `transcribe`; without languages the model knows one only."""

    tokenizer: Any
    start: int
    end: int
    times: int
    languages: Mapping[str, int]
    tasks: Mapping[str, int]
    language: str | None = None

    def speaking(self, number: int) -> Tokens:
        """The same, with the language of that number."""
        mark = next(mark for mark, known in self.languages.items() if known == number)
        return replace(self, language=mark.strip("<|>"))

    def said(self, row: Sequence[int], seconds: float) -> list[Said]:
        """The segments of a row of tokens of a sound of so many seconds.

        A segment without a mark at its end lasts until the sound's. What has no words goes, and what has no
        length: behind the end, and where it says itself over and over, Whisper makes words up.
        """
        made: list[Said] = []
        start, words = 0.0, list[int]()
        for number in row:
            if number >= self.times:
                moment = min((number - self.times) * STEP, seconds)
                self._close(made, start, moment, words)
                start, words = max(start, moment), []
            elif number < self.end:  # marks of language and task have higher numbers
                words.append(number)
        self._close(made, start, seconds, words)
        return made

    def _close(self, made: list[Said], start: float, end: float, words: Sequence[int]) -> None:
        text = " ".join(self.tokenizer.decode(list(words), skip_special_tokens=True).split()) if words else ""
        if text and end > start:
            made.append(Said(start, end, text))


def read_tokens(path: Path, language: str | None, option: str, *, english: bool = False) -> Tokens:
    """The tokens of a `tokenizer.json`, set to a language, or to find it out; `english`: to none.

    Raises:
        UsageError: the file is damaged, not Whisper's, or does not know the language.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception, and nothing else
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{path} cannot be read: {said}", hint="Get the model anew.") from None
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    marks = [vocabulary.get(f"<|{name}|>") for name in ("startoftranscript", "endoftext", "notimestamps")]
    start, end, last = (-1 if number is None else number for number in marks)
    if -1 in (start, end, last):
        raise UsageError(
            f"{path} is not the tokenizer of a Whisper model.", hint=f"Give its folder: --set {option}=FOLDER"
        )
    languages = {token: number for token, number in vocabulary.items() if _LANGUAGE.fullmatch(token)}
    tasks = {name: vocabulary[f"<|{name}|>"] for name in TASKS if f"<|{name}|>" in vocabulary}
    if end > min(start, last, *languages.values()):
        raise UsageError(f"{path}: its marks are in no order that erc knows.", hint=_AGAIN)
    several = len(languages) > 1 and len(tasks) == len(TASKS) and not english
    found = Tokens(tokenizer, start, end, last + 1, languages if several else {}, tasks)
    return replace(found, language=_language(language, found.languages, path))


def _language(wanted: str | None, languages: Mapping[str, int], path: Path) -> str | None:
    if wanted is None:
        return None
    code = wanted.strip().lower()
    if not languages and code == "en":
        return None
    if f"<|{code}|>" not in languages:
        codes = sorted(mark.strip("<|>") for mark in languages)
        shown = f"one of {', '.join(codes)}" if codes else "en alone"
        raise UsageError(
            f"transcriber.language: {path.parent.name} does not know {wanted!r}.{nearest(code, codes)}",
            hint=f"A code of two or three letters, {shown}; or leave it out, and it is heard.",
        )
    return code
