"""RTTM: who speaks when, as a transcript without words, and results as turns with an emotion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, Reading, WriterSpec
from erc_cli.types import Result, Transcript

_RTTM = "SPEAKER video 1 1.000 1.500 <NA> <NA> Monica <NA> <NA>"


def _is_rttm(text: str) -> bool:
    return (
        re.search(r"^SPEAKER[ \t]+\S+[ \t]+\S+[ \t]+[\d.]+[ \t]+[\d.]+[ \t]", text, re.MULTILINE) is not None
    )


def _read(path: Path) -> Transcript:
    return _read_with(path, Reading())


def _read_with(path: Path, reading: Reading) -> Transcript:
    from erc_format_rttm.turns import read

    return read(path, reading.media)


def _write(result: Result, path: Path) -> None:
    from erc_format_rttm.turns import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """The turns of speakers, as diarisation writes them."""
    about = "turns of speakers without words (diarisation)"
    return (ReaderSpec("rttm", (".rttm",), about, _read, _is_rttm, example=_RTTM, read_with=_read_with),)


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """A line for each turn, and one for its emotion."""
    return (
        WriterSpec(
            "rttm",
            (".rttm",),
            "turns of speakers, each with its emotion",
            _write,
            leaves_out="words, probabilities, modalities; blanks in names become _",
        ),
    )
