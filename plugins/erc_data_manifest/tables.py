"""Tables of several formats as rows of text cells."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from erc_cli.datafile import WHOLE, read_text
from erc_cli.errors import ErcError, UsageError


@dataclass(frozen=True, slots=True)
class Table:
    """Names of the columns, and rows of text; an empty cell, null or NaN is an empty text."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]

    def where(self, index: int) -> str:
        """How a message names a row: counted from 1, the heading and empty lines left out."""
        return f"{self.path}: row {index + 1}"


def read_any(path: Path) -> Table:
    """The table, by its extension.

    Raises:
        UsageError: it is no table, or has no rows.
        ErcError: it is Parquet, and pyarrow is not installed.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UsageError(
            f"{path}: a manifest is one of {', '.join(_READERS)}.", hint="--data manifest:data/table.csv"
        )
    if not path.is_file():
        raise UsageError(f"{path} is not a file.", hint="Name the table: --data manifest:data/table.csv")
    table = read(path)
    if not table.rows:
        raise UsageError(f"{path} has no rows.", hint=WHOLE)
    return table


def _delimited(delimiter: str) -> Callable[[Path], Table]:
    def read(path: Path) -> Table:
        lines = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
        try:
            cells = [line for line in lines if line]
        except csv.Error as error:
            raise UsageError(f"{path}: line {lines.line_num}: {error}.", hint=WHOLE) from None
        names = tuple(name.strip() for name in cells[0]) if cells else ()
        _check_names(path, names)
        for number, line in enumerate(cells[1:], start=1):
            if len(line) != len(names):
                raise UsageError(
                    f"{path}: row {number} has {len(line)} cells, the heading has {len(names)}.", hint=WHOLE
                )
        return Table(path, names, tuple(dict(zip(names, line, strict=True)) for line in cells[1:]))

    return read


def _json_lines(path: Path) -> Table:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}: line {number} is not JSON: {error.msg}.", hint=WHOLE) from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}: line {number} is no JSON object.", hint='Such as {"text": "Hi"}')
        rows.append({str(key): _text(value) for key, value in row.items()})
    return _of_rows(path, rows)


def _parquet(path: Path) -> Table:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise ErcError(
            f"{path}: Parquet needs pyarrow, which is not installed.",
            hint="Type: pip install 'erc-cli[parquet]'. Or save the table as CSV.",
        ) from None
    try:
        rows = _rows_of(path, parquet)
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise UsageError(f"{path}: not readable as Parquet ({error}).", hint=WHOLE) from None
    return _of_rows(path, [{str(k): _text(v) for k, v in row.items()} for row in rows])


def _rows_of(path: Path, parquet: Any) -> list[dict[str, Any]]:
    with path.open("rb") as file:  # pyarrow takes no names that are not UTF-8
        rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return rows


def _of_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Table:
    """Rows of different keys: what one of them lacks is empty."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(path, names, tuple({name: row.get(name, "") for name in names} for row in rows))


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{path}: the column {twice[0]!r} is there twice.", hint="Rename one of them.")


_READERS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".tab": _delimited("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
