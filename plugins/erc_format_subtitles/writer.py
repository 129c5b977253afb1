"""A result as SubRip subtitles: `SPEAKER: text [emotion 61%]`."""

from __future__ import annotations

from pathlib import Path

from erc_cli.result import utterance_dicts
from erc_cli.types import Result


def write(result: Result, path: Path) -> None:
    """One cue per utterance, times in milliseconds, UTF-8 without a byte order mark."""
    made: list[str] = []
    for number, row in enumerate(utterance_dicts(result), 1):
        spoken = f"{row['speaker']}: {row['text']}" if row["speaker"] else row["text"]
        # A cue ends at a blank line, and an arrow would pass for its times.
        spoken = " ".join(spoken.replace("-->", "→").split())
        cue = f"{spoken} [{row['label']} {round(100 * row['confidence'])}%]".lstrip()
        made.append(f"{number}\n{_clock(row['start'])} --> {_clock(row['end'])}\n{cue}\n")
    path.write_text("\n".join(made), encoding="utf-8")


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds * 1000))
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"
