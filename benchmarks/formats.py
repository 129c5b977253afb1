"""How long it takes to write a long result in every format, and to read the transcripts again.

    python benchmarks/formats.py [--utterances 20000] [--only srt,elan]

One process, one result in memory; each writer is run three times, and its best time counts.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from erc_cli.errors import ErcError
from erc_cli.registry import load_registry
from erc_cli.transcripts import read_transcript
from erc_cli.types import MediaInfo, Modality, Opinion, Prediction, Result, Status, Transcript, Utterance

LABELS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
NAMES = ("Monica", "Joey", "Chandler", "Phoebe Buffay", "Ross", "Rachel")
SENTENCE = "there is nothing to tell he just some guy I work with <3 & so on 😀 ça va"


def made_up(count: int) -> Result:
    """A result of `count` utterances, six speakers who sometimes talk at once, three modalities."""
    chance = random.Random(0)
    words = SENTENCE.split()
    said, found, now = [], [], 0.0
    for _ in range(count):
        start = round(now + chance.uniform(-0.2, 0.5), 3) if now else 0.5
        now = round(start + chance.uniform(0.4, 4.0), 3)
        text = " ".join(chance.choices(words, k=chance.randint(2, 16)))
        said.append(Utterance(start, now, text, chance.choice(NAMES)))
        found.append(_prediction(chance))
    media = MediaInfo(Path("film.mp4"), "0" * 64, now, video=True, audio=True, width=1280, height=720)
    transcript = Transcript(tuple(said), "srt", (), Path("film.srt"))
    return Result(LABELS, tuple(said), tuple(found), media, transcript, (), {"erc": "0", "preset": "default"})


def _prediction(chance: random.Random) -> Prediction:
    opinions = {m: Opinion(Status.OK, _shares(chance), chance.uniform(-1, 1)) for m in Modality}
    if chance.random() < 0.3:
        opinions[Modality.VISUAL] = Opinion(Status.NO_FACE)
    return Prediction(_shares(chance), opinions)


def _shares(chance: random.Random) -> tuple[float, ...]:
    values = [chance.random() for _ in LABELS]
    return tuple(value / sum(values) for value in values)


def best_of(times: int, work: Callable[[], object]) -> float:
    """Processor seconds of the fastest of several runs: what else the machine does counts less."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    """Print a line per format: seconds to write, megabytes, seconds to read."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--utterances", type=int, default=20_000)
    options.add_argument("--only", default="", help="formats, with commas between")
    given = options.parse_args()
    registry = load_registry()
    result = made_up(given.utterances)
    wanted = [name for name in given.only.split(",") if name] or sorted(registry.writers)
    total = 0.0
    print(f"{'format':10} {'write (s)':>9} {'size (MB)':>9} {'read (s)':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            spec = registry.writer(name)
            try:
                registry.require(spec)
            except ErcError as error:
                print(f"{name:10} {error.message}", file=sys.stderr)
                continue
            path = Path(folder) / f"film{spec.extensions[0]}"
            took = best_of(3, lambda spec=spec, path=path: spec.write(result, path))
            total += took
            read = "-"
            if name in registry.readers:
                read = f"{best_of(1, lambda path=path: read_transcript(path, registry.readers)):.2f}"
            print(f"{name:10} {took:9.2f} {path.stat().st_size / 1e6:9.1f} {read:>9}")
    print(f"{'all':10} {total:9.2f}")


if __name__ == "__main__":
    main()
