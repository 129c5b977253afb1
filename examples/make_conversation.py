"""Make examples/conversation.mp4 and conversation.srt (see README.md here for the sources).

    python examples/make_conversation.py [FOLDER]

Needs the program espeak-ng and `pip install scikit-image`, besides erc-cli itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from skimage.data import astronaut, coffee, rocket
from skimage.transform import AffineTransform, warp

WIDTH, HEIGHT, FPS = 640, 360, 25
RATE = 22_050  # espeak-ng's own
PAUSE = 0.45  # seconds between utterances
PICTURES = {"face": astronaut, "rocket": rocket, "coffee": coffee}
VOICES = {"ANNA": ("en-us+f3", 60), "BEN": ("en-gb", 38)}

# A view is the centre and the width of what is seen, in pixels of the picture.
View = tuple[float, float, float]
SMALL: View = (256, 230, 800)
MID: View = (235, 150, 480)
CLOSE: View = (222, 122, 270)
LEFT: View = (300, 140, 420)
RIGHT: View = (200, 150, 460)
PAD: View = (330, 220, 600)
NOSE: View = (320, 200, 420)
SKY: View = (330, 120, 380)
TABLE: View = (300, 200, 560)
CUP: View = (310, 190, 440)


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance: how it is spoken, and what is seen, from one view to another."""

    speaker: str
    text: str
    speed: int  # words a minute
    pitch: int  # added to the voice's own
    level: float  # peak of the sound; 0 is silence
    picture: str
    first: View
    last: View


LINES = (
    Line("ANNA", "We did it! I am so happy! This is the best day ever!", 185, 22, 0.7, "face", MID, CLOSE),
    Line("BEN", "What? Wow, I can't believe it! They really chose you?", 180, 35, 0.6, "face", SMALL, MID),
    Line("ANNA", "The launch is on Tuesday, at nine in the morning.", 160, 0, 0.4, "rocket", PAD, NOSE),
    Line("BEN", "I'm scared. What if something goes terribly wrong?", 205, 28, 0.35, "rocket", NOSE, SKY),
    Line("ANNA", "Stop it! I hate it when you talk like that!", 190, 12, 0.9, "face", CLOSE, (218, 118, 230)),
    Line("BEN", "I'm sorry. I will miss you so much. I feel so lonely.", 125, -14, 0.25, "face", LEFT, RIGHT),
    Line("ANNA", "(quietly) I know.", 130, -10, 0.0, "face", (215, 140, 360), (225, 130, 330)),
    Line("BEN", "Ugh, this coffee is disgusting. It tastes like dirt!", 150, -6, 0.55, "coffee", TABLE, CUP),
)  # fmt: skip


def main() -> None:
    """Write the film and its subtitles."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    spoken = [speech(line) for line in LINES]
    starts, clock = [], PAUSE
    for samples in spoken:
        starts.append(clock)
        clock += len(samples) / RATE + PAUSE
    cues = [
        f"{n + 1}\n{stamp(start)} --> {stamp(start + len(samples) / RATE)}\n{line.speaker}: {line.text}\n"
        for n, (line, start, samples) in enumerate(zip(LINES, starts, spoken, strict=True))
    ]
    (folder / "conversation.srt").write_text("\n".join(cues), encoding="utf-8")
    sound = np.zeros(round(clock * RATE), np.float32)
    for start, samples in zip(starts, spoken, strict=True):
        sound[round(start * RATE) : round(start * RATE) + len(samples)] = samples
    shots = [*(start - PAUSE / 2 for start in starts), clock]
    shots[0] = 0.0
    encode(folder / "conversation.mp4", pictures(shots), sound)


def speech(line: Line) -> np.ndarray:
    """The line as espeak-ng says it, float32 [samples]; all zero where it is to be silent."""
    voice, pitch = VOICES[line.speaker]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "line.wav")
        words = line.text.rpartition(") ")[2]
        command = ["espeak-ng", "-v", voice, "-s", str(line.speed), "-p", str(pitch + line.pitch)]
        subprocess.run([*command, "-w", str(path), words], check=True)
        with av.open(str(path)) as container:
            samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    loud = np.flatnonzero(np.abs(samples) > 300)
    samples = samples[loud[0] : loud[-1] + RATE // 20].astype(np.float32)
    if line.level == 0.0:
        return np.zeros(round(1.6 * RATE), np.float32)
    return samples * (line.level / np.abs(samples).max())


def pictures(shots: list[float]) -> Iterator[np.ndarray]:
    """Every frame of the film, uint8 [360, 640, 3]; shot i is seen from shots[i] to shots[i + 1]."""
    sources = {name: load() / 255.0 for name, load in PICTURES.items()}
    for number in range(round(shots[-1] * FPS)):
        time = number / FPS
        index = max(i for i, start in enumerate(shots[:-1]) if start <= time)
        line = LINES[index]
        share = (time - shots[index]) / (shots[index + 1] - shots[index])
        share = share * share * (3 - 2 * share)  # the camera starts and stops gently
        view = np.array(line.first) * (1 - share) + np.array(line.last) * share
        yield seen(sources[line.picture], *view.tolist())


def seen(picture: np.ndarray, x: float, y: float, width: float) -> np.ndarray:
    """What a camera at (x, y) sees of a picture; beyond its edges a dark wall."""
    scale = width / WIDTH
    place = AffineTransform(scale=scale, translation=(x - width / 2, y - scale * HEIGHT / 2))
    view = warp(picture, place, output_shape=(HEIGHT, WIDTH), order=1, mode="constant", cval=0.15)
    return np.asarray(np.round(255 * view), np.uint8)


def encode(path: Path, frames: Iterator[np.ndarray], sound: np.ndarray) -> None:
    """Write H.264 and AAC, interleaved by time."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "29", "preset": "slower"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono", bit_rate=40_000)
        taken = 0
        for number, picture in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            while taken < min(len(sound), (number + 1) * RATE // FPS):
                frame = av.AudioFrame.from_ndarray(sound[None, taken : taken + 1024].copy(), "fltp", "mono")
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), taken
                container.mux(audio.encode(frame))
                taken += 1024
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def stamp(seconds: float) -> str:
    """A time as SubRip writes it."""
    whole, milli = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milli:03}"


if __name__ == "__main__":
    main()
