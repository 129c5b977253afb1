"""Media whose content says where it belongs: numbered pictures, and samples that are all different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, MediaInfo, Notice, Wish

RATE = 16_000
BITS = 10
LOSSY = {"aac": 1024, "libmp3lame": 1152}  # samples a frame


def numbered(number: int, width: int = 160, height: int = 96) -> np.ndarray:
    """A grey picture with `number` in binary: ten bars, the first bit at the left."""
    row = np.zeros(width, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            row[bit * width // BITS : (bit + 1) * width // BITS] = 255
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of(rgb: np.ndarray) -> int:
    """The number that `numbered` drew."""
    width = rgb.shape[1]
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(rgb[rgb.shape[0] // 2, x].mean() > 127) << bit for bit, x in enumerate(middles))


@dataclass(frozen=True, slots=True)
class Video:
    """Pictures to encode: one per time stamp (seconds), numbered from 0 unless given."""

    times: Sequence[float]
    pictures: Sequence[np.ndarray] | None = None
    size: tuple[int, int] = (160, 96)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = (("crf", "15"),)
    rotation: int | None = None
    aspect: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Samples to encode, [n] or [channels, n], from `start` seconds on; `gap`: (sample, seconds) left out."""

    samples: np.ndarray
    rate: int = RATE
    start: float = 0.0
    codec: str = "flac"
    gap: tuple[int, float] | None = None


def write(path: Path, video: Video | None = None, audio: Audio | None = None, **options: str) -> Path:
    """A media file of the two, interleaved by time."""
    packets: list[av.Packet] = []
    with av.open(str(path), "w", options=options) as container:
        if video:
            packets += encoded_video(container, video)
        if audio:
            packets += encoded_audio(container, audio)
        container.start_encoding()
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            container.mux(packet)
    return path


def encoded_video(container: av.container.OutputContainer, video: Video) -> list[av.Packet]:
    base = Fraction(1, 25) if video.codec.startswith("mpeg") else Fraction(1, 1000)
    stream = container.add_stream(video.codec, rate=25, options=dict(video.options))
    stream.width, stream.height = video.size
    stream.pix_fmt = video.pix_fmt
    stream.codec_context.time_base = base
    if video.aspect:
        stream.codec_context.sample_aspect_ratio = video.aspect
    if video.rotation is not None:
        stream.set_display_rotation(video.rotation)
    packets = []
    for number, time in enumerate(video.times):
        rgb = video.pictures[number] if video.pictures else numbered(number, *video.size)
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=video.pix_fmt)
        frame.time_base, frame.pts = base, round(time / base)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def encoded_audio(container: av.container.OutputContainer, audio: Audio) -> list[av.Packet]:
    samples = np.atleast_2d(audio.samples)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    stream = container.add_stream(audio.codec, rate=audio.rate, layout=layout)
    packets, first, late = [], round(audio.start * audio.rate), 0
    step = LOSSY.get(audio.codec, 800)
    for start in range(0, samples.shape[1], step):
        if audio.gap and start >= audio.gap[0]:
            late = round(audio.gap[1] * audio.rate)
        block = np.ascontiguousarray(samples[:, start : start + step], np.float32)
        if audio.codec in LOSSY:
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
        else:
            whole = np.round(block * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(whole.T.reshape(1, -1).copy(), "s16", layout)
        frame.sample_rate = audio.rate
        frame.time_base, frame.pts = Fraction(1, audio.rate), first + start + late
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise that no two places share, quiet enough for every codec; smooth where it is to be resampled."""
    white = np.random.default_rng(seed).normal(0, 0.1, (channels, round(seconds * rate) + 16))
    if rate != RATE:
        white = np.apply_along_axis(lambda row: np.convolve(row, np.ones(16) / 4, "same"), 1, white)
    out = np.clip(white[:, : round(seconds * rate)], -0.9, 0.9).astype(np.float32)
    return out[0] if channels == 1 else out


def sweep(seconds: float) -> np.ndarray:
    """A tone that rises from 100 Hz by 700 Hz a second: lossy codecs keep it, and its place is known."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (100 + 350 * time) * time)).astype(np.float32)


def clips(
    path: Path, wishes: Sequence[Wish], notices: list[Notice] | None = None
) -> tuple[MediaInfo, dict[int, Clip]]:
    info = probe(path)
    pairs = list(read_clips(info, wishes, on_warning=None if notices is None else notices.append))
    assert len({index for index, _ in pairs}) == len(pairs), "a wish was answered twice"
    return info, dict(pairs)


def numbers(clip: Clip) -> list[int]:
    return [number_of(frame.rgb) for frame in clip.frames]


CFR = tuple(k / 25 for k in range(100))
VFR = tuple(np.cumsum(np.random.default_rng(1).choice([0.017, 0.033, 0.05, 0.2, 0.41], 90)).round(3).tolist())

CORNERS = np.zeros((96, 160, 3), np.uint8)
CORNERS[:48, :80] = (250, 10, 10)  # red top left
CORNERS[:48, 80:] = (10, 250, 10)  # green top right
CORNERS[48:, :80] = (10, 10, 250)  # blue bottom left, black bottom right


def heard(samples: np.ndarray) -> np.ndarray:
    """What 16 bits leave of the samples."""
    return (np.round(samples * 32767) / 32768).astype(np.float32)
