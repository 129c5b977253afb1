"""The training loop that every branch shares: seeded by epoch, averaged, resumable, dev-selected.

An epoch's random numbers depend on the seed and the epoch alone, so a run that was cut off and
goes on gives the very weights that an uninterrupted one would have given.
"""

from __future__ import annotations

import csv
import json
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write
from erc_cli.learning import Progress, Report

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Plan(Generic[Batch]):
    """What to fit and how.

    `batches(epoch)` yields `steps` batches; `loss(batch)` is a scalar; `score(model)` gives
    figures on the dev split, of which `select` is to be as high as possible. `average` is the
    decay per step of the running average of the weights that is scored and kept (0: none). `scaler`: of
    the loss, where gradients are reckoned in float16.
    """

    stage: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Callable[[int], Iterable[Batch]]
    loss: Callable[[Batch], Tensor]
    score: Callable[[nn.Module], Mapping[str, float]]
    epochs: int
    steps: int
    folder: Path
    report: Report
    select: str = "weighted_f1"
    seed: int = 0
    warmup: float = 0.1
    average: float = 0.0
    clip: float = 1.0
    settings: Mapping[str, Any] | None = None
    scaler: torch.amp.GradScaler | None = None

    @property
    def fingerprint(self) -> str:
        """What must be equal for a checkpoint to belong to this plan."""
        parts = {"stage": self.stage, "epochs": self.epochs, "steps": self.steps, "seed": self.seed}
        return json.dumps({**parts, "settings": dict(self.settings or {})}, sort_keys=True, default=str)


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch, and return a numpy generator for the caller's own draws."""
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def fit(plan: Plan[Batch]) -> dict[str, float]:
    """Fit `plan.model` in place, leave it with the best epoch's weights, return that epoch's figures.

    Writes `checkpoint-STAGE.pt` after each epoch and `log-STAGE.csv`; the checkpoint is removed at
    the end. Linear warm-up, then cosine decay to zero.

    Raises:
        ErcError: the loss is no longer finite, or the checkpoint is of another run.
    """
    if plan.epochs < 1 or plan.steps < 1:
        raise UsageError(
            f"{plan.stage}: nothing to train with {plan.epochs} epochs of {plan.steps} steps.",
            hint=f"Set train.{plan.stage}.epochs to 1 or more.",
        )
    averaged = {name: value.detach().clone() for name, value in plan.model.state_dict().items()}
    state = _resume(plan, averaged)
    rates = [group["lr"] for group in plan.optimizer.param_groups]
    if state["rates"] is None:
        state["rates"] = rates
    for epoch in range(state["epoch"], plan.epochs):
        seed_everything(plan.seed * 1000 + epoch)
        mean_loss = _epoch(plan, epoch, state["rates"], averaged)
        kept = {name: value.clone() for name, value in plan.model.state_dict().items()}
        plan.model.load_state_dict(averaged)
        figures = dict(plan.score(plan.model))
        if figures[plan.select] > state["best"].get(plan.select, -math.inf):
            state["best"] = {**figures, "epoch": epoch + 1}
            state["weights"] = {name: value.clone() for name, value in averaged.items()}
        plan.model.load_state_dict(kept)
        state["epoch"] = epoch + 1
        state["log"].append({"epoch": epoch + 1, "loss": round(mean_loss, 5), **figures})
        _save(plan, state, averaged)
    plan.model.load_state_dict(state["weights"])
    _checkpoint_path(plan).unlink(missing_ok=True)
    best: dict[str, float] = state["best"]
    return best


def _epoch(plan: Plan[Batch], epoch: int, rates: list[float], averaged: dict[str, Tensor]) -> float:
    plan.model.train()
    total, count = 0.0, 0
    everything = plan.epochs * plan.steps
    for batch in plan.batches(epoch):
        step = epoch * plan.steps + count
        factor = _schedule(step / everything, plan.warmup)
        for group, rate in zip(plan.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        loss = plan.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ErcError(
                f"{plan.stage}: the loss is {value} in epoch {epoch + 1}, step {count + 1}.",
                hint=f"Try a lower rate, e.g. --set train.{plan.stage}.lr={rates[0] / 3:.1e}",
            )
        plan.optimizer.zero_grad(set_to_none=True)
        _step(plan, loss)
        # An average over few steps is dominated by where it began: let it grow with the steps.
        _average(plan.model, averaged, min(plan.average, (step + 1) / (step + 10)))
        total, count = total + value, count + 1
        note = f"epoch {epoch + 1}/{plan.epochs}, loss {total / count:.3f}"
        plan.report(Progress(plan.stage, step + 1, everything, note))
    return total / max(count, 1)


def _step(plan: Plan[Any], loss: Tensor) -> None:
    """One step of the optimizer down the loss's gradient, clipped."""
    if plan.scaler is None:
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(plan.model.parameters(), plan.clip)
        plan.optimizer.step()
        return
    plan.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    plan.scaler.unscale_(plan.optimizer)
    nn.utils.clip_grad_norm_(plan.model.parameters(), plan.clip)
    plan.scaler.step(plan.optimizer)  # leaves the step out where gradients overflowed
    plan.scaler.update()


def _schedule(share: float, warmup: float) -> float:
    if share < warmup:
        return (share + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


@torch.no_grad()
def _average(model: nn.Module, averaged: dict[str, Tensor], decay: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            averaged[name].lerp_(value, 1 - decay)
        else:
            averaged[name].copy_(value)


def _checkpoint_path(plan: Plan[Any]) -> Path:
    return plan.folder / f"checkpoint-{plan.stage}.pt"


def _save(plan: Plan[Any], state: dict[str, Any], averaged: dict[str, Tensor]) -> None:
    path = _checkpoint_path(plan)
    content = {
        **state,
        "fingerprint": plan.fingerprint,
        "averaged": averaged,
        "model": plan.model.state_dict(),
        "optimizer": plan.optimizer.state_dict(),
        **({} if plan.scaler is None else {"scaler": plan.scaler.state_dict()}),
    }
    with atomic_write(path, force=True) as draft:
        torch.save(content, draft)
    log = plan.folder / f"log-{plan.stage}.csv"
    with atomic_write(log, force=True) as draft, draft.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(state["log"][0]))
        writer.writeheader()
        writer.writerows(state["log"])


def _resume(plan: Plan[Any], averaged: dict[str, Tensor]) -> dict[str, Any]:
    fresh: dict[str, Any] = {"epoch": 0, "rates": None, "best": {}, "weights": None, "log": []}
    path = _checkpoint_path(plan)
    if not path.exists():
        return fresh
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ErcError(f"{path} is damaged: {error}", hint="Remove it to begin this stage anew.") from None
    if content["fingerprint"] != plan.fingerprint:
        raise ErcError(
            f"{path} belongs to a run with other settings.",
            hint="Give another folder with -o, or remove that file to begin anew.",
        )
    plan.model.load_state_dict(content["model"])
    plan.optimizer.load_state_dict(content["optimizer"])
    if plan.scaler is not None:
        plan.scaler.load_state_dict(content["scaler"])
    for name, value in content["averaged"].items():
        averaged[name].copy_(value)
    return {key: content[key] for key in fresh}


def bucketed(lengths: Iterable[int], size: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Indices in batches of `size` and of like length, batches and ties in random order."""
    array = np.asarray(list(lengths))
    jitter = array * generator.uniform(0.9, 1.1, len(array))
    order = np.argsort(jitter, kind="stable")
    batches = [order[i : i + size].tolist() for i in range(0, len(order), size)]
    for i in generator.permutation(len(batches)):
        yield batches[i]
