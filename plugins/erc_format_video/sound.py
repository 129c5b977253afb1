"""The sound: its packets as they are where the container takes them, else encoded again as AAC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from erc_cli.decoding import Decoder

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

#: what players take in a container; Matroska takes all that FFmpeg says
_TAKEN = {
    "mp4": frozenset(("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")),
    "mov": frozenset(("aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le")),
}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class SoundTrack(Protocol):
    """The sound of a new file."""

    def add(self, packet: Packet[Any]) -> None:
        """Take a packet of the recording."""

    def finish(self) -> None:
        """Write what is left."""


def sound_track(
    target: OutputContainer, source: AudioStream, origin: float, say: Callable[[str], None]
) -> SoundTrack:
    """The sound of `source` in `target`; `origin` in seconds becomes its zero."""
    name = source.codec_context.codec.canonical_name
    if name in _TAKEN.get(target.format.name, target.supported_codecs) and name in target.supported_codecs:
        return _Copied(target, source, origin)
    say(f"The sound ({name}) does not fit into this file as it is: it was encoded again, as AAC.")
    return _Encoded(target, source, origin)


class _Copied:
    def __init__(self, target: OutputContainer, source: AudioStream, origin: float) -> None:
        self._target = target
        self._stream = target.add_stream_from_template(source)
        self._origin = round(origin / source.time_base) if source.time_base else 0
        self._last: int | None = None

    def add(self, packet: Packet[Any]) -> None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None and self._last is not None:
            stamp = self._last + max(packet.duration or 0, 1)
        if stamp is None or (self._last is not None and stamp <= self._last):
            return  # nothing can be said of when it is heard
        self._last = stamp
        packet.pts = (packet.pts if packet.pts is not None else stamp) - self._origin
        packet.dts = stamp - self._origin
        packet.stream = self._stream
        self._target.mux(packet)

    def finish(self) -> None:
        return


class _Encoded:
    def __init__(self, target: OutputContainer, source: AudioStream, origin: float) -> None:
        self._target = target
        rate = source.rate if source.rate in _AAC_RATES else 48000
        layout = _LAYOUTS.get(source.layout.nb_channels, "stereo")
        self._stream: AudioStream = target.add_stream("aac", rate=rate, layout=layout)
        self._decoder: Decoder[AudioFrame] = Decoder(source, lambda: None)
        self._origin = origin

    def add(self, packet: Packet[Any]) -> None:
        self._encode(self._decoder.decode(packet))

    def finish(self) -> None:
        self._encode(self._decoder.decode(None))
        for packet in self._stream.encode(None):
            self._target.mux(packet)

    def _encode(self, frames: Sequence[AudioFrame]) -> None:
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._origin / frame.time_base)
            for packet in self._stream.encode(frame):
                self._target.mux(packet)
