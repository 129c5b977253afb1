"""The extractor's loss: adaptive margin triplets with VICReg's regularisers (M2FNet, eqs 9-13).

    L     = 20 L_AMT + 5 L_Cov + 1 L_Var                                  over triplets a, p, n
    L_AMT = D_ap - (D_an + D_pn) / 2 + m
    m     = (1 + 2 exp(-4 D_ap)) + (1 + 2 exp(4 D_an - 4))
    L_Var = sum over a, p, n of  1/d sum_j max(0, 1 - sqrt(Var(Z_j) + eps))
    L_Cov = sum over a, p, n of  1/d sum_{i != j} Cov(Z)_ij ^ 2

D is half the Euclidean distance of embeddings brought to length 1, so 0..1: the constants of m make
sense on that scale, where m runs from 2.07 (D_ap = 1, D_an = 0) to 6. Variance and covariance are of
the embeddings as they are, with 1/(N-1), in the form of their source (Bardes et al. 2022, VICReg): the
hinge on the deviation, the covariance squared. The paper prints neither.

Three variants, because the loss as printed does not separate classes (docs/extractor-loss.md):
`printed`: the gradient goes through m. dL/dD_ap = 1 - 8 exp(-4 D_ap), below zero until D_ap = 0.52:
    closer positives are pushed apart; dL/dD_an = -1/2 + 8 exp(4 D_an - 4), above zero from D_an = 0.31:
    farther negatives are pulled in.
`detached`: no gradient through m, 1 and -1/2 everywhere. A triplet is never done: m is at least 2.07 and
    the rest at least -1, so the hinge never closes, here and in `printed`.
`fixed-margin`: m is a constant, and the hinge closes on triplets that keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Variant = Literal["printed", "detached", "fixed-margin"]
VARIANTS: tuple[Variant, ...] = ("printed", "detached", "fixed-margin")
EPS = 1e-4  # VICReg's, inside the square root of the deviation


@dataclass(frozen=True, slots=True)
class MarginLoss:
    """The loss's settings. `margin` is that of `fixed-margin`, on the scale 0..1 of D.

    The weights 20, 5 and 1 are the paper's.
    """

    variant: Variant = "fixed-margin"
    margin: float = 0.3
    triplet: float = 20.0
    covariance: float = 5.0
    variance: float = 1.0

    def __call__(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of a batch: embeddings [n, d], labels int64 [n]; below 0: not used.

        A batch without any triplet (one class only, or no two of a class) gives 0.
        """
        known = labels >= 0
        embeddings, labels = embeddings[known], labels[known]
        found = distances(embeddings)
        anchors, positives, negatives = semi_hard_triplets(found.detach(), labels)
        if not len(anchors):
            return embeddings.sum() * 0.0
        loss = self.triplet * self.triplet_term(
            found[anchors, positives], found[anchors, negatives], found[positives, negatives]
        )
        for chosen in (anchors, positives, negatives):
            z = embeddings[chosen]
            loss = loss + self.covariance * covariance_term(z) + self.variance * variance_term(z)
        return loss

    def triplet_term(self, d_ap: Tensor, d_an: Tensor, d_pn: Tensor) -> Tensor:
        """Eq 9 with a hinge: the mean over triplets of max(0, D_ap - (D_an + D_pn) / 2 + m)."""
        return torch.relu(d_ap - (d_an + d_pn) / 2 + self._m(d_ap, d_an)).mean()

    def _m(self, d_ap: Tensor, d_an: Tensor) -> Tensor | float:
        if self.variant == "fixed-margin":
            return self.margin
        m = adaptive_margin(d_ap, d_an)
        return m.detach() if self.variant == "detached" else m


def adaptive_margin(d_ap: Tensor, d_an: Tensor) -> Tensor:
    """Eqs 10-11: m of each triplet, elementwise."""
    return (1 + 2 * torch.exp(-4 * d_ap)) + (1 + 2 * torch.exp(4 * d_an - 4))


def distances(embeddings: Tensor) -> Tensor:
    """Half the Euclidean distances of embeddings [n, d] brought to length 1: [n, n], in 0..1."""
    unit = normalize(embeddings, dim=1)
    # Not by products: 2 - 2 ab loses all digits where points are close. Equal points have gradient 0.
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist") / 2


def semi_hard_triplets(distance: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, positives and negatives, int64 [t] each: one triplet of every ordered pair of a class.

    Semi-hard mining (Schroff et al. 2015, FaceNet) inside the batch: the negative is the nearest one
    that is farther from the anchor than the positive. Such a one lies within the margin where any
    does, and is the hardest of the rest where none does. Where every negative is nearer than the
    positive, it is the farthest of them: the hardest would let the network collapse.
    `distance` [n, n], `labels` [n].
    """
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    usable = same & ~itself & (~same).any(1, keepdim=True)
    anchors, positives = torch.nonzero(usable, as_tuple=True)
    to_negative = distance[anchors].masked_fill(same[anchors], torch.inf)
    farther = to_negative > distance[anchors, positives, None]
    nearest = to_negative.masked_fill(~farther, torch.inf)
    farthest = to_negative.masked_fill(same[anchors], -torch.inf)
    negatives = torch.where(nearest.isfinite().any(1), nearest.argmin(1), farthest.argmax(1))
    return anchors, positives, negatives


def variance_term(z: Tensor) -> Tensor:
    """Eq 12 of one of a, p, n: 1/d sum_j max(0, 1 - sqrt(Var(Z_j) + eps)); z [n, d]; 0 if n < 2."""
    if len(z) < 2:
        return z.sum() * 0.0
    return torch.relu(1 - torch.sqrt(z.var(0, unbiased=True) + EPS)).mean()


def covariance_term(z: Tensor) -> Tensor:
    """Eq 13 of one of a, p, n: 1/d sum of the squared covariances off the diagonal; 0 if n < 2."""
    if len(z) < 2:
        return z.sum() * 0.0
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal / z.shape[1]
