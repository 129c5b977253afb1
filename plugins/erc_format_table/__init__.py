"""Tables: CSV and TSV with start, end, text and speaker, or MELD's columns; results as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, Reading, WriterSpec
from erc_cli.types import Result, Transcript

_CSV = "start,end,text,speaker\n1.0,2.5,There's nothing to tell!,Monica"


def _read(name: str, path: Path) -> Transcript:
    return _read_with(name, path, Reading())


def _read_with(name: str, path: Path, reading: Reading) -> Transcript:
    from erc_format_table.readers import read

    return read(name, path, reading.columns)


def _is_table(text: str, tabs: bool) -> bool:
    from erc_format_table.readers import header

    found = header(text)
    return found is not None and (found.delimiter == "\t") is tabs


def _write_csv(result: Result, path: Path) -> None:
    from erc_format_table.writer import write

    write(result, path)


def _write_parquet(result: Result, path: Path) -> None:
    from erc_format_table.columns import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """Tables whose first row names their columns."""
    about = "table with start, end, text, speaker, or MELD's columns"
    made = (("csv", False, _CSV), ("tsv", True, _CSV.replace(",", "\t")))
    return [
        ReaderSpec(
            *(name, (f".{name}",), about, partial(_read, name), partial(_is_table, tabs=tabs)),
            example=example,
            read_with=partial(_read_with, name),
            takes_columns=True,
        )
        for name, tabs, example in made
    ]


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """One row per utterance."""
    about = "table, one row per utterance"
    lost = "each modality's probabilities"
    return (
        WriterSpec("csv", (".csv",), about, _write_csv, leaves_out=lost),
        WriterSpec("parquet", (".parquet",), f"typed {about}", _write_parquet, ("pyarrow",), "parquet"),
    )
