"""An utterance's figures beside the mean of what was heard so far, and beside its neighbours' figures.

Nothing later than the next utterance is read, so that rows can be given while a recording is still being
read. The mean is of the last `MEMORY` utterances at most: the work for a row does not grow with the length
of a recording, and a new room or microphone soon counts as usual. MELD's dialogues are all shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from erc_cli.types import BoolArray, FloatArray

MEMORY = 100  # utterances before one
REACH = (MEMORY, 1)
# Sums of multiples of this are exact in float64, so it does not matter at which utterance a sum begins:
# rows of a part of a conversation are those of the whole to the last bit.
_GRAIN = 2.0**-20


def with_context(values: FloatArray, present: BoolArray, typical: FloatArray) -> FloatArray:
    """Figures [n, 4 d]: `values` [n, d], less the mean so far, of the row before, of the row after.

    At the ends, and where the neighbour is absent, its figures are the `typical` ones [d].
    """
    known = np.where(present[:, None], values, typical)
    before = np.concatenate([typical[None], known[:-1]])[: len(values)]
    after = np.concatenate([known[1:], typical[None]])[: len(values)]
    beside = values - mean_so_far(values, present)
    return np.concatenate([values, beside, before, after], axis=1).astype(np.float32)


def mean_so_far(values: FloatArray, present: BoolArray) -> FloatArray:
    """For each row of `values` [n, d] the mean of the present rows among it and the `MEMORY` before it.

    Where none of them is present, zeros.
    """
    exact = np.round(values.astype(np.float64) / _GRAIN) * _GRAIN
    sums = np.cumsum(np.pad(np.where(present[:, None], exact, 0.0), ((1, 0), (0, 0))), axis=0)
    counts = np.cumsum(np.pad(present.astype(np.intp), (1, 0)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - 1 - MEMORY, 0)
    heard = np.maximum(counts[ends] - counts[starts], 1)
    mean: FloatArray = ((sums[ends] - sums[starts]) / heard[:, None]).astype(np.float32)
    return mean
