"""Text cells that a spreadsheet program would run as formulas, and back.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a return is evaluated when a table is opened
in a spreadsheet program, and subtitles of unknown origin are not to be trusted with that (OWASP,
"CSV injection"). Such cells are written with an apostrophe before them, and read without it.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
# A table with these is taken for a binary file.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def guard(text: str) -> str:
    """The cell as it is written: `=1+1` as `'=1+1`; a guarded cell gets one more apostrophe.

    Control characters are left out.
    """
    text = _CONTROL.sub("", text)
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """The reverse of `guard`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
