"""Time of one epoch of the fusion networks on made-up features of MELD's size, on one thread.

    python benchmarks/fusion_epoch.py            text 384 wide, sound 32 wide; N = 1, m = 5
    python benchmarks/fusion_epoch.py --profile  and where a training step spends its time

Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

from erc_cli.types import Features, Modality, Status
from erc_fusion_m2fnet.data import shape_of
from erc_fusion_m2fnet.inputs import Dialogue, padding_waste
from erc_fusion_m2fnet.model import FusedModel, answer
from erc_fusion_m2fnet.settings import ConcatSettings, Kind, M2FNetSettings
from erc_fusion_m2fnet.training import cross_entropy, judged, training_batches

DIALOGUES, UTTERANCES, LONGEST = 1038, 9989, 24
CLASSES = 7
WIDTHS = {Modality.TEXT: 384, Modality.AUDIO: 32}
SETTINGS: dict[Kind, ConcatSettings] = {"m2fnet": M2FNetSettings(), "concat": ConcatSettings()}


def lengths(generator: np.random.Generator) -> list[int]:
    """As many dialogues and utterances as in MELD's train split, 1 to 24 utterances each."""
    drawn = np.clip(generator.gamma(2.4, 4.0, DIALOGUES).round().astype(int), 1, LONGEST)
    while (gap := UTTERANCES - int(drawn.sum())) != 0:
        place = int(generator.integers(DIALOGUES))
        drawn[place] = np.clip(drawn[place] + np.sign(gap), 1, LONGEST)
    return [int(k) for k in drawn]


def material(seed: int = 0) -> list[Dialogue]:
    """Noise with labels; one row of sound in fifty is absent."""
    generator = np.random.default_rng(seed)
    made = []
    for k in lengths(generator):
        features = {}
        for modality, d in WIDTHS.items():
            present = generator.random(k) > (0.02 if modality is Modality.AUDIO else 0)
            values = generator.normal(size=(k, d)).astype(np.float32)
            status = tuple(Status.OK if p else Status.SILENT for p in present)
            features[modality] = Features(values, present, status)
        made.append(Dialogue(features, generator.integers(0, CLASSES, k)))
    return made


class Trainer:
    """The steps of `erc train`'s loop, without its checkpoints."""

    def __init__(self, kind: Kind, train: Sequence[Dialogue]) -> None:
        torch.manual_seed(0)
        self.settings, self.train = SETTINGS[kind], train
        self.model = FusedModel(kind, shape_of(self.settings, WIDTHS, CLASSES))
        self.weights = torch.ones(CLASSES)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.settings.lr)

    def epoch(self, number: int, limit: int | None = None) -> int:
        """Train on an epoch, or on its first `limit` batches; return how many there were."""
        self.model.train()
        count = 0
        for batch in training_batches(self.train, WIDTHS, self.settings, (0, number)):
            loss = cross_entropy(self.model(batch.values, batch.present), judged(batch), self.weights)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            count += 1
            if count == limit:
                break
        return count


def times(train: Sequence[Dialogue]) -> None:
    """Seconds per epoch of training and of answering as much."""
    print(
        "| fusion | parameters | steps | training (s) | answering (s) | padding |\n|---|---|---|---|---|---|"
    )
    for kind, settings in SETTINGS.items():
        trainer = Trainer(kind, train)
        trainer.epoch(0, limit=2)  # the first steps make room in memory
        begun = time.perf_counter()
        steps = trainer.epoch(1)
        middle = time.perf_counter()
        answer([trainer.model], train)
        end = time.perf_counter()
        count = sum(p.numel() for p in trainer.model.parameters())
        waste = padding_waste(train, settings.batch, 0)
        print(
            f"| `{kind}` | {count / 1e6:.1f} M | {steps} | {middle - begun:.1f} | {end - middle:.1f} |"
            f" {100 * waste:.1f} % |",
            flush=True,
        )


def profile(train: Sequence[Dialogue], steps: int = 10, rows: int = 12) -> None:
    """Where the time of a step of `m2fnet` goes, by operation."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    trainer = Trainer("m2fnet", train)
    trainer.epoch(0, limit=2)
    with profiler(activities=[ProfilerActivity.CPU]) as found:
        trainer.epoch(1, limit=steps)
    events = sorted(found.key_averages(), key=lambda e: e.self_cpu_time_total, reverse=True)
    total = sum(e.self_cpu_time_total for e in events)
    print(f"\nOne step of `m2fnet`: {total / steps / 1000:.0f} ms (with the profiler's own part).\n")
    print("| operation | calls | ms | share |\n|---|---|---|---|")
    for event in events[:rows]:
        spent = event.self_cpu_time_total
        share = 100 * spent / total
        print(f"| `{event.key}` | {event.count / steps:.0f} | {spent / steps / 1000:.1f} | {share:.0f} % |")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="also the table of a step")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    train = material()
    print(f"{len(train)} dialogues, {sum(len(d) for d in train)} utterances, {given.threads} thread(s)\n")
    times(train)
    if given.profile:
        profile(train)


if __name__ == "__main__":
    main()
