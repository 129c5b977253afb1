"""Opening media files safely, choosing their streams, and decoding on past damage."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from erc_cli.errors import UsageError
from erc_cli.types import Notice

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

    from erc_cli.types import Clip

FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,mp3,wav,w64,rf64,flac,aac,ac3,eac3,dts,amr,aiff,au,caf,"
    "ape,tta,wv,mxf,nut,rm,dv,wtv,h264,hevc,av1,obu,ivf,m4v,mpegvideo,vc1,yuv4mpegpipe"
)
# Without an index, the length of these is only estimated from the bit rate.
ESTIMATED = frozenset(
    ("mp3", "aac", "ac3", "eac3", "dts", "amr", "h264", "hevc", "av1", "obu", "m4v", "mpegvideo", "vc1")
)
STILLS = Disposition.attached_pic | Disposition.timed_thumbnails
READ_FAILURES = 100  # in a row, before the rest of the file is given up
HEAD = 4096

FrameT = TypeVar("FrameT", VideoFrame, AudioFrame)


class Taker(Protocol):
    """Takes one stream's packets and hands out halves of clips, each with its wish's index."""

    @property
    def done(self) -> bool:
        """Whether nothing is wanted any more."""

    @property
    def end(self) -> float:
        """Seconds up to which the stream was seen."""

    def feed(self, packet: Packet[Any]) -> Iterator[tuple[int, Clip]]:
        """Take a packet; yield what is complete with it."""

    def finish(self, *, limit: float, cut: bool) -> Iterator[tuple[int, Clip]]:
        """Yield the rest at the end of the file, with the reason where there is nothing.

        `limit`: where the medium ends, in seconds. `cut`: the file ends before its header says.
        """


class Decoder(Generic[FrameT]):
    """A stream's decoder that goes on after errors and counts them."""

    def __init__(self, stream: VideoStream | AudioStream, on_damage: Callable[[], None]) -> None:
        self._stream = stream
        self._on_damage = on_damage
        self._seen = False
        self.errors = 0

    def decode(self, packet: Packet[Any] | None) -> list[FrameT]:
        """The frames that come out when the packet goes in; None asks for the last ones."""
        try:
            frames: list[Any] = self._stream.decode(packet)
        except av.FFmpegError:
            self.lose()
            return []
        self._seen = self._seen or bool(frames)
        if packet is None and self.errors and not self._seen:
            self._on_damage()
        return frames

    def lose(self) -> None:
        """Count something that could not be decoded, or that is nonsense once decoded."""
        self.errors += 1
        if self._seen:  # a recording that starts amid a group of pictures is no damage
            self._on_damage()


@dataclass(slots=True)
class Reader:
    """Packets of an open file, in its order, as far as it can be read."""

    container: InputContainer
    failures: int = 0

    def packets(self, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
        """Packets of the streams; parts of the file that cannot be read are passed over."""
        in_a_row = 0
        packets = self.container.demux(*streams)
        while in_a_row < READ_FAILURES:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, IndexError) as error:
                # PyAV meets a stream that appears on the way with an IndexError: no damage.
                self.failures += not isinstance(error, IndexError)
                in_a_row += 1
                packets = self.container.demux(*streams)
                continue
            if packet is None:
                return
            in_a_row = 0
            if packet.size:  # empty ones ask a decoder for its last frames; `finish` does that
                yield packet


def open_media(path: Path) -> InputContainer:
    """Open a media file; only files of known media formats, and nothing that they refer to.

    Raises:
        UsageError: what is wrong with the file, and what to do.
    """
    _check_is_file(path)
    safe = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        return av.open(f"file:{path.absolute()}", container_options=safe, metadata_errors="replace")
    except av.FFmpegError as error:
        raise _why_not(path, error.strerror or str(error)) from error


