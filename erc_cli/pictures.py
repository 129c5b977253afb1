"""Frames at many times in one forward pass, by each frame's own time stamp."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np

from erc_cli.types import Clip, Frame, Status

if TYPE_CHECKING:
    from fractions import Fraction

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from erc_cli.decoding import Decoder
    from erc_cli.types import ByteArray

EPSILON = 1e-5  # seconds: time stamps are ratios, times are floats
SLACK = 0.25  # seconds that the first and the last frame stand in for where there is none
LOOKAHEAD = 8  # packets: enough to see past reordered frames
QUEUE_PACKETS = 512
QUEUE_BYTES = 32 * 2**20
Matrix = tuple[int, int, int, int]
# Here a decoder that is told to skip "non-reference" frames skips only what nothing is built on.
SKIPS_EXACTLY = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})


@dataclass(frozen=True, slots=True)
class Moment:
    """A wanted frame: at `time` seconds, frame number `slot` of wish `index`."""

    time: float
    index: int
    slot: int
    longest_side: int


@dataclass(frozen=True, slots=True)
class _Shown:
    """A decoded frame, from when to when it is on screen by its own account, errors before it."""

    frame: VideoFrame
    time: float
    duration: float
    errors: int
    pictures: dict[int, Frame]


class PictureTaker:
    """Hands out the frames on screen at wanted moments as packets come by.

    Each result is (index, Clip) with the pictures' half of the clip filled in. Packets that no
    wanted frame depends on are not decoded, frames that nobody wants are not converted, and
    nothing is held but one frame, a short queue of packets, and the wishes that have begun.
    """

    def __init__(
        self,
        stream: VideoStream,
        decoder: Decoder[VideoFrame],
        moments: Sequence[Moment],
        origin: float,
    ) -> None:
        self._context = stream.codec_context
        self._base: Fraction | float = stream.time_base or 0.0
        rate = stream.average_rate or stream.guessed_rate
        self._period = float(1 / rate) if rate else 0.04
        self._aspect = float(stream.sample_aspect_ratio or 1)
        self._skips = stream.codec_context.name in SKIPS_EXACTLY
        self._origin = origin
        self._decoder = decoder
        self._moments = sorted(moments, key=lambda moment: moment.time)
        self._times = [moment.time for moment in self._moments]
        self._next = 0
        self._left: dict[int, int] = {}
        for moment in moments:
            self._left[moment.index] = self._left.get(moment.index, 0) + 1
        self._found: dict[int, dict[int, Frame | Status]] = {}
        self._queue: deque[tuple[float, Packet[VideoStream]]] = deque()
        self._bytes = 0
        self._newest = float("-inf")
        self._restart = False
        self._shown: _Shown | None = None
        self._end = 0.0
        self._matrices: dict[int, Matrix | None] = {}  # by rotation

    @property
    def done(self) -> bool:
        """Whether every moment has been answered."""
        return self._next == len(self._moments)

    @property
    def end(self) -> float:
        """Seconds up to which a picture was on screen."""
        return self._end

    def feed(self, packet: Packet[VideoStream]) -> Iterator[tuple[int, Clip]]:
        """Take a packet and yield the wishes that are complete with it."""
        if self.done:
            return
        if packet.pts is None:  # nothing can be foreseen: decode
            yield from self._drain()
            yield from self._show(packet)
            return
        time = self._seconds(packet.pts)
        self._end = max(self._end, time + self._period)
        if packet.is_keyframe and self._queue and time <= self._times[self._next] + EPSILON:
            # No wanted frame lies before this key frame, so nothing queued is of use.
            self._queue.clear()
            self._bytes, self._restart, self._shown = 0, True, None
        self._queue.append((time, packet))
        self._bytes += packet.size
        self._newest = max(self._newest, time)
        while self._ready():
            yield from self._pop()

    def finish(self, *, limit: float, cut: bool) -> Iterator[tuple[int, Clip]]:
        """Yield the other wishes at the end of the file (see `Taker.finish`)."""
        if self.done:
            return
        yield from self._drain()
        yield from self._show(None)
        shown = self._shown
        shown_until = shown.time + shown.duration if shown else 0.0
        while not self.done:
            time = self._times[self._next]
            if shown and time <= max(shown_until, self._end) + SLACK:
                yield from self._answer(self._picture(shown))
            elif time > limit + SLACK or time < -SLACK:
                yield from self._answer(Status.OUTSIDE_MEDIA)
            else:
                yield from self._answer(Status.UNREADABLE if cut or self._decoder.errors else Status.NO_VIDEO)

    def _ready(self) -> bool:
        if not self._queue or self.done:
            return False
        if len(self._queue) > QUEUE_PACKETS or self._bytes > QUEUE_BYTES:
            return True
        return len(self._queue) > LOOKAHEAD and self._newest >= self._times[self._next]

    def _drain(self) -> Iterator[tuple[int, Clip]]:
        while self._queue and not self.done:
            yield from self._pop()

    def _pop(self) -> Iterator[tuple[int, Clip]]:
        """Decode the oldest queued packet; a frame that is not wanted may be skipped."""
        time, packet = self._queue.popleft()
        self._bytes -= packet.size
        if self._restart:
            self._context.flush_buffers()
            self._restart = False
        if self._skips:
            after = min((t for t, _ in islice(self._queue, LOOKAHEAD) if t > time), default=float("inf"))
            wanted = bisect_left(self._times, time - EPSILON, self._next)
            needed = wanted < bisect_left(self._times, after - EPSILON, self._next)
            self._context.skip_frame = "DEFAULT" if needed else "NONREF"
        yield from self._show(packet)

    def _show(self, packet: Packet[VideoStream] | None) -> Iterator[tuple[int, Clip]]:
        """Decode, and answer the moments that lie before each new frame with the one before it."""
        for frame in self._decoder.decode(packet):
            new = self._timed(frame)
            while not self.done and self._times[self._next] + EPSILON < new.time:
                yield from self._answer(self._on_screen(self._times[self._next], new))
            self._shown = new
            self._end = max(self._end, new.time + new.duration)
        if self.done:
            self._shown = None
            self._queue.clear()

    def _timed(self, frame: VideoFrame) -> _Shown:
        stamp = frame.pts if frame.pts is not None else frame.dts
        duration = float(frame.duration * self._base) if frame.duration else self._period
        due = self._shown.time + self._shown.duration if self._shown else 0.0
        time = due if stamp is None else self._seconds(stamp)
        if self._shown and time < self._shown.time:  # a clock that jumps back: carry on by counting
            time = due
        return _Shown(frame, time, duration, self._decoder.errors, {})

    def _on_screen(self, time: float, new: _Shown) -> Status | _Picture:
        """What is on screen at `time`, before `new`: the frame shown last, or a reason."""
        shown = self._shown
        if shown is None:
            if new.time - time <= SLACK:
                return self._picture(new)
            return _before_first(time, new.errors)
        if new.errors > shown.errors and time > shown.time + max(shown.duration, SLACK):
            return Status.UNREADABLE  # frames between the two were lost
        return self._picture(shown)

    def _picture(self, shown: _Shown) -> _Picture:
        turn = shown.frame.rotation
        if turn not in self._matrices:
            self._matrices[turn] = display_matrix(shown.frame)
        return _Picture(shown, self._aspect, self._matrices[turn])

    def _answer(self, answer: Status | _Picture) -> Iterator[tuple[int, Clip]]:
        """Answer the next moment; yield its wish when that was the last of it."""
        moment = self._moments[self._next]
        self._next += 1
        found = self._found.setdefault(moment.index, {})
        found[moment.slot] = answer if isinstance(answer, Status) else self._scaled(answer, moment)
        if len(found) == self._left[moment.index]:
            del self._found[moment.index], self._left[moment.index]
            yield moment.index, _clip([found[slot] for slot in sorted(found)])

    def _scaled(self, picture: _Picture, moment: Moment) -> Frame | Status:
        try:
            return picture.scaled(moment.longest_side)
        except av.FFmpegError:  # a damaged header: a size or format that cannot be
            self._decoder.lose()
            return Status.UNREADABLE

    def _seconds(self, stamp: int) -> float:
        return float(stamp * self._base) - self._origin


@dataclass(frozen=True, slots=True)
class _Picture:
    """A frame that is converted when asked, once per size."""

    shown: _Shown
    aspect: float
    matrix: Matrix | None

    def scaled(self, longest_side: int) -> Frame:
        made = self.shown.pictures
        if longest_side not in made:
            rgb = to_rgb(self.shown.frame, longest_side, self.aspect, self.matrix)
            made[longest_side] = Frame(self.shown.time, rgb)
        return made[longest_side]


def to_rgb(
    frame: VideoFrame, longest_side: int, aspect: float = 1.0, matrix: Matrix | None = None
) -> ByteArray:
    """The frame as a viewer sees it: uint8 [height, width, 3], scaled down, square pixels, upright.

    `aspect` is the width of a pixel over its height, `matrix` the frame's display matrix.
    """
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    scale = min(1.0, longest_side / max(width, height))
    # Bicubic and area scaling cost more and gain nothing here; this one averages when it shrinks.
    rgb = frame.reformat(
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
        format="rgb24",
        interpolation="BILINEAR",
    ).to_ndarray()
    return _upright(np.asarray(rgb, np.uint8), matrix)


def display_matrix(frame: VideoFrame) -> Matrix | None:
    """(a, b, c, d) of the frame's display matrix: x' = a x + c y, y' = b x + d y; or None.

    PyAV's side data and its frame hold each other: a frame asked here lives until the garbage
    collector comes by. Ask few frames.
    """
    side = cast("Any", frame.side_data).get("DISPLAYMATRIX")
    if side is None:
        return None
    matrix = np.frombuffer(bytes(side), np.int32)
    return int(matrix[0]), int(matrix[1]), int(matrix[3]), int(matrix[4])


def is_turned(matrix: Matrix | None) -> bool:
    """Whether the matrix swaps width and height (a quarter turn)."""
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def _upright(rgb: ByteArray, matrix: Matrix | None) -> ByteArray:
    if matrix is None:
        return np.ascontiguousarray(rgb)
    a, b, c, d = matrix
    if is_turned(matrix):
        rgb, flip_x, flip_y = rgb.transpose(1, 0, 2), c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(rgb[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _before_first(time: float, errors: int) -> Status:
    if time < -SLACK:
        return Status.OUTSIDE_MEDIA
    return Status.UNREADABLE if errors else Status.NO_VIDEO


def _clip(found: Sequence[Frame | Status]) -> Clip:
    """The pictures' half of a clip: the frames there are, or the weightiest reason for none."""
    frames = tuple(item for item in found if isinstance(item, Frame))
    if frames:
        return Clip(frames=frames)
    order = (Status.UNREADABLE, Status.NO_VIDEO, Status.OUTSIDE_MEDIA)
    return Clip(frames_status=next(status for status in order if status in found))
