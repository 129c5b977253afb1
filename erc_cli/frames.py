"""A result as a table: one row per utterance. The CSV and Parquet writers and `Result.to_frame` share it.

Columns: `index`, `start`, `end` (seconds), `speaker`, `text`, `label`, `confidence`, `p_LABEL` for each
label, and for each modality of the preset `MODALITY_status`, `MODALITY_label`, `MODALITY_contribution`
and, where they are wanted, `MODALITY_p_LABEL`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from erc_cli.errors import ErcError, UsageError, nearest
from erc_cli.types import Modality, Opinion, Result, Status

LIBRARIES = ("pandas", "polars")
_STATES = tuple(status.value for status in Status)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one column, None where there is nothing to say.

    `kind`: `whole` numbers, `real` numbers, `text`, or a `word` out of `words`.
    """

    kind: Literal["whole", "real", "text", "word"]
    values: Sequence[Any]
    words: tuple[str, ...] = ()


def columns_of(result: Result, *, shares: bool = True) -> dict[str, Column]:
    """The columns by name, in order; `shares`: with each modality's own probabilities.

    Texts are fit for UTF-8, probabilities sum to 1 in double precision as in the JSON.
    """
    labels, said, names = result.labels, result.utterances, result.shown_labels
    fused = [_distribution(found.probabilities) for found in result.predictions]
    best = [found.best for found in result.predictions]
    columns = {
        "index": Column("whole", range(len(said))),
        "start": Column("real", [float(one.start) for one in said]),
        "end": Column("real", [float(one.end) for one in said]),
        "speaker": Column("text", [_utf8(one.speaker) if one.speaker else None for one in said]),
        "text": Column("text", [_utf8(one.text) for one in said]),
        "label": Column("word", [result.label(found) for found in result.predictions], names),
        "confidence": Column("real", [row[i] for row, i in zip(fused, best, strict=True)]),
        **_shares("p_", fused, labels),
    }
    for modality in Modality:
        if any(modality in found.opinions for found in result.predictions):
            opinions = [found.opinions.get(modality) for found in result.predictions]
            columns |= _modality(str(modality), opinions, labels, shares=shares)
    return columns


def to_frame(result: Result, library: str = "pandas") -> Any:
    """A data frame of pandas or polars: labels and statuses are categories, what is absent is null.

    Raises:
        UsageError: another library.
        ErcError: the library is not installed.
    """
    if library not in LIBRARIES:
        close = nearest(library, LIBRARIES)
        raise UsageError(
            f"There are no frames of {library!r}.{close}", hint=f"One of: {', '.join(LIBRARIES)}"
        )
    if find_spec(library) is None:
        raise ErcError(
            f"{library} is not installed.", hint=f"Type: pip install 'erc-cli[{library}]' (or {library})"
        )
    made = _pandas if library == "pandas" else _polars
    return made(columns_of(result), import_module(library))


def _pandas(columns: dict[str, Column], pandas: Any) -> Any:
    series = {}
    for name, column in columns.items():
        kind: Any = {"whole": "int64", "real": "float64", "text": "string"}.get(column.kind)
        if column.kind == "word":
            kind = pandas.CategoricalDtype(list(column.words))
        series[name] = pandas.Series(list(column.values), dtype=kind)
    return pandas.DataFrame(series)


def _polars(columns: dict[str, Column], polars: Any) -> Any:
    kinds = {"whole": polars.Int64, "real": polars.Float64, "text": polars.String}
    series = []
    for name, column in columns.items():
        kind = polars.Enum(column.words) if column.kind == "word" else kinds[column.kind]
        series.append(polars.Series(name, list(column.values), dtype=kind))
    return polars.DataFrame(series)


def _modality(
    name: str, opinions: Sequence[Opinion | None], labels: tuple[str, ...], *, shares: bool
) -> dict[str, Column]:
    """Status, label, contribution and probabilities of one modality; null where it was not asked."""
    told = [one.probabilities if one is not None and one.status is Status.OK else None for one in opinions]
    best = [None if row is None else labels[max(range(len(row)), key=row.__getitem__)] for row in told]
    states = [None if one is None else one.status.value for one in opinions]
    parts = [None if one is None else float(one.contribution) for one in opinions]
    return {
        f"{name}_status": Column("word", states, _STATES),
        f"{name}_label": Column("word", best, labels),
        f"{name}_contribution": Column("real", parts),
        **(_shares(f"{name}_p_", [row and _distribution(row) for row in told], labels) if shares else {}),
    }


def _shares(prefix: str, rows: Sequence[Sequence[float] | None], labels: Sequence[str]) -> dict[str, Column]:
    """A column per label; null in rows without probabilities."""
    return {
        prefix + label: Column("real", [None if row is None else row[i] for row in rows])
        for i, label in enumerate(labels)
    }


def _distribution(values: Sequence[float]) -> list[float]:
    """Shares whose sum is 1 in double precision: float32 is off by about 1e-7 per class."""
    total = math.fsum(values)
    return [float(value) / total for value in values]


def _utf8(text: str) -> str:
    """Text without lone surrogates, which UTF-8 cannot hold."""
    return _SURROGATE.sub("\ufffd", text)
