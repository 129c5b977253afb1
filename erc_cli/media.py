"""Sound and pictures of the utterances: a look at the file, then one forward pass for all wishes.

Times are seconds from the medium's start, which is where its first stream starts.
Files are opened as local files of known media formats only: no playlists, no network protocols.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from erc_cli.decoding import (
    Decoder,
    Reader,
    Taker,
    declared_end,
    duration_of,
    is_estimated,
    odd_streams,
    open_media,
    origin_of,
    streams_of,
)
from erc_cli.errors import UsageError
from erc_cli.pictures import Moment, PictureTaker, display_matrix, is_turned
from erc_cli.sound import SoundTaker
from erc_cli.types import Clip, MediaInfo, Notice, Status, Wish

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FIRST_PACKETS = 300  # how far to look for a first frame
PROGRESS_STEP = 0.002
CUT = 1.0  # seconds missing at the end that make a file cut off


def probe(path: Path) -> MediaInfo:
    """What the file holds, and its SHA-256.

    Raises:
        UsageError: no such file, or nothing in it that can be seen or heard.
    """
    with closing(open_media(path)) as container:
        video, audio = streams_of(container)
        warnings = odd_streams(container)
        duration = duration_of(container)
    if video is None and audio is None:
        raise UsageError(
            f"{path} holds neither sound nor moving pictures that can be decoded.",
            hint=" ".join([*(notice.message for notice in warnings), "Name a video or sound file."]),
        )
    width, height = _upright_size(path) if video is not None else (0, 0)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return MediaInfo(
        path=path,
        sha256=sha256,
        duration=duration,
        video=video is not None,
        audio=audio is not None,
        width=width,
        height=height,
        warnings=warnings,
    )


def read_clips(
    info: MediaInfo,
    wishes: Sequence[Wish],
    *,
    on_progress: Callable[[float], None] | None = None,
    on_warning: Callable[[Notice], None] | None = None,
) -> Iterator[tuple[int, Clip]]:
    """Answer all wishes in one forward pass; yield (index of the wish, clip) as each is complete.

    An empty wish yields nothing. A clip holds, in the order of the wish, a frame for each wished
    time at which a picture was on screen: the one with the largest time stamp that is not later.
    Equal frames share one array. What is inside the medium but has no sound (a sound track that
    starts late, a gap) is zeros. `on_progress` gets the share of the pass that is done, 0 to 1;
    `on_warning` hears of damage to the file, once.

    Raises:
        UsageError: the file has gone, or has been replaced by something else.
    """
    spans = [(i, *wish.sound) for i, wish in enumerate(wishes) if wish.sound is not None and info.audio]
    moments = [
        Moment(time, i, slot, wish.longest_side)
        for i, wish in enumerate(wishes)
        for slot, time in enumerate(wish.frames)
        if info.video
    ]
    for index, wish in enumerate(wishes):
        if (wish.sound is not None or wish.frames) and not _parts(info, wish):
            yield index, _blank(info, wish)
    if not spans and not moments:
        return
    halves: dict[int, Clip] = {}
    with closing(open_media(info.path)) as container:
        run = _Run(info, container, _Once(on_warning))
        last = max([end for _, _, end in spans] + [moment.time for moment in moments])
        for index, half in run.halves(spans, moments, _Meter(min(last, info.duration), on_progress)):
            if _parts(info, wishes[index]) == 2 and index not in halves:
                halves[index] = half
            else:
                other = halves.pop(index, None) or _blank(info, wishes[index])
                yield index, _merged(other, half)


def _parts(info: MediaInfo, wish: Wish) -> int:
    """From how many streams the wish is answered."""
    return (info.audio and wish.sound is not None) + (info.video and bool(wish.frames))


def _blank(info: MediaInfo, wish: Wish) -> Clip:
    """A clip that says only what the medium has no stream for."""
    return Clip(
        sound_status=Status.OK if info.audio or wish.sound is None else Status.NO_AUDIO_TRACK,
        frames_status=Status.OK if info.video or not wish.frames else Status.NO_VIDEO,
    )


def _merged(one: Clip, two: Clip) -> Clip:
    """One clip of two halves, each silent about the other's part."""
    return Clip(
        sound=two.sound if one.sound is None else one.sound,
        sound_status=two.sound_status if one.sound_status is Status.OK else one.sound_status,
        frames=one.frames or two.frames,
        frames_status=two.frames_status if one.frames_status is Status.OK else one.frames_status,
    )


