"""Dialogue-level encoders: a stack of transformers per modality, a skip connection around each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from erc_cli.types import Modality
from erc_fusion_m2fnet.attention import MultiHeadAttention
from erc_fusion_m2fnet.shape import Shape

#: standardised inputs are clipped here, in deviations: one broken measurement must not drown the rest
CLIP = 6.0

Tensors = Mapping[Modality, Tensor]


def sinusoids(count: int, width: int) -> Tensor:
    """Positional encodings [count, width] (Vaswani et al. 2017, section 3.5): sines, then cosines."""
    half = (width + 1) // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10000.0) / max(half, 1)))
    angles = torch.arange(count)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class TransformerEncoder(nn.Module):
    """Tr: attention and feed-forward, each with residual and layer norm; [b, k, width] -> the same."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, width, width, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feed_forward, width),
        )
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`mask` bool [b, k] says which utterances may be looked at."""
        x = self.first(x + self.dropout(self.attention(x, x, x, mask)))
        out: Tensor = self.second(x + self.dropout(self.feed_forward(x)))
        return out


class DialogueEncoder(nn.Module):
    """One modality: features [b, k, d] -> F [b, k, width]; F ← F + Tr(F), N times (equations 5-8).

    Features are standardised with `mean` and `scale` [d], which are kept with the weights. Utterances
    that are not present are seen by no other one, and get the learned vector `absent` (ours; for text
    it is the query of an utterance without words).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, d: int, shape: Shape) -> None:
        super().__init__()
        width = shape.width_of(d)
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.projection = nn.Linear(d, width) if width != d else nn.Identity()
        self.positions = shape.positions
        self.dropout = nn.Dropout(shape.dropout)
        self.encoders = nn.ModuleList(
            TransformerEncoder(width, shape.heads, shape.feed_forward, shape.dropout)
            for _ in range(shape.encoders)
        )
        self.absent = nn.Parameter(torch.zeros(width))
        self.width = width

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """`values` [b, k, d]; where `present` [b, k] is false they are never read, NaN included."""
        standard = ((values - self.mean) / self.scale).clamp(-CLIP, CLIP)
        # `where`, not a product: NaN times zero is NaN.
        f = self.projection(torch.where(present[..., None], standard, standard.new_zeros(())))
        if self.positions:
            f = f + sinusoids(f.shape[1], self.width).to(f)
        f = self.dropout(f)
        for encoder in self.encoders:
            f = f + encoder(f, present)
        return torch.where(present[..., None], f, self.absent)


class Branches(nn.Module):
    """The encoders of all modalities."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({str(m): DialogueEncoder(d, shape) for m, d in shape.widths.items()})

    def forward(self, values: Tensors, present: Tensors) -> dict[Modality, Tensor]:
        """F_T, F_A, F_V, each [b, k, width of the modality]."""
        return {
            Modality(name): encoder(values[Modality(name)], present[Modality(name)])
            for name, encoder in self.encoders.items()
        }
