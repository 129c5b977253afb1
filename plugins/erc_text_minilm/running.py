"""How the encoder runs: its device, its precision, compiled or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from erc_cli.device import PRECISIONS, Placement, Precision, check_precision
from erc_text_minilm.context import Sample
from erc_text_minilm.network import ContextEncoder, Pooling


@dataclass(frozen=True, slots=True)
class Running:
    """How the encoder runs: inputs at once, where, in which numbers, what of a text it gives, whether
    torch.compile makes it."""

    batch: int
    device: str
    precision: Precision = "fp32"
    pooling: Pooling = "own"
    compile: bool = False


def place(model: ContextEncoder, running: Running) -> Placement:
    """Move the network to its device, in its precision; the head and the pooled features stay fp32.

    Raises:
        UsageError: the device has not that precision.
    """
    check_precision(running.precision, running.device, "text.dtype or --precision")
    model.to(running.device)
    if running.precision != "fp32":
        model.encoder.to(getattr(torch, PRECISIONS[running.precision]))
    note = _compile(model) if running.compile else ""
    return Placement(running.device, running.precision, note)


def batches(lengths: Sequence[int], most: int, *, tight: bool) -> Iterator[list[int]]:
    """Indices of inputs by length, at most so many at once.

    `tight`: a batch of four or more takes no input that would make over a tenth of it padding. On a CPU
    padding costs more than larger batches save; MELD's conversations have 34 % of it by length alone, and
    12 % so.
    """
    batch: list[int] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        padded = lengths[i] * (len(batch) + 1)
        loose = len(batch) >= 4 and padded - real - lengths[i] > 0.1 * padded
        if len(batch) == most or (tight and loose):
            yield batch
            batch, real = [], 0
        batch.append(i)
        real += lengths[i]
    if batch:
        yield batch


@torch.inference_mode()
def _compile(model: ContextEncoder) -> str:
    """Have torch compile the encoder, for inputs of any length; what to tell of it.

    Tried at once, because torch compiles at the first input: without a compiler the encoder stays as it is.
    """
    plain = model.encoder
    model.encoder = torch.compile(plain, dynamic=True)
    try:
        model.features(*model.inputs([Sample((0,) * 9, 1, 8), Sample((0,) * 5, 1, 4)]))
    except (RuntimeError, ImportError, OSError) as error:  # torch names no narrower one in its interface
        model.encoder = plain
        torch.compiler.reset()
        return f"not compiled: {str(error).strip().splitlines()[0][:120]}"
    return "compiled"
