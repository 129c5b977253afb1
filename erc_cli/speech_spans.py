"""Where in a recording somebody speaks: its sound read in pieces, judged, and cut into spans.

Memory does not grow with length but for one number per 32 ms (0.5 MB an hour).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.media import read_clips
from erc_cli.nets.silero import FRAME, SECONDS, Speechmeter
from erc_cli.types import MediaInfo, Notice, Status, Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

WINDOW = 1250  # frames read at once: 40 s
HYSTERESIS = 0.15  # speech goes on until the probability is so much below the threshold
_LONGER = 600.0  # seconds that a file may be longer than it says: some headers only estimate
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cutting:
    """How probabilities become spans; all but `threshold` in seconds.

    `threshold`: speech begins there. `min_speech`: what is shorter is no speech. `min_silence`: a shorter
    pause does not end a span. `pad`: kept before and after. `max_seconds`: a longer span is cut where
    speech is least likely in its second half.
    """

    threshold: float = 0.5
    min_speech: float = 0.25
    min_silence: float = 0.4
    pad: float = 0.1
    max_seconds: float = 20.0


def find_speech(
    info: MediaInfo,
    meter: Speechmeter,
    cutting: Cutting,
    *,
    on_progress: Callable[[float], None] | None = None,
    on_warning: Callable[[Notice], None] | None = None,
) -> list[Span]:
    """Spans of speech (start, end) in seconds, in order, none of them overlapping.

    Raises:
        UsageError: the file has gone, or has been replaced by something else.
    """
    found: list[FloatArray] = []
    heard = 0.0
    for sound, seconds in _windows(info, on_progress, on_warning):
        if sound is None:
            meter.forget()
            found.append(np.zeros(round(seconds / SECONDS), np.float32))
            continue
        found.append(meter.probabilities(sound))
        heard = sum(map(len, found[:-1])) * SECONDS + seconds
    chances = np.concatenate(found) if found else np.zeros(0, np.float32)
    return [(start, min(end, heard)) for start, end in cut(chances, cutting) if start < heard]


def _windows(
    info: MediaInfo,
    on_progress: Callable[[float], None] | None,
    on_warning: Callable[[Notice], None] | None,
) -> Iterator[tuple[FloatArray | None, float]]:
    """The sound from the start to the end, window by window, and its length in seconds; None for what
    cannot be read."""
    step = WINDOW * SECONDS
    count = math.ceil((2 * info.duration + _LONGER) / step)
    wishes = [Wish(sound=(i * step, (i + 1) * step)) for i in range(count)]
    for _, clip in read_clips(info, wishes, on_progress=on_progress, on_warning=on_warning):
        if clip.sound_status is Status.UNREADABLE:
            yield None, step
        elif clip.sound is not None and len(clip.sound):
            yield clip.sound, len(clip.sound) * SECONDS / FRAME


# --- from probabilities to spans -------------------------------------------------------------


def cut(chances: FloatArray, cutting: Cutting) -> list[Span]:
    """Spans in seconds of probabilities [frames], the first frame at 0."""
    most = max(1, int(cutting.max_seconds / SECONDS))
    spans = [
        part
        for first, last in _runs(chances, cutting)
        if (last - first) * SECONDS >= cutting.min_speech
        for part in _split(chances, first, last, most)
    ]
    return _padded([(first * SECONDS, last * SECONDS) for first, last in spans], cutting)


def _runs(chances: FloatArray, cutting: Cutting) -> Iterator[tuple[int, int]]:
    """Frames (first, behind the last) of each run of speech."""
    low = max(cutting.threshold - HYSTERESIS, 0.01)
    pause = max(1, round(cutting.min_silence / SECONDS))
    first, quiet = -1, -1  # where the run, and the pause in it, began
    for i, chance in enumerate(chances.tolist()):
        if first < 0:
            first = i if chance >= cutting.threshold else -1
            quiet = -1
        elif chance >= low:
            quiet = -1
        elif quiet < 0:
            quiet = i
        if first >= 0 and quiet >= 0 and i + 1 - quiet >= pause:
            yield first, quiet
            first = quiet = -1
    if first >= 0:
        yield first, len(chances) if quiet < 0 else quiet


def _split(chances: FloatArray, first: int, last: int, most: int) -> Iterator[tuple[int, int]]:
    """A run in parts of at most `most` frames, cut where speech is least likely."""
    while last - first > most:
        middle = first + max(most // 2, 1)
        place = middle + int(chances[middle : first + most + 1].argmin())
        yield first, place
        first = place
    yield first, last


def _padded(spans: Sequence[Span], cutting: Cutting) -> list[Span]:
    """The spans with a little before and after, neighbours at most up to the middle between them; and no
    longer than `max_seconds` for that."""
    wide = [(max(start - cutting.pad, 0.0), end + cutting.pad) for start, end in spans]
    middles = [(a[1] + b[0]) / 2 for a, b in pairwise(spans)]
    begins = [start if i == 0 else max(start, middles[i - 1]) for i, (start, _) in enumerate(wide)]
    ends = [end if i == len(middles) else min(end, middles[i]) for i, (_, end) in enumerate(wide)]
    made = []
    for begin, end in zip(begins, ends, strict=True):
        excess = max(end - begin - cutting.max_seconds, 0.0) / 2
        made.append((round(begin + excess, 3), round(end - excess, 3)))
    return made
