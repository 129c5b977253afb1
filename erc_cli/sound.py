"""Sound of many spans in one forward pass: 16 kHz mono, placed by its own time stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av
import numpy as np
from av.filter import Graph

from erc_cli.types import Clip, Status

if TYPE_CHECKING:
    from fractions import Fraction

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

    from erc_cli.decoding import Decoder
    from erc_cli.types import FloatArray

RATE = 16_000
JUMP = 0.02  # seconds between a time stamp and the sample count before the stamp is believed
LEAD = 1.0  # seconds decoded before a span, so that the decoder has settled when it begins
BUFFER_END: tuple[type[Exception], ...] = (av.error.EOFError, av.error.BlockingIOError)


@dataclass(slots=True)
class _Span:
    """A wanted stretch in samples, and what of it has been heard: (position, samples)."""

    index: int
    start: int
    stop: int
    pieces: list[tuple[int, FloatArray]] = field(default_factory=list)

    def joined(self, stop: int) -> FloatArray:
        """The samples from `start` to `stop`; what nobody heard is zero."""
        sound = np.zeros(max(stop - self.start, 0), np.float32)
        for position, samples in self.pieces:
            first = max(position, self.start)
            last = min(position + len(samples), self.start + len(sound))
            if first < last:
                sound[first - self.start : last - self.start] = samples[first - position : last - position]
        return np.clip(sound, -1.0, 1.0, out=sound)


class _Resampler:
    """One unbroken run of frames of one format, to 16 kHz mono."""

    def __init__(self, frame: AudioFrame) -> None:
        self._graph = Graph()
        source = self._graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=frame.layout.name,
            time_base=str(frame.time_base or f"1/{frame.sample_rate}"),
        )
        # Without rematrix_maxval, float stereo comes out 3 dB louder than integer stereo.
        resample = self._graph.add(
            "aresample", sample_rate=str(RATE), ochl="mono", osf="fltp", rematrix_maxval="1.0"
        )
        sink = self._graph.add("abuffersink")
        self._graph.link_nodes(source, resample, sink).configure()

    def push(self, frame: AudioFrame | None) -> Iterator[FloatArray]:
        """Samples that are ready after one more frame; None gives the rest."""
        self._graph.push(frame)
        while (ready := self._pull()) is not None:
            yield ready

    def _pull(self) -> FloatArray | None:
        try:
            frame = self._graph.pull()
        except BUFFER_END:
            return None
        return np.array(frame.to_ndarray()[0], np.float32)


class SoundTaker:
    """Hands out the sound of spans (index, start, end; in seconds) as packets come by.

    Each result is (index, Clip) with the sound's half of the clip filled in. Only the samples of
    spans that have begun and not ended are held.
    """

    def __init__(
        self,
        stream: AudioStream,
        decoder: Decoder[AudioFrame],
        spans: Sequence[tuple[int, float, float]],
        origin: float,
    ) -> None:
        self._base: Fraction | float = stream.time_base or 0.0
        self._origin = origin
        self._decoder = decoder
        self._errors = 0  # how many there were when a frame last came
        self._future = sorted((_span(*span) for span in spans), key=lambda span: span.start, reverse=True)
        self._open: list[_Span] = []
        self._run: _Resampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._due = 0.0  # seconds: where the next frame belongs if nothing is missing
        self._position = 0  # sample number of the next sample out of the resampler
        self._reach = 0.0  # seconds up to which packets were seen

    @property
    def done(self) -> bool:
        """Whether every span has been answered."""
        return not self._future and not self._open

    @property
    def end(self) -> float:
        """Seconds up to which sound was heard."""
        return max(self._reach, self._position / RATE)

    def feed(self, packet: Packet[AudioStream]) -> Iterator[tuple[int, Clip]]:
        """Decode a packet and yield the spans that are complete with it."""
        if packet.pts is not None:
            after = self._seconds(packet.pts) + float((packet.duration or 0) * self._base)
            self._reach = max(self._reach, after)
        if self.done or self._far(packet):
            return
        for frame in self._decoder.decode(packet):
            yield from self._place(frame)

    def finish(self, *, limit: float, cut: bool) -> Iterator[tuple[int, Clip]]:
        """Yield the other spans at the end of the file (see `Taker.finish`)."""
        if self.done:
            return
        for frame in self._decoder.decode(None):
            yield from self._place(frame)
        yield from self._stop_run()
        lost = cut or self._decoder.errors > self._errors
        media_end = round(max(limit, self.end) * RATE)
        heard_end = self._position if cut else media_end
        for span in [*self._open, *reversed(self._future)]:
            if span.start >= media_end:
                yield span.index, Clip(sound_status=Status.OUTSIDE_MEDIA)
            elif not span.pieces and lost:
                yield span.index, Clip(sound_status=Status.UNREADABLE)
            else:
                yield span.index, Clip(sound=span.joined(min(span.stop, heard_end)))
        self._open, self._future = [], []

    def _far(self, packet: Packet[AudioStream]) -> bool:
        """Whether nobody wants this packet nor one soon after it."""
        if self._open or packet.pts is None:
            return False
        return self._seconds(packet.pts) + LEAD < self._future[-1].start / RATE - LEAD

    def _seconds(self, stamp: int) -> float:
        return float(stamp * self._base) - self._origin

    def _place(self, frame: AudioFrame) -> Iterator[tuple[int, Clip]]:
        time = self._due if frame.pts is None else self._seconds(frame.pts)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._run is None or kind != self._kind or abs(time - self._due) > JUMP:
            yield from self._stop_run()
            try:
                self._run = _Resampler(frame)
            except av.FFmpegError:  # a damaged header: a rate or channels that cannot be
                self._decoder.lose()
                return
            self._kind = kind
            self._due, self._position = time, round(time * RATE)
        self._due += frame.samples / frame.sample_rate
        for samples in self._run.push(frame):
            yield from self._take(samples)
        self._errors = self._decoder.errors

    def _stop_run(self) -> Iterator[tuple[int, Clip]]:
        if self._run is not None:
            for samples in self._run.push(None):
                yield from self._take(samples)
        self._run = None

    def _take(self, samples: FloatArray) -> Iterator[tuple[int, Clip]]:
        """Give the samples to every span that they touch; yield the spans that end here."""
        start, stop = self._position, self._position + len(samples)
        self._position = stop
        while self._future and self._future[-1].start < stop:
            self._open.append(self._future.pop())
        for span in self._open:
            if start < span.stop and span.start < stop:
                span.pieces.append((start, samples))
        ended = [span for span in self._open if span.stop <= stop]
        self._open = [span for span in self._open if span.stop > stop]
        for span in ended:
            if not span.pieces and self._decoder.errors > self._errors:
                yield span.index, Clip(sound_status=Status.UNREADABLE)
            else:
                yield span.index, Clip(sound=span.joined(span.stop))


def _span(index: int, start: float, end: float) -> _Span:
    """A span in samples, from the medium's start on; the far future is cut to a number."""
    first = round(min(max(start, 0.0), 1e9) * RATE)
    return _Span(index, first, max(first, round(min(end, 1e9) * RATE)))
