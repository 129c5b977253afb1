"""Where the faces of a moment are: between the frames that were looked at, boxes glide."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erc_cli.faces.record import BOXES, SPEAKER_BOXES
from erc_cli.types import Modality, Opinion, Result, Status

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Seen:
    """A face: its sides as shares of the picture's width and height; whether it is the speaker's."""

    box: Box
    speaker: bool


@dataclass(frozen=True, slots=True)
class Track:
    """The faces of one utterance: `faces[i]` at `times[i]` seconds; `step`: seconds between two looks."""

    times: tuple[float, ...]
    faces: tuple[tuple[Seen, ...], ...]
    step: float

    def at(self, time: float) -> list[Seen]:
        """The faces at a time: between two looks where those two have them, else near the one that has."""
        after = bisect_right(self.times, time)
        if after == 0 or after == len(self.times):
            nearest = min(after, len(self.times) - 1)
            return list(self.faces[nearest]) if abs(self.times[nearest] - time) <= self.step else []
        start, end = self.times[after - 1], self.times[after]
        if end - start > 1.5 * self.step:  # a look in between has found nothing
            nearest = after if end - time < time - start else after - 1
            return list(self.faces[nearest]) if abs(self.times[nearest] - time) <= self.step / 2 else []
        return _between(self.faces[after - 1], self.faces[after], (time - start) / max(end - start, 1e-9))


def track_of(result: Result, i: int) -> Track | None:
    """The faces of utterance i; None where the visual branch tells of none."""
    opinion = result.predictions[i].opinions.get(Modality.VISUAL, Opinion(Status.DROPPED))
    rows = _rows(opinion.detail)
    if not rows:
        return None
    owned = opinion.detail.get(SPEAKER_BOXES)
    speaker = set(owned) if isinstance(owned, list) and all(isinstance(k, int) for k in owned) else set()
    by_time: dict[float, list[Seen]] = {}
    for k, (time, *sides) in enumerate(rows):
        box: Box = (sides[0], sides[1], sides[2], sides[3])
        by_time.setdefault(time, []).append(Seen(box, k in speaker))
    times = tuple(sorted(by_time))
    said = result.utterances[i]
    mean = opinion.detail.get("faces")
    looks = round(len(rows) / mean) if isinstance(mean, int | float) and mean > 0 else len(times)
    step = max(said.end - said.start, 0.04) / max(looks, 1)
    return Track(times, tuple(tuple(by_time[time]) for time in times), step)


def _rows(detail: Mapping[str, Any]) -> list[list[float]]:
    """The boxes, if they are what `boxes_of` makes: a result may have been edited by hand."""
    rows = detail.get(BOXES)
    if not isinstance(rows, list):
        return []
    whole = [row for row in rows if isinstance(row, list) and len(row) == 5]
    sound = [row for row in whole if all(isinstance(x, int | float) and abs(x) < 1e6 for x in row)]
    return sound if len(sound) == len(rows) else []


def _between(first: Sequence[Seen], second: Sequence[Seen], share: float) -> list[Seen]:
    """Faces that are in both looks at about the same place glide; others stay for their half of the time."""
    left = list(second)
    found = []
    for one in first:
        other = min(left, key=lambda face: _distance(one.box, face.box), default=None)
        if other is not None and _distance(one.box, other.box) < 1:
            left.remove(other)
            sides = [a + (b - a) * share for a, b in zip(one.box, other.box, strict=True)]
            nearest = other if share > 0.5 else one
            found.append(Seen((sides[0], sides[1], sides[2], sides[3]), nearest.speaker))
        elif share < 0.5:
            found.append(one)
    return [*found, *(left if share >= 0.5 else [])]


def _distance(one: Box, other: Box) -> float:
    """How far the middles are apart, in widths and heights of the larger box."""
    wide = max(one[2] - one[0], other[2] - other[0], 1e-6)
    high = max(one[3] - one[1], other[3] - other[1], 1e-6)
    x = (one[0] + one[2] - other[0] - other[2]) / 2 / wide
    y = (one[1] + one[3] - other[1] - other[3]) / 2 / high
    return max(abs(x), abs(y))
