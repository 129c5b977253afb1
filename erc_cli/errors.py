"""Errors that a user can mend.

Everything else that goes wrong is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ErcError(Exception):
    """Something failed; `hint` says what to type or do next.

    `exit_code` is 1 (failed). Only `erc_cli.main` turns it into the process's exit code.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(ErcError):
    """The command line, or a file it names, is not usable (exit code 2)."""

    exit_code = 2


def reason(error: Exception) -> str:
    """What went wrong, in one line: a message of ours, or a defect's with its kind."""
    if isinstance(error, ErcError):
        return error.message
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean X?"` when a known word is close to `word`, else the empty string."""
    match = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
