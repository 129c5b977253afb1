"""The sound of a data set's utterances, decoded once and kept beside the runs while training."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_audio_mel.extractor import middle
from erc_audio_mel.spectrogram import RATE
from erc_cli.errors import UsageError
from erc_cli.hearing import loudest
from erc_cli.learning import Progress, Report, Source, Split
from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Status, Wish
from erc_cli.weights import read_weights, write_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import FloatArray, IntArray

FOLDER = "sounds"
SCHEMA = "erc.sounds/1"
SHARD = 200  # utterances per file of the cache: what a run that is cut off has to decode again
FULL = 32767.0
SILENCE_DB = -60.0


@dataclass(frozen=True, slots=True)
class Sounds:
    """Sounds with labels. `samples` int16, one after the other; `ends` and `targets` int64 [n].

    `left_out` counts what had no sound, by status.
    """

    samples: NDArray[np.int16]
    ends: IntArray
    targets: IntArray
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.targets)

    def sound(self, index: int) -> FloatArray:
        """One sound, float32, -1..1."""
        start = self.ends[index - 1] if index else 0
        return self.samples[start : self.ends[index]].astype(np.float32) / FULL


@dataclass(frozen=True, slots=True)
class Cache:
    """Where decoded sound is kept. `longest`: seconds kept of the middle of an utterance."""

    folder: Path
    longest: float
    report: Report

    def read(self, split: Split, targets: Sequence[int]) -> Sounds:
        """The sounds of all labelled utterances; `targets` says what index each label of the split has.

        What was decoded by an earlier run in the same folder is not decoded again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = [
            (source, targets[target])
            for row, labels in zip(split.sources, split.targets, strict=False)
            for source, target in zip(row, labels, strict=True)
            if source is not None and target >= 0
        ]
        # One file's utterances together: it is read in one pass.
        wanted.sort(key=lambda item: (str(item[0].path), item[0].start))
        parts: list[Sounds] = []
        done = 0
        for shard in _shards(wanted):
            self.report(Progress(f"sound of {split.name}", done, len(wanted)))
            parts.append(self._shard(shard))
            done += len(shard)
        return join(parts)

    def _shard(self, wanted: Sequence[tuple[Source, int]]) -> Sounds:
        path = self.folder / f"{_key(wanted, self.longest)}.safetensors"
        if not path.exists():
            clips = [c for file in _files(wanted) for c in decode(file, self.longest)]
            kept = [_whole(clip) for clip in clips]
            arrays = {
                "samples": np.concatenate([sound for sound, _ in kept]),
                "lengths": np.array([len(sound) for sound, _ in kept], dtype=np.int64),
            }
            write_weights(path, arrays, SCHEMA, {"status": json.dumps([str(s) for _, s in kept])})
        found = read_weights(path, SCHEMA)
        status = json.loads(found.metadata["status"])
        ok = np.array([s == Status.OK for s in status], dtype=np.bool_)
        return Sounds(
            samples=found.tensors["samples"],
            ends=np.cumsum(found.tensors["lengths"][ok]),
            targets=np.array([target for _, target in wanted], dtype=np.int64)[ok],
            left_out=Counter(s for s in status if s != Status.OK),
        )


def join(parts: Sequence[Sounds]) -> Sounds:
    """One after the other."""
    lengths = [np.diff(part.ends, prepend=0) for part in parts]
    return Sounds(
        samples=np.concatenate([np.zeros(0, np.int16), *(part.samples for part in parts)]),
        ends=np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths])),
        targets=np.concatenate([np.zeros(0, np.int64), *(part.targets for part in parts)]),
        left_out=sum((part.left_out for part in parts), Counter()),
    )


def decode(sources: Sequence[Source], longest: float) -> list[Clip]:
    """The middle `longest` seconds of each source; all of one file, which may be damaged or missing."""
    try:
        info = probe(sources[0].path)
    except UsageError:
        return [Clip(sound_status=Status.UNREADABLE)] * len(sources)
    ends = [info.duration if source.end is None else source.end for source in sources]
    wishes = [
        Wish(sound=middle(source.start, max(end, source.start), longest))
        for source, end in zip(sources, ends, strict=True)
    ]
    clips = [Clip(sound_status=Status.UNREADABLE)] * len(sources)
    for index, clip in read_clips(info, wishes):
        clips[index] = clip
    return clips


def _whole(clip: Clip) -> tuple[NDArray[np.int16], Status]:
    """Samples as int16 and the status; no samples unless it is ok."""
    nothing = np.zeros(0, dtype=np.int16)
    if clip.sound is None:
        return nothing, clip.sound_status if clip.sound_status is not Status.OK else Status.NO_AUDIO_TRACK
    if loudest(clip.sound) < SILENCE_DB:
        return nothing, Status.SILENT
    return np.round(clip.sound * FULL).astype(np.int16), Status.OK


def _shards(wanted: Sequence[tuple[Source, int]]) -> Iterator[list[tuple[Source, int]]]:
    """Runs of at least `SHARD` utterances, never parting those of one file."""
    shard: list[tuple[Source, int]] = []
    for item in wanted:
        if len(shard) >= SHARD and item[0].path != shard[-1][0].path:
            yield shard
            shard = []
        shard.append(item)
    if shard:
        yield shard


def _files(wanted: Sequence[tuple[Source, int]]) -> Iterator[list[Source]]:
    """The sources of each file."""
    sources: list[Source] = []
    for source, _ in wanted:
        if sources and source.path != sources[-1].path:
            yield sources
            sources = []
        sources.append(source)
    if sources:
        yield sources


def _key(wanted: Sequence[tuple[Source, int]], longest: float) -> str:
    """Names what a shard holds: which stretches of which files, and the files' sizes."""
    digest = hashlib.sha256(f"{RATE} {longest}".encode())
    for source, _ in wanted:
        size = source.path.stat().st_size if source.path.is_file() else -1
        digest.update(f"\n{source.path}\t{size}\t{source.start}\t{source.end}".encode())
    return digest.hexdigest()[:24]
