"""Tables: CSV and TSV with start, end, text and speaker, or MELD's columns; results as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, WriterSpec
from erc_cli.types import Result, Transcript

_CSV = "start,end,text,speaker\n1.0,2.5,There's nothing to tell!,Monica"


def _read(name: str, path: Path) -> Transcript:
    from erc_format_table.readers import read

    return read(name, path)


def _is_table(text: str, tabs: bool) -> bool:
    from erc_format_table.readers import header

    found = header(text)
    return found is not None and (found.delimiter == "\t") is tabs


def _write(result: Result, path: Path) -> None:
    from erc_format_table.writer import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """Tables whose first row names their columns."""
    about = "table with start, end, text, speaker, or MELD's columns"
    tsv = _CSV.replace(",", "\t")
    return (
        ReaderSpec(
            "csv", (".csv",), about, lambda p: _read("csv", p), lambda t: _is_table(t, False), example=_CSV
        ),
        ReaderSpec(
            "tsv", (".tsv",), about, lambda p: _read("tsv", p), lambda t: _is_table(t, True), example=tsv
        ),
    )


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """One row per utterance."""
    return (WriterSpec("csv", (".csv",), "table, one row per utterance", _write),)
