"""Attention with masks that may be empty, and M2FNet's fusion attention module (equations 5-8)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from erc_cli.types import Modality

#: the order in which the parts stand in concat[A, F_T, B]
ORDER = (Modality.AUDIO, Modality.TEXT, Modality.VISUAL)


class MultiHeadAttention(nn.Module):
    """MHA(q [b, n, query], k [b, t, key], v [b, t, value]) -> [b, n, query] (Vaswani et al. 2017).

    Keys where `mask` [b, t] is false get no weight at all. Where a dialogue has no true key the
    output is finite and means nothing: the caller puts something else there.
    """

    def __init__(self, query: int, key: int, value: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query, query)
        # A bias of the keys shifts all scores of a query alike, and the softmax takes it out again.
        self.key = nn.Linear(key, query, bias=False)
        self.value = nn.Linear(value, query)
        self.out = nn.Linear(query, query)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # [b, heads, n, t]
        # The lowest finite number, not -inf: a row without any key must not become NaN.
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        mixed = self.dropout(scores.softmax(-1)) @ v
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """[b, t, d] -> [b, heads, t, d / heads]."""
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)


class FusionAttention(nn.Module):
    """One fusion attention module.

        A = MHA(query F_T, key F_A, value F_T)        B = MHA(query F_T, key F_V, value F_T)
        out = FC(concat[A, F_T, B]), of the width of F_T

    `keys` gives the width of each modality that serves as key. Where a dialogue has no usable key of
    a modality, its term is a learned vector (ours), the same whatever the reason of the absence.
    """

    def __init__(self, width: int, keys: Mapping[Modality, int], heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {str(m): MultiHeadAttention(width, d, width, heads, dropout) for m, d in keys.items()}
        )
        self.absent = nn.ParameterDict({str(m): nn.Parameter(torch.zeros(width)) for m in keys})
        self.out = nn.Linear(width * (1 + len(keys)), width)
        self._begin(width)

    @torch.no_grad()
    def _begin(self, width: int) -> None:
        """Ours: FC begins by passing F_T on. With torch's usual start each module shrinks its input to
        about 0.4 of it, and of five modules in a row hardly anything is left to learn from."""
        nn.init.zeros_(self.out.bias)
        places = [m for m in ORDER if m is Modality.TEXT or str(m) in self.attention]
        for place, modality in enumerate(places):
            block = self.out.weight[:, place * width : (place + 1) * width]
            if modality is Modality.TEXT:
                nn.init.eye_(block)
            else:
                nn.init.xavier_uniform_(block, gain=0.5)

    def forward(
        self, text: Tensor, keys: Mapping[Modality, Tensor], usable: Mapping[Modality, Tensor]
    ) -> Tensor:
        """`text` [b, k, width], `keys[m]` [b, k, d_m], `usable[m]` bool [b, k] -> [b, k, width]."""
        parts = {Modality.TEXT: text}
        for name, attention in self.attention.items():
            modality = Modality(name)
            mixed = attention(text, keys[modality], text, usable[modality])
            some = usable[modality].any(1)[:, None, None]
            parts[modality] = torch.where(some, mixed, self.absent[name])
        out: Tensor = self.out(torch.cat([parts[m] for m in ORDER if m in parts], dim=-1))
        return out


class FusionStack(nn.Module):
    """m modules; each takes the output of the one before as its text, F_A and F_V stay as they are."""

    def __init__(
        self, layers: int, width: int, keys: Mapping[Modality, int], heads: int, dropout: float
    ) -> None:
        super().__init__()
        modules = (FusionAttention(width, keys, heads, dropout) for _ in range(layers))
        self.layers = nn.ModuleList(modules)

    def forward(
        self, text: Tensor, keys: Mapping[Modality, Tensor], usable: Mapping[Modality, Tensor]
    ) -> Tensor:
        """F_fusion_m [b, k, width]; arguments as for one module."""
        for layer in self.layers:
            text = layer(text, keys, usable)
        return text
