"""Speed and memory of the visual backends, each in a process of its own, one thread.

    python benchmarks/visual_backends.py FILM.mp4 --yunet FILE --scrfd FILE --mobilefacenet FILE

Frames of the film, brought to 640x360, go through each detector one by one and sixteen at a time; the faces
that MTCNN finds go through each embedding one by one and 32 at a time. Prints a table in Markdown. Time is
that of the processor, so that other work on the machine matters less; memory is the peak after loading and
running, less that of Python with torch and the pictures.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FRAMES, TOGETHER, FACES = 16, 16, 32
DETECTORS = ("mtcnn", "yunet", "scrfd")
EMBEDDINGS = ("mobilefacenet", "arcface")


def frames(film: Path) -> list[Any]:
    """`FRAMES` pictures of the film, 640x360."""
    import av

    found: list[Any] = []
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 5 == 0:
                found.append(frame.reformat(640, 360, "rgb24", interpolation="AREA").to_ndarray())
            if len(found) == FRAMES:
                break
    return found


def rate(work: Callable[[Sequence[Any]], object], items: Sequence[Any], size: int) -> float:
    """Items per second of one core, `size` at a time: the best of three."""
    best = 0.0
    for _ in range(3):
        begun = time.process_time()
        for start in range(0, len(items), size):
            work(items[start : start + size])
        best = max(best, len(items) / (time.process_time() - begun))
    return best


def measure(name: str, weights: Path | None, film: Path) -> dict[str, Any]:
    """Load time, rates and memory of one backend in this process."""
    import torch

    torch.set_num_threads(1)
    pictures = frames(film)
    from erc_visual_faces.detectors import make_detector

    cut = _crops(film, name) if name in EMBEDDINGS else []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    if name in DETECTORS:
        detector = make_detector(name, weights, 40, "cpu")
        load, items, size = time.process_time() - begun, pictures, TOGETHER
        work: Callable[[Sequence[Any]], object] = detector.detect_batch
    else:
        embedder = _embedder(name, weights)
        load, items, size = time.process_time() - begun, cut, FACES
        work = lambda some: embedder.embed_pictures(np.stack(some))  # noqa: E731 - it is one
    work(items[:1])
    one, many = rate(work, items, 1), rate(work, items, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"load": load, "one": one, "many": many, "memory": (peak - before) / 1024}


def _crops(film: Path, name: str) -> list[Any]:
    """Aligned faces of the film, found in another process so that its memory does not count."""
    command = [sys.executable, __file__, str(film), "--only", f"faces-{name}"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    return list(np.load(io.BytesIO(said), allow_pickle=False))


def _found(film: Path, name: str) -> list[Any]:
    from erc_cli.faces.align import ARCFACE, SPHEREFACE, aligned
    from erc_visual_faces.detectors import make_detector

    template, width = (SPHEREFACE, 96) if name == "mobilefacenet" else (ARCFACE, 112)
    pictures = frames(film)
    found = make_detector("mtcnn", None, 40, "cpu").detect_batch(pictures)
    cut = [
        one
        for rgb, faces in zip(pictures, found, strict=True)
        for one in aligned(rgb, faces, template, width)
    ]
    return (cut * (FACES // max(len(cut), 1) + 1))[:FACES]


def _embedder(name: str, weights: Path | None) -> Any:
    if weights is None:
        raise SystemExit(f"{name} needs its file")
    if name == "arcface":
        from erc_cli.faces.arcface import ArcFace

        return ArcFace(weights)
    from erc_visual_faces.mobilefacenet import FaceEmbedder

    return FaceEmbedder(weights)


def main() -> None:
    """Print the table; with `--only` the figures of one backend as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("film", type=Path)
    parser.add_argument("--only")
    for name in (*DETECTORS[1:], *EMBEDDINGS):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    if (given.only or "").startswith("faces-"):
        np.save(sys.stdout.buffer, np.stack(_found(given.film, given.only.removeprefix("faces-"))))
        return
    if given.only:
        print(json.dumps(measure(given.only, getattr(given, given.only, None), given.film)))
        return
    print(
        "| backend | load (s) | one by one (per s) | together (per s) | memory (MB) |\n|---|---|---|---|---|"
    )
    for name in (*DETECTORS, *EMBEDDINGS):
        if name != "mtcnn" and getattr(given, name) is None:
            continue
        command = [sys.executable, *sys.argv, "--only", name]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        said = json.loads(done.stdout)
        rates = f"{said['one']:.1f} | {said['many']:.1f}"
        print(f"| `{name}` | {said['load']:.2f} | {rates} | {said['memory']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
