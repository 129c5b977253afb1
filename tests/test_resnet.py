"""The extractor network: its layers, its shapes, and the block that it shares with `faces`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from erc_cli.nets.probe import figures, fit_logistic, nearest_mean, nearest_neighbours
from erc_cli.nets.resnet import Block, ResNet18


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_it_is_resnet18() -> None:
    """ResNet18 for 1000 classes has 11,689,512 weights; the projector to 300 replaces its last layer."""
    net = ResNet18()
    assert count(net) == 11_689_512 - 513 * 1000 + 513 * 300
    weighted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([m for m in weighted if getattr(m, "kernel_size", 0) != (1, 1)]) == 18


@pytest.mark.parametrize(("channels", "size"), [(3, (128, 300)), (1, (48, 48)), (1, (33, 40))])
def test_pictures_of_any_size(channels: int, size: tuple[int, int]) -> None:
    net = ResNet18(width=4, channels=channels, projection=30).eval()
    assert net.dim == 30
    assert net(torch.zeros(2, channels, *size)).shape == (2, 30)


def test_the_picture_shrinks_32_times() -> None:
    net = ResNet18(width=2, channels=1, projection=3).eval()
    convolutions = net.body[:-2]
    assert convolutions(torch.zeros(1, 1, 128, 320)).shape == (1, 16, 4, 10)
    finer = ResNet18(width=2, channels=1, projection=3, stem=2).eval().body[:-2]
    assert finer(torch.zeros(1, 1, 128, 320)).shape == (1, 16, 8, 20)


def test_a_batch_is_its_rows() -> None:
    torch.manual_seed(0)
    net = ResNet18(width=4, channels=1, projection=8).eval()
    pictures = torch.randn(3, 1, 40, 40)
    one_by_one = torch.cat([net(p[None]) for p in pictures])
    torch.testing.assert_close(net(pictures), one_by_one, atol=1e-5, rtol=1e-4)


def test_a_block_that_does_nothing_passes_its_input_on() -> None:
    block = Block(3, 3, 1).eval()
    nn.init.zeros_(block.second.weight)
    x = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(block(x), x)


# --- probes ---------------------------------------------------------------------------------


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = np.arange(90) % 3
    centres = np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 4]])
    values = centres[targets] + generator.normal(0, 0.5, (90, 3))
    return values.astype(np.float32), targets


def test_probes_find_what_is_there() -> None:
    (train, targets), (values, wanted) = blobs(0), blobs(1)
    assert (nearest_mean(train, targets, values, 4) == wanted).all()
    assert (nearest_neighbours(train, targets, values) == wanted).all()
    weight, bias = fit_logistic(train, targets, 4)
    assert weight.shape == (4, 3)
    assert ((values @ weight.T + bias).argmax(1) == wanted).all()


def test_probes_of_noise_are_at_chance() -> None:
    generator = np.random.default_rng(0)
    train, values = generator.normal(size=(2, 300, 4)).astype(np.float32)
    targets = np.arange(300) % 3
    assert (nearest_mean(train, targets, values, 3) == targets).mean() < 0.5


def test_recall_is_averaged_over_the_classes_that_occur() -> None:
    found = figures(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 3)
    assert found["uar"] == pytest.approx((200 / 3 + 100) / 2, abs=1e-3)
    assert found["accuracy"] == 75
