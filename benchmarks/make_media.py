"""A long synthetic conversation for speed and memory: 720p 25 fps H.264 and AAC, with subtitles.

    python benchmarks/make_media.py long.mp4 --minutes 10      (writes long.mp4 and long.srt)

The face is the public-domain portrait that scikit-image carries, moved and sized differently for
every stretch of video; speech is espeak-ng's, or voiced buzz where espeak-ng is missing. Only one
minute is encoded; longer files repeat its packets with new time stamps, so two hours take seconds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from skimage.data import astronaut, rocket
from skimage.transform import resize

WIDTH, HEIGHT, FPS = 1280, 720, 25
RATE = 48_000
TURNS = 15  # utterances a minute
SECONDS = 60
SAYINGS = (
    "I am so happy that you came, this is wonderful.",
    "No, that is not what I asked you to do.",
    "I miss her every single day.",
    "What? I cannot believe it!",
    "Please be careful, there is someone outside.",
    "We meet at eight, then we take the train.",
)


def pictures() -> Iterator[np.ndarray]:
    """One minute of frames, uint8 [720, 1280, 3]: a face that wanders, and at times none."""
    face, empty = astronaut(), _sized(rocket(), HEIGHT, WIDTH)
    rng = np.random.default_rng(0)
    for turn in range(TURNS):
        side = int(rng.integers(380, 680))
        portrait = _sized(face, side, side)
        left, top = rng.integers(0, WIDTH - side - 60), rng.integers(0, HEIGHT - side + 1)
        for step in range(FPS * SECONDS // TURNS):
            canvas = empty.copy() if turn % 7 == 6 else np.roll(empty, step, axis=1)
            if turn % 7 != 6:
                x = left + round(30 * np.sin(step / 12) + 30)
                canvas[top : top + side, x : x + side] = portrait
            yield canvas


def speech() -> np.ndarray:
    """One minute of sound, float32 [samples] at 48 kHz: a sentence for every turn."""
    sound = np.zeros(SECONDS * RATE, np.float32)
    for turn in range(TURNS):
        words = _spoken(SAYINGS[turn % len(SAYINGS)], turn)[: int(3.6 * RATE)]
        start = turn * SECONDS * RATE // TURNS + RATE // 5
        sound[start : start + len(words)] = words
    return sound


def main() -> None:
    """Write the film and its subtitles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        minute = Path(folder, "minute.mp4")
        _encode(minute)
        _repeat(minute, arguments.path, arguments.minutes)
    lines = []
    for number in range(arguments.minutes * TURNS):
        start = number * SECONDS / TURNS
        who, what = ("ANNA", "BEN")[number % 2], SAYINGS[number % TURNS % len(SAYINGS)]
        lines.append(f"{number + 1}\n{_stamp(start + 0.2)} --> {_stamp(start + 3.8)}\n{who}: {what}\n")
    arguments.path.with_suffix(".srt").write_text("\n".join(lines), encoding="utf-8")


def _encode(path: Path) -> None:
    """One minute, each group of pictures closed, so that it can be repeated."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FPS, options={"crf": "23", "preset": "medium", "g": "250"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        sound, taken = speech(), 0
        for number, picture in enumerate(pictures()):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            while taken < min(len(sound), (number + 1) * RATE // FPS):
                frame = av.AudioFrame.from_ndarray(sound[None, taken : taken + 1024].copy(), "fltp", "mono")
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), taken
                container.mux(audio.encode(frame))
                taken += 1024
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _repeat(minute: Path, path: Path, times: int) -> None:
    """The minute's packets, one after the other, without encoding again."""
    with av.open(str(path), "w") as target:
        streams = None
        for turn in range(times):
            with av.open(str(minute)) as source:
                inputs = (source.streams.video[0], source.streams.audio[0])
                streams = streams or tuple(target.add_stream_from_template(stream) for stream in inputs)
                for packet in source.demux(*inputs):
                    stamp = packet.pts
                    if packet.dts is None or stamp is None or packet.size == 0:
                        continue
                    whole = turn * SECONDS / packet.time_base
                    if packet.stream.type == "audio" and not 0 <= stamp < SECONDS * RATE:
                        continue  # the encoder's run-in and run-out
                    packet.pts, packet.dts = int(stamp + whole), int(packet.dts + whole)
                    packet.stream = streams[0 if packet.stream.type == "video" else 1]
                    target.mux(packet)


def _spoken(text: str, turn: int) -> np.ndarray:
    """A sentence, float32 [samples] at 48 kHz."""
    program = shutil.which("espeak-ng")
    if program is None:
        time = np.arange(3 * RATE) / RATE
        buzz = np.sin(2 * np.pi * (120 + 60 * (turn % 2)) * time + 3 * np.sin(2 * np.pi * 3 * time))
        return (0.3 * np.sign(buzz) * np.abs(np.sin(2 * np.pi * 2 * time))).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.wav")
        voice = ("en-us+f3", "en-gb")[turn % 2]
        subprocess.run([program, "-v", voice, "-s", "165", "-w", str(path), text], check=True)
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("fltp", "mono", RATE)
            frames = [*container.decode(audio=0), None]
            return np.concatenate([out.to_ndarray()[0] for f in frames for out in resampler.resample(f)])


def _sized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return (255 * resize(picture, (height, width), anti_aliasing=True)).astype(np.uint8)


def _stamp(seconds: float) -> str:
    whole, milli = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milli:03}"


if __name__ == "__main__":
    main()
