"""Tables of figures on the console."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.text import Text

from erc_cli import console
from erc_cli.report_tables import Table


def show(table: Table, *, hide: Collection[str] = ()) -> None:
    """Print a table on stdout, its notes below it; `hide` names columns that only the files have."""
    places = [i for i, column in enumerate(table.columns) if column not in hide]
    first, *others = (table.columns[i] for i in places)
    right: dict[str, Any] = {"justify": "right"}
    columns = [(first, {"no_wrap": True}), *((c, right) for c in others)]
    made = console.table(columns, title=table.title, gap=2)
    for row in table.rows:
        made.add_row(*(Text(row[i]) for i in places))
    out = console.out()
    out.print(made)
    for note in table.notes:
        out.print(Text(note, style="dim"))
    out.print()
