"""Speed of every branch and of the fusion of trained presets, one thread.

    python benchmarks/branches.py PRESET|RUN …

The film `examples/conversation.mp4` with its transcript (8 utterances of 3.2 s in the mean) goes through each
branch, decoding apart, and the features through the fusion (once; `erc predict` asks it for each of the eight
subsets of three modalities). Prints a table in Markdown: utterances per second of processor time, the best of
three, so that other work on the machine matters less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "conversation"
TIMES = 3


def rate(work: Callable[[], object], count: int) -> float:
    """Utterances per second of one core: the best of three, after one to warm up."""
    work()
    spent = []
    for _ in range(TIMES):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return count / min(spent)


def measure(name: str) -> Iterator[tuple[str, str, int, float]]:
    """Stage, plugin, width and utterances per second of one preset."""
    from erc_cli.media import probe, read_clips
    from erc_cli.pipeline import load_model
    from erc_cli.preset import find_preset
    from erc_cli.registry import load_registry
    from erc_cli.types import Clip, Conversation, Features, Modality

    registry = load_registry()
    preset = find_preset(name, registry)
    model = load_model(preset, registry)
    said = Conversation(registry.reader("srt").read(EXAMPLE.with_suffix(".srt")).utterances)
    count, media = len(said.utterances), probe(EXAMPLE.with_suffix(".mp4"))
    features: dict[Modality, Features] = {}
    for modality, extractor in model.extractors.items():
        wishes = [extractor.wish(one) for one in said.utterances]
        wanted = [i for i, wish in enumerate(wishes) if wish.sound or wish.frames]
        clips: dict[int, Clip] = dict(read_clips(media, [wishes[i] for i in wanted]))

        def work(extractor=extractor, clips=clips, wanted=wanted) -> Features:  # type: ignore[no-untyped-def]
            rows = [None] * count
            for place, clip in clips.items():
                rows[wanted[place]] = extractor.encode(clip)
            return extractor.gather(said, rows)

        features[modality] = work()
        yield modality, preset.extractors[modality].name, extractor.dim, rate(work, count)
    fuse = rate(lambda: model.fusion.predict(said, features), count)
    yield "fusion", preset.fusion.name, len(model.labels), fuse


def main() -> None:
    """Measure every preset named."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("presets", nargs="+")
    print("| preset | stage | plugin | width | utterances/s |\n|---|---|---|---|---|")
    for name in parser.parse_args().presets:
        for stage, plugin, width, speed in measure(name):
            print(f"| {name} | {stage} | `{plugin}` | {width} | {speed:.4g} |")


if __name__ == "__main__":
    main()
