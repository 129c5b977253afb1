"""Clips waiting to be encoded several at once, for extractors that can do that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from erc_cli.types import Clip, Encoded, Extractor

MOST = 32  # clips
ROOM = 32_000_000  # bytes: eight minutes of sound, or some dozen frames


@runtime_checkable
class EncodesMany(Protocol):
    """An extractor with `encode_many` beside `encode`: rows of several clips, the same as one by one."""

    def encode_many(self, clips: Sequence[Clip]) -> Sequence[Encoded]:
        """`encode` of each clip, in order."""


class Owner(Protocol):
    """Who gets the rows."""

    rows: list[Encoded | None]

    def encode_one(self, index: int, clip: Clip) -> None:
        """Encode a clip by itself, and keep the row or what went wrong."""


class Queue:
    """Clips of one extractor, for one or several owners. An extractor without `encode_many` never waits.

    Memory is bounded: `MOST` clips, or `ROOM` bytes of them and one more.
    """

    def __init__(self, extractor: Extractor, *, most: int = MOST) -> None:
        self._many = extractor if isinstance(extractor, EncodesMany) else None
        self._most = most if self._many is not None else 1
        self._items: list[tuple[Owner, int, Clip]] = []
        self._bytes = 0

    def add(self, owner: Owner, index: int, clip: Clip) -> None:
        """Encode the clip now or later; its row will be `owner.rows[index]`."""
        self._items.append((owner, index, clip))
        self._bytes += _size(clip)
        if len(self._items) >= self._most or self._bytes >= ROOM:
            self.flush()

    def holds(self, owner: Owner) -> bool:
        """Whether a clip of that owner is still waiting."""
        return any(one is owner for one, _, _ in self._items)

    def flush(self) -> None:
        """Encode what is waiting. Where that fails together, each is tried by itself."""
        items, self._items, self._bytes = self._items, [], 0
        rows = self._together([clip for _, _, clip in items])
        for place, (owner, index, clip) in enumerate(items):
            if rows is None:
                owner.encode_one(index, clip)
            else:
                owner.rows[index] = rows[place]

    def _together(self, clips: Sequence[Clip]) -> Sequence[Encoded] | None:
        if self._many is None or len(clips) < 2:
            return None
        try:
            rows = self._many.encode_many(clips)
        except Exception:  # noqa: BLE001 - the plugin border: one by one will tell whose failure it was
            return None
        return rows if len(rows) == len(clips) else None


def _size(clip: Clip) -> int:
    sound = 0 if clip.sound is None else clip.sound.nbytes
    return sound + sum(frame.rgb.nbytes for frame in clip.frames)
