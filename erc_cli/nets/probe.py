"""Simple classifiers on embeddings: what a network that was trained without a head has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.metrics import confusion, scores

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray


def nearest_mean(train: FloatArray, targets: IntArray, values: FloatArray, classes: int) -> IntArray:
    """The class [n] whose mean embedding is nearest, all embeddings brought to length 1.

    `train` [m, d] with `targets` [m]; `values` [n, d]. A class without examples is never chosen.
    """
    unit, other = _unit(train), _unit(values)
    means = np.full((classes, train.shape[1]), np.inf, dtype=np.float32)
    for label in np.unique(targets):
        means[label] = unit[targets == label].mean(0)
    far = np.stack([np.square(other - mean).sum(1) for mean in means], 1)
    chosen: IntArray = far.argmin(1)
    return chosen


def nearest_neighbours(train: FloatArray, targets: IntArray, values: FloatArray, k: int = 5) -> IntArray:
    """The commonest class [n] among the `k` nearest of `train` by cosine; of equals the first class."""
    likeness = _unit(values) @ _unit(train).T
    near = targets[np.argsort(-likeness, axis=1, kind="stable")[:, :k]]
    return np.array([np.bincount(row).argmax() for row in near], dtype=np.int64)


def fit_logistic(
    train: FloatArray, targets: IntArray, classes: int, *, decay: float = 1e-3, steps: int = 60
) -> tuple[FloatArray, FloatArray]:
    """Multinomial logistic regression: weight [classes, d] and bias [classes] for values as they are.

    Fitted on standardised columns by L-BFGS from zero, with `decay` times half the squared weights.
    """
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    x = torch.from_numpy((train - mean) / deviation).float()
    y = torch.from_numpy(targets)
    weight, bias = (
        torch.zeros(classes, x.shape[1], requires_grad=True),
        torch.zeros(classes, requires_grad=True),
    )
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(x @ weight.T + bias, y) + decay / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scaled = weight.detach().numpy() / deviation
    shift = bias.detach().numpy() - scaled @ mean
    return scaled.astype(np.float32), shift.astype(np.float32)


def figures(targets: IntArray, predicted: IntArray, classes: int) -> dict[str, float]:
    """Accuracy, weighted and macro F1, and `uar`, the mean recall of the classes that occur; percent."""
    matrix = confusion(targets, predicted, classes)
    support = matrix.sum(1)
    recalls = matrix.diagonal()[support > 0] / support[support > 0]
    found = {**scores(matrix), "uar": 100 * float(recalls.mean())}
    return {name: round(value, 3) for name, value in found.items()}


def _unit(values: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)
