"""The pictures: drawn on and encoded, each at the time that it has in the recording."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.codec import UnknownCodecError

from erc_cli.decoding import Decoder, Reader, open_media, streams_of
from erc_cli.errors import ErcError, UsageError
from erc_cli.pictures import display_matrix
from erc_format_video.drawing import Drawing
from erc_format_video.planes import Look, planes_of

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

#: the first that PyAV's FFmpeg has, with its options
_ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {"b": "4M"},
    "mpeg4": {"qscale": "4"},
}
_MOST_DEN = {"mpeg4": 65_535}  # what a codec can count a second in
_UNKNOWN, _BT601, _JPEG = 2, 6, 2
_FRAMES = 300  # packets in which a first picture is looked for


def look_at(path: Path) -> Look:
    """How the pictures of a file look, by its first one.

    Raises:
        UsageError: none can be decoded.
    """
    with closing(open_media(path)) as source:
        video, _ = streams_of(source)
        frame = _first(Reader(source), video) if video is not None else None
        if video is None or frame is None:
            raise UsageError(f"{path}: no picture of it can be decoded.", hint="Convert it, and try again.")
        rgb = frame.format.is_rgb
        return Look(
            width=frame.width,
            height=frame.height,
            aspect=float(video.sample_aspect_ratio or 1),
            matrix=display_matrix(frame),
            full=frame.format.name.startswith("yuvj") or (not rgb and int(frame.color_range) == _JPEG),
            colorspace=_BT601 if rgb else int(frame.colorspace),
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
        )


def _first(reader: Reader, video: VideoStream) -> VideoFrame | None:
    decoder: Decoder[VideoFrame] = Decoder(video, lambda: None)
    for count, packet in enumerate(reader.packets([video])):
        frames = decoder.decode(packet)
        if frames or count > _FRAMES:
            return frames[0] if frames else None
    return next(iter(decoder.decode(None)), None)


class PictureTrack:
    """The pictures of a new file. Times are in ticks of the recording's own clock."""

    def __init__(
        self, target: OutputContainer, video: VideoStream, look: Look, drawing: Drawing, origin: float
    ) -> None:
        self._target, self._look, self._drawing = target, look, drawing
        base = video.time_base or Fraction(1, 90_000)
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        self._stream = _encoder(target, look, base, rate)
        self._base = self._stream.codec_context.time_base or base
        self._from, self._origin = base, round(origin / base)
        self._usual = max(round(1 / rate / base), 1)
        self._last = -1
        self._lengths: dict[int, int] = {}  # of the frames that are in the encoder
        self.time = 0.0

    def add(self, frame: VideoFrame) -> None:
        """Draw on a frame and encode it."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        due = self._last + self._usual if self._last >= 0 else 0
        ticks = due if stamp is None else stamp - self._origin
        ticks = max(
            ticks, self._last + 1, 0
        )  # a clock that jumps back: what is shown comes later all the same
        self._last = ticks
        self.time = float(ticks * self._from)
        drawn = self._drawn(frame, self.time)
        drawn.pts = round(ticks * self._from / self._base)
        drawn.time_base = self._base
        self._lengths[drawn.pts] = round((frame.duration or self._usual) * self._from / self._base)
        self._mux(self._stream.encode(drawn))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._mux(self._stream.encode(None))

    def _drawn(self, frame: VideoFrame, time: float) -> VideoFrame:
        planes = planes_of(frame, self._look)
        for layer in self._drawing.layers(time):
            planes.lay(layer)
        made = planes.frame()
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(made, name, getattr(self._stream.codec_context, name))
        return made

    def _mux(self, packets: Sequence[Packet[Any]]) -> None:
        for packet in packets:
            length = self._lengths.pop(packet.pts, None) if packet.pts is not None else None
            if length and not packet.duration:
                packet.duration = length
            self._target.mux(packet)


def _encoder(target: OutputContainer, look: Look, base: Fraction, rate: Fraction) -> VideoStream:
    name = next((name for name in _ENCODERS if _known(name)), None)
    if name is None:
        raise ErcError(
            "PyAV's FFmpeg has no encoder for H.264 or MPEG-4.", hint="Type: pip install --force-reinstall av"
        )
    stream = cast("VideoStream", target.add_stream(name, rate=rate, options=dict(_ENCODERS[name])))
    stream.width, stream.height = look.even
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    most = _MOST_DEN.get(name, 2**31 - 1)
    context.time_base = base if base.denominator <= most else Fraction(1, 60_000)
    context.sample_aspect_ratio = Fraction(look.upright_aspect).limit_denominator(1000)
    context.colorspace, context.color_range = look.colorspace, _JPEG if look.full else 1
    context.color_primaries, context.color_trc = look.primaries, look.transfer
    return stream


def _known(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except UnknownCodecError:
        return False
    return True
