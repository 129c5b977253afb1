"""The people of one utterance: faces that belong together over its frames, and how their mouths move.

What `encode` finds goes to `gather` through `Encoded.detail`, as text that the feature store can keep.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.faces.align import ARCFACE, aligned

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray, FloatArray

PEOPLE = "people"  # the key in `Encoded.detail`
#: Faces more alike than this (cosine) are one person's. By MobileFaceNet, faces of one person in the test
#: clips agree by 0.35 to 0.98 (5th percentile, median of the steadiest), those of two by 0.19 at most (95th).
SAME = 0.3
MOST = 6  # people kept per utterance, by the area of their faces: this bounds the store
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MOUTH = (slice(80, 112), slice(36, 76))  # of a picture of 112x112
REST = (slice(40, 76), slice(30, 82))  # eyes and nose, which do not talk


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person in an utterance.

    `identity` unit vector [e]; `face` [d], what the weighted face model would say of this face alone;
    `area` of its boxes over all frames; `mouth`: how much it moves, None where it was seen only once;
    `seen`: which of the utterance's faces, counted over all frames, are this person's.
    """

    identity: FloatArray
    face: FloatArray
    area: float
    frames: int
    mouth: float | None
    seen: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class _Track:
    """A face followed from frame to frame: `seen` holds the numbers of frame, face in it, and row."""

    total: FloatArray
    seen: list[tuple[int, int, int]] = field(default_factory=list)


def people_of(
    frames: Sequence[tuple[ByteArray, Sequence[Face]]],
    identities: FloatArray,
    embeddings: FloatArray,
    pool: str,
) -> list[Person]:
    """The people of an utterance, those with the largest faces first.

    `frames`: pictures and their faces, in order of time; `identities` [n, e] and `embeddings` [n, d] have
    one row for each face of all frames.
    """
    people = []
    for track in _tracks(frames, identities):
        vectors = embeddings[[row for _, _, row in track.seen]]
        faces = [frames[frame][1][place] for frame, place, _ in track.seen]
        person = Person(
            identity=unit(track.total),
            face=np.asarray(np.max(vectors, 0) if pool == "max" else np.mean(vectors, 0), dtype=np.float32),
            area=float(sum(face.area for face in faces)),
            frames=len(faces),
            mouth=mouth_movement(
                [_picture(frames[seen[0]][0], face) for seen, face in zip(track.seen, faces, strict=True)]
            ),
            seen=tuple(row for _, _, row in track.seen),
        )
        people.append(person)
    return sorted(people, key=_smallness)[:MOST]


def _smallness(person: Person) -> float:
    return -person.area


def _tracks(frames: Sequence[tuple[ByteArray, Sequence[Face]]], identities: FloatArray) -> list[_Track]:
    """Faces that are alike, at most one of each frame in a track: the best pairs first."""
    tracks: list[_Track] = []
    row = 0
    for number, (_, faces) in enumerate(frames):
        vectors = identities[row : row + len(faces)]
        for place, known in enumerate(matched(vectors, [unit(track.total) for track in tracks])):
            if known is None:
                tracks.append(_Track(np.zeros_like(vectors[place])))
            track = tracks[-1 if known is None else known]
            track.total = track.total + vectors[place]
            track.seen.append((number, place, row + place))
        row += len(faces)
    return tracks


def matched(vectors: FloatArray, known: Sequence[FloatArray], same: float = SAME) -> list[int | None]:
    """For each of the vectors [n, e] the place of the known one that it is most alike, each taken once.

    None where none is left that is alike enough.
    """
    found: list[int | None] = [None] * len(vectors)
    if not known or not len(vectors):
        return found
    alike = np.array(vectors @ np.stack(known).T, dtype=np.float64)
    while alike.max() > same:
        row, column = divmod(int(alike.argmax()), len(known))
        found[row] = column
        alike[row], alike[:, column] = -np.inf, -np.inf
    return found


def _picture(rgb: ByteArray, face: Face) -> FloatArray:
    """The aligned grey face [112, 112]."""
    return np.asarray(aligned(rgb, [face], ARCFACE, 112)[0] @ LUMA, dtype=np.float32)


def mouth_movement(pictures: Sequence[FloatArray]) -> float | None:
    """How much the mouth changes in aligned grey faces [112, 112] of one person: 0 is not at all.

    The deviation over the frames of the standardised mouth, beyond that of eyes and nose, which is what
    turning heads, uncertain landmarks and noise make. None with fewer than two frames.
    """
    if len(pictures) < 2:
        return None
    every = np.stack(pictures)
    mouth, rest = (_change(every[:, rows, columns]) for rows, columns in (MOUTH, REST))
    return float(np.sqrt(max(mouth - rest, 0.0)))


def _change(parts: FloatArray) -> float:
    """Mean variance over the frames of [n, h, w], each standardised (nearly flat ones less)."""
    mean, deviation = parts.mean((1, 2), keepdims=True), parts.std((1, 2), keepdims=True)
    return float(((parts - mean) / (deviation + 4)).var(0).mean())


def unit(vector: FloatArray) -> FloatArray:
    """The vector [e] at length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)


# --- as text -------------------------------------------------------------------------------


def as_detail(people: Sequence[Person]) -> list[dict[str, Any]]:
    """For `Encoded.detail`; about 2 KB a person."""
    return [
        {
            "identity": _text(person.identity, "<f2"),
            "face": _text(person.face, "<f4"),
            "area": round(person.area, 1),
            "frames": person.frames,
            "mouth": None if person.mouth is None else round(person.mouth, 4),
            "seen": list(person.seen),
        }
        for person in people
    ]


def from_detail(detail: Mapping[str, Any]) -> list[Person]:
    """What `as_detail` wrote."""
    return [
        Person(
            identity=unit(_numbers(one["identity"], "<f2")),
            face=_numbers(one["face"], "<f4"),
            area=float(one["area"]),
            frames=int(one["frames"]),
            mouth=None if one["mouth"] is None else float(one["mouth"]),
            seen=tuple(one.get("seen", ())),  # older files have none
        )
        for one in detail.get(PEOPLE, [])
    ]


def _text(values: FloatArray, kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _numbers(text: str, kind: str) -> FloatArray:
    return np.frombuffer(base64.b64decode(text), kind).astype(np.float32)
