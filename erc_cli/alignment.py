"""From the features of one fitted branch to those of another, by a linear map.

Two fits of a network that begins at random know the same things in different coordinates. What
they say of the same utterances tells how the one's coordinates become the other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from erc_cli.types import Features

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

Matrix = NDArray[np.float64]

PENALTIES = np.logspace(-4, 4, 17)  # of the ridge, in units of the features' mean variance


def carry(rows: Features, seen: Features, wanted: Features) -> Features:
    """`rows` [n, d] in the coordinates of `wanted` [m, e]; `seen` [m, d] are the same m utterances.

    Ridge regression with an intercept, its penalty by generalised cross-validation (Golub, Heath and
    Wahba 1979). Only utterances that both branches have tell of the map; without two of them there is
    none, and every row is absent.
    """
    both = seen.present & wanted.present
    if both.sum() < 2:
        nothing = np.zeros((len(rows.values), wanted.values.shape[1]), np.float32)
        return Features(nothing, np.zeros(len(nothing), bool), rows.status)
    weight, bias = ridge(seen.values[both], wanted.values[both])
    values = (rows.values.astype(np.float64) @ weight + bias).astype(np.float32)
    values[~rows.present] = 0
    return Features(values, rows.present, rows.status)


def ridge(x: FloatArray | Matrix, y: FloatArray | Matrix) -> tuple[Matrix, Matrix]:
    """Weights [d, e] and bias [e] of y [m, e] from x [m, d]."""
    from_, to = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    u, s, vt = np.linalg.svd(x - from_, full_matrices=False)
    rest = y - to
    inner = u.T @ rest
    unit = (s**2).mean()
    errors = [_gcv(rest, u, inner, s**2 / (s**2 + p * unit + 1e-12)) for p in PENALTIES]
    penalty = PENALTIES[int(np.argmin(errors))] * unit
    weight = vt.T @ ((s / (s**2 + penalty + 1e-12))[:, None] * inner)
    return weight, to - from_ @ weight


def _gcv(y: Matrix, u: Matrix, inner: Matrix, kept: Matrix) -> float:
    """The error of leaving one out, as the mean over the rows of the hat matrix estimates it."""
    rest = y - u @ (kept[:, None] * inner)
    free = 1 - (kept.sum() + 1) / len(y)  # 1: the mean is fitted too
    return float((rest**2).mean() / max(free, 1e-6) ** 2)
