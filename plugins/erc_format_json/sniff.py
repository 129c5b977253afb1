"""Whether a text looks like one of our JSON formats, without parsing it."""

from __future__ import annotations

import re


def is_json(text: str) -> bool:
    """A JSON document that has segments, utterances, a transcription or starts."""
    head = text.lstrip()
    known = re.search(r'"(segments|utterances|transcription|start)"\s*:', head) is not None
    return head[:1] in ("{", "[") and known and not is_lines(text) and not is_youtube(text)


def is_lines(text: str) -> bool:
    """At least two lines, each an object with a start."""
    lines = [line for line in text[:100_000].split("\n") if line.strip()][:2]
    return bool(lines) and all(re.match(r'\s*\{.*"start"\s*:', line) for line in lines) and len(lines) > 1


def is_youtube(text: str) -> bool:
    """A JSON document with events that start in milliseconds."""
    head = text.lstrip()[:20_000]
    return head.startswith("{") and all(re.search(rf'"{key}"\s*:', head) for key in ("events", "tStartMs"))
