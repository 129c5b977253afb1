"""Figures as files: the ending of `-o FILE` chooses JSON, Markdown, LaTeX or a picture.

Everything is made from the JSON document alone, so that a report can be made again from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write, check_output
from erc_cli.report_tables import Table, tables_of

Document = Mapping[str, Any]


def _json(document: Document, path: Path) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _markdown(document: Document, path: Path) -> None:
    path.write_text("\n".join(markdown(table) for table in tables_of(document)), encoding="utf-8")


def _latex(document: Document, path: Path) -> None:
    head = "% Needs \\usepackage{booktabs} in the preamble.\n"
    path.write_text(head + "\n".join(latex(table) for table in tables_of(document)), encoding="utf-8")


def _png(document: Document, path: Path) -> None:
    from erc_cli.report_png import draw

    draw(document, path)


_WRITERS: Mapping[str, Callable[[Document, Path], None]] = {
    ".json": _json,
    ".md": _markdown,
    ".tex": _latex,
    ".png": _png,
}
ENDINGS = tuple(_WRITERS)


def check_reports(paths: Sequence[Path], *, force: bool) -> None:
    """Find out before the long work whether every report can be written.

    Raises:
        UsageError: an ending that is none of `ENDINGS`, the same file twice, a file that exists
            (without `force`), or a folder that is missing or read-only.
        ErcError: a picture is wanted and matplotlib is not installed.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("-o names one file twice.", hint="Give each report a name of its own.")
    for path in paths:
        if path.suffix.lower() not in _WRITERS:
            raise UsageError(
                f"-o {path}: the ending says what to write.", hint=f"One of: {', '.join(ENDINGS)}"
            )
        if path.suffix.lower() == ".png" and find_spec("matplotlib") is None:
            raise ErcError(
                "A picture needs matplotlib, which is not installed.", hint="pip install 'erc-cli[report]'"
            )
        check_output(path, force)


def write_reports(document: Document, paths: Sequence[Path], *, force: bool) -> None:
    """Write every report; each file is whole or not there."""
    for path in paths:
        with atomic_write(path, force) as draft:
            _WRITERS[path.suffix.lower()](document, draft)


# --- Markdown and LaTeX --------------------------------------------------------------------


def markdown(table: Table) -> str:
    """The table as Markdown, its title as a heading, its notes as lines after it."""
    lines = [f"### {_md(table.title)}", "", _md_row(table.columns)]
    lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(table.columns) - 1)]) + "|")
    lines += [_md_row(row) for row in table.rows]
    for note in table.notes:
        lines += ["", _md(note)]
    return "\n".join(lines) + "\n"


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_md, cells)) + " |"


def _md(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\|*_`<\[])", r"\\\1", " ".join(text.split()))


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    # after \\ these two would be read as its options
    "[": "{[}",
    "*": "{*}",
}
_NUMBER = re.compile(r"(?<![\w.])-(?=\d)")


def tex(text: str) -> str:
    """Text that LaTeX prints as it is; the hyphen before a number becomes a minus sign."""
    plain = _NUMBER.sub("−", " ".join(text.split()))
    return "".join(_TEX.get(sign, sign) for sign in plain)


def latex(table: Table) -> str:
    """The table for the package booktabs, with the title as its caption and the notes below."""
    lines = [r"\begin{table}", r"  \centering", f"  \\caption{{{tex(table.title)}}}"]
    lines.append(f"  \\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}")
    lines += [r"    \toprule", _tex_row(table.columns), r"    \midrule"]
    lines += [_tex_row(row) for row in table.rows]
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    lines += [f"  \\par\\smallskip\\footnotesize {tex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(map(tex, cells))} \\\\"