@dataclass(slots=True)
class _Meter:
    """Turns times into progress, in steps worth showing."""

    total: float
    on_progress: Callable[[float], None] | None
    shown: float = 0.0

    def at(self, seconds: float) -> None:
        share = min(seconds / self.total, 1.0) if self.total > 0 else 0.0
        if self.on_progress is not None and share >= self.shown + PROGRESS_STEP:
            self.shown = share
            self.on_progress(share)

    def finish(self) -> None:
        if self.on_progress is not None and self.shown < 1.0:
            self.on_progress(1.0)


@dataclass(slots=True)
class _Once:
    """Lets one notice through: many damaged packets are one thing to know."""

    on_warning: Callable[[Notice], None] | None
    told: bool = False

    def tell(self, code: str, message: str) -> None:
        if self.on_warning is not None and not self.told:
            self.on_warning(Notice(code, message))
        self.told = True


@dataclass(slots=True)
class _Run:
    """One pass over an open file."""

    info: MediaInfo
    container: InputContainer
    notice: _Once
    now: float = 0.0

    def halves(
        self, spans: Sequence[tuple[int, float, float]], moments: Sequence[Moment], meter: _Meter
    ) -> Iterator[tuple[int, Clip]]:
        """Sound halves and picture halves of clips, each when it is complete."""
        origin = origin_of(self.container)
        takers = self._takers(spans, moments, origin)
        by_index = {stream.index: taker for stream, taker in takers}
        reader = Reader(self.container)
        for packet in reader.packets([stream for stream, _ in takers]):
            if packet.dts is not None:
                self.now = max(self.now, float(packet.dts * packet.time_base) - origin)
                meter.at(self.now)
            yield from by_index[packet.stream_index].feed(packet)
            if all(taker.done for taker in by_index.values()):
                break
        else:
            cut = self._is_cut(takers, origin, reader.failures)
            yield from self._finish(list(by_index.values()), cut=cut)
        meter.finish()

    def _takers(
        self, spans: Sequence[tuple[int, float, float]], moments: Sequence[Moment], origin: float
    ) -> list[tuple[Stream, Taker]]:
        video, audio = streams_of(self.container)
        takers: list[tuple[Stream, Taker]] = []
        if video is not None and moments:
            video.thread_type = "AUTO"
            pictures: Decoder[VideoFrame] = Decoder(video, self._damaged)
            takers.append((video, PictureTaker(video, pictures, moments, origin)))
        if audio is not None and spans:
            takers.append((audio, SoundTaker(audio, Decoder(audio, self._damaged), spans, origin)))
        if not takers:
            raise UsageError(
                f"{self.info.path} has changed while it was read.", hint="Run the command again."
            )
        return takers

    def _damaged(self) -> None:
        message = f"The file is damaged near {self.now:.1f} s; what cannot be decoded is passed over."
        self.notice.tell("media_damaged", message)

    def _is_cut(self, takers: Sequence[tuple[Stream, Taker]], origin: float, failures: int) -> bool:
        """Whether the file ends before its own header says. Tells so."""
        ends = [taker.end for _, taker in takers]
        if is_estimated(self.container):
            return False
        short = any(
            not taker.done and (declared_end(stream, origin) or 0.0) > taker.end + CUT
            for stream, taker in takers
        )
        followed = len(takers) == self.info.video + self.info.audio
        short = short or (followed and self.info.duration > max(ends) + CUT)
        if short or failures:
            message = f"The file ends at {max(ends):.1f} s, but its header says {self.info.duration:.1f} s."
            self.notice.tell("media_cut", message if short else "Parts of the file cannot be read.")
        return short or failures > 0

    def _finish(self, takers: Sequence[Taker], *, cut: bool) -> Iterator[tuple[int, Clip]]:
        limit = max(taker.end for taker in takers)
        if not is_estimated(self.container):
            limit = max(limit, self.info.duration)
        for taker in takers:
            yield from taker.finish(limit=limit, cut=cut)


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after rotation; a turn is known only from a decoded frame."""
    with closing(open_media(path)) as container:
        video, _ = streams_of(container)
        if video is None:
            return 0, 0
        frame = _first_frame(container, video)
        if frame is None:
            return video.width, video.height
        if is_turned(display_matrix(frame)):
            return frame.height, frame.width
        return frame.width, frame.height


def _first_frame(container: InputContainer, video: VideoStream) -> VideoFrame | None:
    decoder: Decoder[VideoFrame] = Decoder(video, lambda: None)
    for packet in islice(Reader(container).packets([video]), FIRST_PACKETS):
        for frame in decoder.decode(packet):
            return frame
    return next(iter(decoder.decode(None)), None)
