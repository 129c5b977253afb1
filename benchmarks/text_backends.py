"""The text branch `roberta` at RoBERTa-large's size with random weights: precision, batches, padding.

    python benchmarks/text_backends.py [--threads 1] [--device cpu] [--tokens 32] [--layers 24] [--compile]

Weights do not change how long a network takes. Needs about 3 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

import numpy as np
import torch

from erc_cli.device import bf16_units
from erc_text_minilm.context import Sample
from erc_text_minilm.network import ContextEncoder
from erc_text_minilm.running import Running, place

LARGE = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
#: lengths in tokens of MELD's utterances with one neighbour each and names: quantiles of the dev split
LENGTHS = (13, 22, 28, 33, 37, 42, 46, 51, 58, 72)


def measured(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `repeats` runs, after one that is not counted.

    On one thread of a CPU these are the seconds that the process had the CPU: other work on the machine
    then counts only as far as it takes memory bandwidth and cache.
    """
    work()
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = process_time if alone else perf_counter
    times = []
    for _ in range(repeats):
        begin = clock()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - begin)
    return statistics.median(times)


def samples(lengths: Sequence[int]) -> list[Sample]:
    """Model inputs of these lengths; the span is the middle third."""
    generator = np.random.default_rng(0)
    return [
        Sample(tuple(generator.integers(5, 50000, n).tolist()), n // 3, max(2 * n // 3, n // 3 + 1))
        for n in lengths
    ]


@torch.inference_mode()
def seconds(model: ContextEncoder, inputs: Sequence[Sample], batch: int, repeats: int) -> float:
    """Seconds per input, in batches in the order given."""
    parts = [model.inputs(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]
    return measured(lambda: [model.features(*part) for part in parts], repeats) / len(inputs)


def network(layers: int, running: Running) -> tuple[ContextEncoder, str]:
    """A random network, placed as the extractor does it; what was to be said of that."""
    torch.manual_seed(0)
    model = ContextEncoder({**LARGE, "num_hidden_layers": layers}, 7, kind="roberta").eval()
    for parameter in model.parameters():  # built with zeros: zeros may be faster
        torch.nn.init.normal_(parameter, std=0.02)
    return model, place(model, running).note


def main() -> None:
    """Measure; a line for each precision as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile, in fp32")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    about = {"torch": torch.__version__, "bf16 units": bf16_units(), **vars(wanted)}
    print(json.dumps(about), flush=True)
    kinds: list[Running] = [Running(1, wanted.device, "fp32"), Running(1, wanted.device, "bf16")]
    kinds += [Running(1, wanted.device, "fp16")] if wanted.device.startswith("cuda") else []
    kinds += [Running(1, wanted.device, "fp32", "own", True)] if wanted.compile else []
    for running in kinds:
        begin = perf_counter()
        model, note = network(wanted.layers, running)
        name = running.precision + (f", {note}" if note else "")
        found = {"made, s": round(perf_counter() - begin, 1), "megabytes": size_of(model)}
        for count in wanted.batches:
            inputs = samples([wanted.tokens] * count)
            took = seconds(model, inputs, count, max(1, wanted.repeats // count))
            found[f"each of {count}, s"] = round(took, 4)
        print(name, json.dumps(found), flush=True)
        if running == kinds[0]:
            print("mixed lengths, s each:", json.dumps(mixed(model)), flush=True)
        del model


def size_of(model: ContextEncoder) -> int:
    """Megabytes of its weights."""
    return round(sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6)


def mixed(model: ContextEncoder) -> dict[str, float]:
    """Seconds per input of MELD's lengths: alone, in tens as they come, in tens of like length."""
    inputs = samples(np.random.default_rng(1).permutation(LENGTHS * 2).tolist())
    by_length = sorted(inputs, key=lambda sample: len(sample.ids))
    ways = {"alone": (inputs, 1), "tens": (inputs, 10), "tens by length": (by_length, 10)}
    return {name: round(seconds(model, listed, size, 1), 4) for name, (listed, size) in ways.items()}


if __name__ == "__main__":
    main()
