"""The extractor's loss against numbers worked out by hand, its mining, and what its variants do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from erc_cli.nets.margin_loss import (
    VARIANTS,
    MarginLoss,
    Variant,
    adaptive_margin,
    covariance_term,
    distances,
    semi_hard_triplets,
    variance_term,
)
from erc_cli.nets.probe import nearest_neighbours


def gradients(variant: Variant, d_ap: float, d_an: float, d_pn: float) -> tuple[float, float, float]:
    values = [torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (d_ap, d_an, d_pn)]
    MarginLoss(variant).triplet_term(*values).backward()  # type: ignore[no-untyped-call]
    return tuple(float(v.grad) for v in values)  # type: ignore[return-value, arg-type]


# --- the triplet term -----------------------------------------------------------------------


def test_the_adaptive_margin_by_hand() -> None:
    d_ap, d_an = torch.tensor([0.0, 1.0, 0.5]), torch.tensor([1.0, 0.0, 0.5])
    expected = [6.0, 2 + 4 * math.exp(-4), 2 + 4 * math.exp(-2)]
    assert adaptive_margin(d_ap, d_an).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("d_ap", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("d_an", [0.05, 0.3, 0.8])
def test_gradients_by_hand(d_ap: float, d_an: float) -> None:
    printed = gradients("printed", d_ap, d_an, 0.5)
    assert printed[0] == pytest.approx(1 - 8 * math.exp(-4 * d_ap), rel=1e-12)
    assert printed[1] == pytest.approx(-0.5 + 8 * math.exp(4 * d_an - 4), rel=1e-12)
    assert printed[2] == -0.5
    assert gradients("detached", d_ap, d_an, 0.5) == (1.0, -0.5, -0.5)


def test_the_printed_gradients_change_their_sign() -> None:
    """Positives are pushed apart until 0.52; negatives are pulled in from 0.31 on."""
    near, far = math.log(8) / 4, 1 - math.log(16) / 4
    assert (near, far) == pytest.approx((0.52, 0.307), abs=1e-3)
    at_zero = gradients("printed", near, far, 0.5)
    assert at_zero[:2] == pytest.approx((0, 0), abs=1e-12)
    assert gradients("printed", near - 0.01, 0.2, 0.5)[0] < 0 < gradients("printed", near + 0.01, 0.2, 0.5)[0]
    assert gradients("printed", 0.5, far - 0.01, 0.5)[1] < 0 < gradients("printed", 0.5, far + 0.01, 0.5)[1]


def test_the_hinge_closes_for_the_fixed_margin_only() -> None:
    done = torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([1.0])
    assert float(MarginLoss("fixed-margin", margin=0.3).triplet_term(*done)) == 0
    assert gradients("fixed-margin", 0.2, 0.7, 0.7) == (0, 0, 0)
    assert gradients("fixed-margin", 0.5, 0.7, 0.7) == (1.0, -0.5, -0.5)
    for variant in ("printed", "detached"):
        assert float(MarginLoss(variant).triplet_term(*done)) == pytest.approx(5.0)


def test_the_mean_is_over_triplets() -> None:
    d_ap, d_an, d_pn = torch.tensor([0.2, 0.4]), torch.tensor([0.3, 0.1]), torch.tensor([0.5, 0.3])
    loss = MarginLoss("fixed-margin", margin=0.3).triplet_term(d_ap, d_an, d_pn)
    assert float(loss) == pytest.approx(((0.2 - 0.4 + 0.3) + (0.4 - 0.2 + 0.3)) / 2)


# --- variance and covariance ----------------------------------------------------------------


def test_variance_of_a_tiny_matrix() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 4.0]], dtype=torch.float64)
    # Deviations with 1/(N-1): sqrt(0.5) and sqrt(8); only the first is below 1.
    expected = (1 - math.sqrt(0.5 + 1e-4)) / 2
    assert float(variance_term(z)) == pytest.approx(expected, rel=1e-9)
    assert float(variance_term(torch.zeros(5, 3))) == pytest.approx(0.99, abs=1e-6)


def test_covariance_of_a_tiny_matrix() -> None:
    z = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 1.0], [2.0, 4.0, 1.0]])
    # Cov of columns 0 and 1 is 2 (variances 1 and 4); twice its square over three columns.
    assert float(covariance_term(z)) == pytest.approx(2 * 2.0**2 / 3)
    assert float(covariance_term(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]))) == 0


def test_one_row_has_neither() -> None:
    row = torch.ones(1, 4)
    assert float(variance_term(row)) == float(covariance_term(row)) == 0


# --- distances and mining -------------------------------------------------------------------


def test_distances_are_halved_and_of_directions_only() -> None:
    z = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    expected = [0, 0, math.sqrt(2) / 2, 1]
    assert distances(z)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_points_have_finite_gradients() -> None:
    z = torch.ones(4, 3, requires_grad=True)
    MarginLoss("printed")(z, torch.tensor([0, 0, 1, 1])).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def on_a_line(*places: float) -> Tensor:
    p = torch.tensor(places)
    return (p[:, None] - p[None, :]).abs()


def triplets(distance: Tensor, labels: list[int]) -> set[tuple[int, ...]]:
    found = semi_hard_triplets(distance, torch.tensor(labels))
    return set(zip(*(part.tolist() for part in found), strict=True))


def test_the_negative_is_the_nearest_beyond_the_positive() -> None:
    # Class 0 at 0 and 0.3; negatives at 0.1 (too hard), 0.4 (semi-hard) and 0.9.
    found = triplets(on_a_line(0.0, 0.3, 0.1, 0.4, 0.9), [0, 0, 1, 2, 3])
    assert found == {(0, 1, 3), (1, 0, 4)}, "from 0.3, the first beyond 0.3 away is the one at 0.9"


def test_without_a_farther_negative_it_is_the_farthest() -> None:
    found = triplets(on_a_line(0.0, 0.9, 0.3, 0.5), [0, 0, 1, 2])
    assert found == {(0, 1, 3), (1, 0, 2)}


def test_batches_without_triplets_give_zero() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    for labels in ([0, 0, 0], [0, 1, 2], [0, -1, -1]):
        loss = MarginLoss()(z, torch.tensor(labels))
        assert float(loss.detach()) == 0
        loss.backward()  # type: ignore[no-untyped-call]


def test_unlabelled_rows_change_nothing() -> None:
    torch.manual_seed(0)
    z, labels = torch.randn(8, 5), torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
    more = torch.cat([z, torch.randn(3, 5)])
    padded = torch.cat([labels, torch.full((3,), -1)])
    assert float(MarginLoss()(more, padded)) == pytest.approx(float(MarginLoss()(z, labels)), rel=1e-6)


def test_the_parts_are_weighted_20_5_1() -> None:
    torch.manual_seed(0)
    z, labels = torch.randn(8, 5), torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])

    def only(**weights: float) -> float:
        return float(
            MarginLoss("printed", **{"triplet": 0, "covariance": 0, "variance": 0} | weights)(z, labels)
        )

    parts = 20 * only(triplet=1) + 5 * only(covariance=1) + only(variance=1)
    assert float(MarginLoss("printed")(z, labels)) == pytest.approx(parts, rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_whole_gradient_is_right(variant: Variant) -> None:
    torch.manual_seed(1)
    z = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = MarginLoss(variant)
    if variant != "detached":  # whose gradient is on purpose not that of its value
        assert torch.autograd.gradcheck(lambda x: loss(x, labels), (z,))
    else:
        plain: Any = MarginLoss("fixed-margin", margin=6.0)  # never closed: the same gradient
        ours, other = (torch.autograd.grad(f(z, labels), z)[0] for f in (loss, plain))
        torch.testing.assert_close(ours, other)


# --- what the variants do -------------------------------------------------------------------


def separated(variant: Variant) -> float:
    """Accuracy of 5 neighbours after free points of 4 classes followed the triplet term alone."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(80, 8, generator=generator).requires_grad_()
    labels = torch.arange(80) % 4
    optimizer = torch.optim.Adam([z], lr=0.05)
    loss = MarginLoss(variant, covariance=0, variance=0)
    for _ in range(80):
        optimizer.zero_grad()
        loss(z, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    values, targets = z.detach().numpy(), labels.numpy()
    predicted = nearest_neighbours(values[40:], targets[40:], values[:40])
    return float((predicted == targets[:40]).mean())


def test_free_points_separate_unless_the_loss_is_as_printed() -> None:
    assert separated("printed") < 0.5, "chance is 0.25"
    assert separated("detached") > 0.9
    assert separated("fixed-margin") > 0.9
