"""The report: a result as one HTML file that opens from disk and asks nothing of any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import WriterSpec
from erc_cli.types import Result


def _write(result: Result, path: Path, *, title: str = "", embed: bool = False) -> None:
    """`title` instead of the medium's name; `embed`: the medium inside the page, not beside it."""
    from erc_format_html.page import write

    write(result, path, title=title, embed=embed)


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """The page that `erc report` makes too."""
    about = "a page to look at: player, timeline, table, summary"
    return (WriterSpec("html", (".html", ".htm"), about, _write, needs=("jinja2",), extra="report"),)
