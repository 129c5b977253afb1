"""The shared training loop: it learns, resumes exactly, and stops on nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erc_cli.errors import ErcError
from erc_cli.fitting import Plan, bucketed, fit
from erc_cli.learning import Progress


class StoppedError(Exception):
    """Stands for a kill."""


def plan(folder: Path, *, stop_at: int | None = None, lr: float = 0.1, epochs: int = 4) -> Plan[Tensor]:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    data = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))

    def batches(epoch: int) -> Iterator[Tensor]:
        order = np.random.default_rng(epoch).permutation(32)
        yield from data[torch.from_numpy(order)].split(8)

    def loss(batch: Tensor) -> Tensor:
        return (model(batch).squeeze(1) - batch.sum(1)).pow(2).mean()

    def score(net: nn.Module) -> dict[str, float]:
        net.eval()
        with torch.no_grad():
            return {"weighted_f1": -float((net(data).squeeze(1) - data.sum(1)).pow(2).mean())}

    def report(step: Progress) -> None:
        if step.done == stop_at:
            raise StoppedError

    return Plan(
        stage="text",
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=lr),
        batches=batches,
        loss=loss,
        score=score,
        epochs=epochs,
        steps=4,
        folder=folder,
        report=report,
        average=0.9,
    )


def weights(plan: Plan[Tensor]) -> Tensor:
    return torch.cat([p.flatten() for p in plan.model.state_dict().values()])


def test_it_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    whole = plan(tmp_path, epochs=20, lr=0.03)
    before = dict(whole.score(whole.model))["weighted_f1"]
    best = fit(whole)
    assert best["weighted_f1"] > before / 4
    assert dict(whole.score(whole.model))["weighted_f1"] == pytest.approx(best["weighted_f1"])
    log = (tmp_path / "log-text.csv").read_text().splitlines()
    assert log[0] == "epoch,loss,weighted_f1"
    assert len(log) == 21


@pytest.mark.parametrize("stop_at", [6, 9])
def test_a_run_cut_off_goes_on_to_the_same_weights(tmp_path: Path, stop_at: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = plan(tmp_path / "a")
    best = fit(whole)
    with pytest.raises(StoppedError):
        fit(plan(tmp_path / "b", stop_at=stop_at))
    assert (tmp_path / "b" / "checkpoint-text.pt").exists()
    rest = plan(tmp_path / "b")
    assert fit(rest) == best
    assert torch.equal(weights(rest), weights(whole))
    assert not (tmp_path / "b" / "checkpoint-text.pt").exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        fit(plan(tmp_path, stop_at=9))
    with pytest.raises(ErcError, match="other settings"):
        fit(plan(tmp_path, epochs=7))


def test_a_loss_that_explodes_is_told(tmp_path: Path) -> None:
    broken = plan(tmp_path)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    with pytest.raises(ErcError, match="the loss is nan in epoch 1, step 1") as raised:
        fit(broken)
    assert "--set train.text.lr=" in str(raised.value)


def test_buckets_hold_everything_once_and_like_lengths_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 333).tolist()
    batches = list(bucketed(lengths, 16, np.random.default_rng(1)))
    assert sorted(i for batch in batches for i in batch) == list(range(333))
    padded = sum(max(lengths[i] for i in b) * len(b) for b in batches)
    assert padded < 1.15 * sum(lengths)
