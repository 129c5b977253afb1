"""What the tests of the annotated video share: made-up results, grey recordings, and what a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from mediakit import Audio, Video, sweep
from mediakit import write as write_media

import erc_format_video
from erc_cli.media import probe
from erc_cli.types import Modality, Opinion, Prediction, Result, Status, Transcript, Utterance

WRITER = erc_format_video.erc_writers()[0]
LABELS = ("neutral", "joy", "anger")
SURE = (0.1, 0.8, 0.1)
Times = Sequence[float]


def result_of(path: Path | None, *said: Utterance, detail: dict[str, Any] | None = None) -> Result:
    """Joy at 80 % for each of the utterances; the visual branch says `detail`."""
    seen = Opinion(Status.OK, SURE, 0.5, detail or {})
    found = tuple(Prediction(SURE, {Modality.VISUAL: seen}) for _ in said)
    media = None if path is None else probe(path)
    return Result(LABELS, said, found, media, Transcript(said, "srt"), (), {})


def grey(path: Path, seconds: float = 2.0, size: tuple[int, int] = (160, 96), **more: Any) -> Path:
    times = [k / 10 for k in range(round(seconds * 10))]
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    return write_media(path, Video(times, [picture] * len(times), size, **more), Audio(sweep(seconds)))


def written(result: Result, path: Path, **more: Any) -> Path:
    WRITER.write(result, path, **more)
    return path


def frames(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and pictures as they are coded."""
    with av.open(str(path)) as source:
        every = list(source.decode(video=0))
        return [float(f.pts * f.time_base) for f in every], [f.to_ndarray(format="rgb24") for f in every]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size]


def sound(path: Path) -> tuple[np.ndarray, float]:
    """Samples [n] at 16 kHz, and the time of the first."""
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("flt", "mono", 16000)
        every = [out for frame in source.decode(audio=0) for out in resampler.resample(frame)]
        every += resampler.resample(None)
    return np.concatenate([f.to_ndarray()[0] for f in every]), float(every[0].pts * every[0].time_base)


def box(*sides: float, name: bool = False, times: Times = (1.0,)) -> dict[str, Any]:
    """What the visual branch says of one face at these times."""
    detail: dict[str, Any] = {"faces": 1.0, "boxes": [[time, *sides] for time in times]}
    return {**detail, "speaker_boxes": list(range(len(times)))} if name else detail
