"""Model inputs with their labels, from one or several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.dataset import relabel
from erc_cli.errors import UsageError
from erc_cli.learning import Split, TrainJob
from erc_text_minilm.context import Sample, Tokenizer, Window, sequences

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Examples:
    """Model inputs, label indices [n] and shares of labels [n, classes]; what has no label is left out."""

    samples: tuple[Sample, ...]
    targets: IntArray
    shares: FloatArray


def gather_examples(
    job: TrainJob, names: Sequence[str], split: str, tokenizer: Tokenizer, window: Window
) -> Examples:
    """Of several data sets.

    Raises:
        UsageError: they have no labelled utterance.
    """
    parts = [examples(relabel(job.read(n, split), job.labels, n), tokenizer, window) for n in names]
    if not any(part.samples for part in parts):
        raise UsageError(
            f"train.text: no labelled utterances in {split} of {', '.join(names) or 'no data set'}.",
            hint="Name a data set of conversations, e.g. --set train.text.data=[meld]",
        )
    return Examples(
        tuple(sample for part in parts for sample in part.samples),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.shares for part in parts]),
    )


def examples(split: Split, tokenizer: Tokenizer, window: Window) -> Examples:
    """Model inputs of every labelled utterance."""
    samples = [s for talk in split.conversations for s in sequences(talk, tokenizer, window)]
    targets = np.array([t for row in split.targets for t in row], dtype=np.int64)
    known = np.flatnonzero(targets >= 0)
    shares = np.eye(len(split.labels), dtype=np.float32)[targets] if split.shares is None else split.shares
    return Examples(tuple(samples[i] for i in known), targets[known], shares[known])