def streams_of(container: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    """The main picture and sound streams that can be decoded; cover art is no picture stream."""
    video = [s for s in container.streams.video if s.codec_context and not s.disposition & STILLS]
    audio = [s for s in container.streams.audio if s.codec_context]
    best_video, best_audio = container.streams.best("video"), container.streams.best("audio")
    return (
        next((s for s in video if s == best_video), video[0] if video else None),
        next((s for s in audio if s == best_audio), audio[0] if audio else None),
    )


def odd_streams(container: InputContainer) -> tuple[Notice, ...]:
    """Notices of streams that cannot be decoded, or that are left unused."""
    notices = []
    for stream in (*container.streams.video, *container.streams.audio):
        if not stream.codec_context:
            what = "pictures" if stream.type == "video" else "sound"
            notices.append(Notice("codec_unknown", f"The {what} of stream {stream.index} cannot be decoded."))
    audio = streams_of(container)[1]
    others = len(container.streams.audio) - 1
    if audio is not None and others > 0:
        message = f"The file has {others + 1} sound tracks; track {audio.index} is used."
        notices.append(Notice("sound_tracks", message))
    return tuple(notices)


def origin_of(container: InputContainer) -> float:
    """The medium's start on the file's own clock, in seconds."""
    return (container.start_time or 0) / av.time_base


def is_estimated(container: InputContainer) -> bool:
    """Whether the file's stated length is only a guess."""
    return bool(ESTIMATED & set(container.format.name.split(",")))


def declared_end(stream: Stream, origin: float) -> float | None:
    """Where the file says that the stream ends, in seconds; None if it does not say."""
    if not stream.duration or stream.time_base is None:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin


def duration_of(container: InputContainer) -> float:
    """Length in seconds: as the file states it, else found by reading all packets' times."""
    if container.duration:
        return container.duration / av.time_base
    origin, end = origin_of(container), 0.0
    streams = [stream for stream in streams_of(container) if stream is not None]
    for packet in Reader(container).packets(streams):
        stamp = packet.pts if packet.pts is not None else packet.dts
        length = float((packet.duration or 0) * packet.time_base)
        if not length and isinstance(packet.stream, VideoStream) and packet.stream.guessed_rate:
            length = float(1 / packet.stream.guessed_rate)
        end = end + length if stamp is None else max(end, float(stamp * packet.time_base) - origin + length)
    return end


def _check_is_file(path: Path) -> None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "Check the name, and that the folder is the one you mean."
        raise UsageError(f"No such file: {path}", hint=hint) from error
    except OSError as error:
        hint = "Check its name and its permissions."
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is a folder, not a video or sound file.", hint="Name one file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file.", hint="Save the medium to a file, and name that.")
    if found.st_size == 0:
        raise UsageError(f"{path} is empty (0 bytes).", hint="Copy or download it again.")


def _why_not(path: Path, reason: str) -> UsageError:
    """What to tell about a file that FFmpeg did not open."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return UsageError(f"{path} cannot be read: {error.strerror}.", hint="Check its permissions.")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return UsageError(
            f"{path} is a web page, not a video or sound file.",
            hint="The download has probably failed; download the file again.",
        )
    if start.startswith((b"#extm3u", b"[playlist]", b"<?xml", b"<asx", b"<smil", b"ffconcat")):
        return UsageError(
            f"{path} is a playlist or a description, not a video or sound file.",
            hint="Playlists are not followed; name the video or sound file itself.",
        )
    if _looks_like_text(head):
        return UsageError(
            f"{path} is a text file, not a video or sound file.",
            hint="Is it the transcript? Type: erc predict VIDEO --transcript TEXT",
        )
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return UsageError(
            f"{path} is cut off or damaged: its index (moov) is missing ({reason}).",
            hint="Copy or download it again, or export it again from the program that made it.",
        )
    return UsageError(
        f"{path} is not a video or sound file that can be read ({reason}).",
        hint="Convert it to mp4, mkv or wav; for instance: ffmpeg -i FILE out.mp4",
    )


def _looks_like_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    control = sum(byte < 9 or 13 < byte < 32 for byte in head)
    return control == 0
