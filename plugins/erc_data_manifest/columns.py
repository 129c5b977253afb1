"""Which column of a table is which of ours, and columns of ready features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from erc_cli.datafile import ABSENT
from erc_cli.errors import UsageError, nearest
from erc_cli.types import Encoded
from erc_data_manifest.tables import Table

NEEDED = ("split", "dialogue", "speaker", "text", "emotion")
ORDER = ("turn", "start")
OPTIONAL = ("id", "media", "end")
ALL = (*NEEDED, *ORDER, *OPTIONAL)


def find_columns(table: Table, named: Mapping[str, str]) -> dict[str, str]:
    """The table's name of each of our columns that it has.

    Raises:
        UsageError: a needed one is missing, or the map names what is not there.
    """
    wrong = [f"columns.{k}: no column of ours.{nearest(k, ALL)}" for k in named if k not in ALL]
    wrong += [
        f"columns.{key}: the table has no column {name!r}.{nearest(name, table.columns)}"
        for key, name in named.items()
        if key in ALL and name not in table.columns
    ]
    found = {key: named.get(key, key) for key in ALL}
    lacking = [key for key in NEEDED if key not in named and key not in table.columns]
    if not any(found[key] in table.columns for key in ORDER):
        lacking.append("turn (or start)")
    wrong += [f"no column {key!r}.{_likely(key, table)}" for key in lacking]
    if wrong:
        said = wrong[0] if len(wrong) == 1 else f"{len(wrong)} problems:\n  " + "\n  ".join(wrong)
        key = lacking[0].partition(" ")[0] if lacking else "emotion"
        raise UsageError(
            f"{table.path}: {said}",
            hint=f"Say which column it is: --set data.manifest.columns.{key}=NAME. "
            f"The table's are {', '.join(table.columns[:20])}.",
        )
    return {key: name for key, name in found.items() if name in table.columns}


def _likely(key: str, table: Table) -> str:
    same = {name.lower(): name for name in table.columns}
    close = same.get(key.partition(" ")[0])
    return f" Is it {close!r}?" if close else nearest(key, table.columns)


def feature_names(table: Table, wanted: Sequence[str], option: str) -> tuple[str, ...]:
    """Columns by name or pattern, in the order of the option and of the table.

    Raises:
        UsageError: one names nothing.
    """
    found: dict[str, None] = {}
    for word in wanted:
        names = [word] if word in table.columns else [n for n in table.columns if fnmatchcase(n, word)]
        if not names:
            raise UsageError(
                f"{table.path}: {option}: no column {word!r}.{nearest(word, table.columns)}",
                hint=f"The table's are {', '.join(table.columns[:20])}.",
            )
        found |= dict.fromkeys(names)
    return tuple(found)


def feature_rows(table: Table, names: Sequence[str]) -> list[Encoded]:
    """The numbers [d] of every row; a row in which all of them are empty has none.

    Raises:
        UsageError: a cell is empty, no number, or not finite.
    """
    rows = []
    for i, cells in enumerate(table.rows):
        words = [cells[name].strip() for name in names]
        if not any(words):
            rows.append(ABSENT)
            continue
        values = [_finite(word, name, table, i) for word, name in zip(words, names, strict=True)]
        rows.append(Encoded(np.array(values, np.float32)))
    return rows


def _finite(word: str, name: str, table: Table, row: int) -> float:
    try:
        value = float(word or "nan")
    except ValueError:
        raise UsageError(
            f"{table.where(row)}: {name} is {word!r}, no number.", hint="Name columns of numbers only."
        ) from None
    if not math.isfinite(value):
        raise UsageError(
            f"{table.where(row)}: {name} is {word or 'empty'!r}, not a finite number.",
            hint="Fill it, leave all features of that row empty, or leave the column out.",
        )
    return value
