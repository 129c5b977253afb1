"""Text cells that a spreadsheet program would run as formulas, and back.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a return is evaluated when a table is opened
in a spreadsheet program, and subtitles of unknown origin are not to be trusted with that (OWASP,
"CSV injection"). Such cells are written with an apostrophe before them, and read without it.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guard(text: str) -> str:
    """The cell as it is written: `=1+1` as `'=1+1`; a guarded cell gets one more apostrophe."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """The reverse of `guard`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
