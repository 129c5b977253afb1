"""YouTube's captions as `json3`: events of segments, times in milliseconds.

Automatic captions roll: an event stays on the screen while the next one is spoken, an event with
`aAppend` only breaks the line, and every word has its offset (`tOffsetMs`) in the event. There an
event ends where the next begins. Captions that people made keep the ends they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError
from erc_cli.transcripts import Cue, build_transcript, parse_time, read_bytes_as_text
from erc_cli.types import Notice, Transcript
from erc_format_json.readers import load

_LAST_WORD = 1.0  # seconds that it is given where an event has no duration
_HINT = 'Expected {"events": [{"tStartMs": 1000, "dDurationMs": 1500, "segs": [{"utf8": "…"}]}]}.'


def read(path: Path) -> Transcript:
    """The captions, each an utterance.

    Raises:
        UsageError: not JSON, or not of YouTube.
    """
    document = load(read_bytes_as_text(path), path, None)
    events = document.get("events") if isinstance(document, dict) else None
    if not isinstance(events, list):
        raise UsageError(f"{path} is JSON, but has no list of events as YouTube's captions do.", hint=_HINT)
    events = [event for event in events if isinstance(event, dict)]
    rolling = any(event.get("aAppend") for event in events) or any(
        "tOffsetMs" in segment for event in events for segment in _segments(event)
    )
    notices: list[Notice] = []
    cues = [cue for number, event in enumerate(events) if (cue := _cue(event, number, notices))]
    if rolling:
        cues = _unrolled(cues)
        notices.append(Notice("captions_roll", "Automatic captions: each ends where the next one begins."))
    return build_transcript(cues, "json3", notices, path)


def _segments(event: dict[str, Any]) -> list[dict[str, Any]]:
    segments = event.get("segs")
    return [one for one in segments if isinstance(one, dict)] if isinstance(segments, list) else []


def _cue(event: dict[str, Any], number: int, notices: list[Notice]) -> Cue | None:
    """The cue of an event, or None where it only opens a window or breaks a line."""
    texts = [segment.get("utf8") for segment in _segments(event)]
    text = "".join(one for one in texts if isinstance(one, str))
    if not text.strip():
        return None
    start, length = parse_time(event.get("tStartMs")), parse_time(event.get("dDurationMs", 0))
    if start is None or length is None:
        notices.append(Notice("cue_times", f"Event {number} has no times; it was left out."))
        return None
    offsets = [parse_time(segment.get("tOffsetMs")) or 0.0 for segment in _segments(event)]
    end = (start + length) / 1000
    if not length and max(offsets) > 0:
        end = (start + max(offsets)) / 1000 + _LAST_WORD
    return Cue(start / 1000, end, text)


def _unrolled(cues: Sequence[Cue]) -> list[Cue]:
    """The cues in time order, each ending where the next begins at the latest."""
    ordered = sorted(cues, key=lambda cue: (cue.start, cue.end))
    made = []
    for i, cue in enumerate(ordered):
        after = next((other.start for other in ordered[i + 1 : i + 50] if other.start > cue.start), cue.end)
        made.append(replace(cue, end=min(cue.end, after)))
    return made
