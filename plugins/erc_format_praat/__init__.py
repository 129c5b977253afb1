"""Praat's TextGrid as a transcript, and results as interval tiers of Praat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, WriterSpec
from erc_cli.types import Result, Transcript

_GRID = """
File type = "ooTextFile"
Object class = "TextGrid"

0 2.5 <exists> 1
"IntervalTier" "Monica" 0 2.5 2
0 1 ""
1 2.5 "There's nothing to tell!"
"""


def _is_grid(text: str) -> bool:
    return re.search(r'"(?:Praat chronological )?TextGrid(?: text file)?"', text[:2000]) is not None


def _read(path: Path) -> Transcript:
    from erc_format_praat.reader import read

    return read(path)


def _write(result: Result, path: Path) -> None:
    from erc_format_praat.writer import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """The interval tiers of a TextGrid, one speaker each."""
    about = "Praat's interval tiers, one per speaker"
    return (ReaderSpec("textgrid", (".textgrid",), about, _read, _is_grid, example=_GRID),)


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """Per speaker a tier of words and one of emotions."""
    return (
        WriterSpec(
            "textgrid",
            (".textgrid",),
            "Praat's interval tiers of words and emotion, per speaker",
            _write,
            leaves_out="confidence, probabilities, modalities",
        ),
    )
