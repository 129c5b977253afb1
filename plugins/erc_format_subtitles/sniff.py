"""Whether a text looks like one of the subtitle formats."""

from __future__ import annotations

import re


def is_srt(text: str) -> bool:
    """A line with two times and an arrow, and not WebVTT."""
    timing = r"^[ \t]*-?\d+:\d+(:\d+)?([.,]\d+)?[ \t]*-{1,3}>[ \t]*-?\d+:\d+"
    return not is_vtt(text) and not is_ass(text) and bool(re.search(timing, text, re.MULTILINE))


def is_vtt(text: str) -> bool:
    """The line that every WebVTT file begins with."""
    return text.lstrip().startswith("WEBVTT")


def is_ass(text: str) -> bool:
    """A section or a dialogue line of SubStation Alpha."""
    return bool(
        re.search(r"^[ \t]*(\[Script Info\]|\[V4\+? Styles\]|Dialogue:[^\n]{0,40}\d:\d)", text, re.MULTILINE)
    )
