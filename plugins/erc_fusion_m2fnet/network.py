"""M2FNet's dialogue level and fusion (section 3 of the paper, equations 5-8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erc_cli.types import Modality
from erc_fusion_m2fnet.attention import FusionStack
from erc_fusion_m2fnet.classifier import Classifier
from erc_fusion_m2fnet.dialogue import Branches, Tensors
from erc_fusion_m2fnet.shape import Shape


class M2FNet(nn.Module):
    """Features {modality: [b, k, d]} -> logits [b, k, classes].

        F_m ← F_m + Tr(F_m), N times, for text, audio and visual
        F_fusion_m = m fusion modules on F_T, with F_A and F_V as keys
        logits = FC(FC(concat(F_fusion_m, F_A, F_V)))

    Text is query and value. A key counts only where the utterance has words too, because otherwise
    there is no value behind it; a dialogue without words, or without a second modality, goes past the
    attention with learned vectors (ours). A preset without text, or with text alone, has no module.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.branches = Branches(shape)
        widths = {m: shape.width_of(d) for m, d in shape.widths.items()}
        self.keys: tuple[Modality, ...] = tuple(m for m in widths if m is not Modality.TEXT)
        self.stack: FusionStack | None = None
        if Modality.TEXT in widths and self.keys:
            keys: dict[Modality, int] = {m: widths[m] for m in self.keys}
            self.stack = FusionStack(shape.layers, widths[Modality.TEXT], keys, shape.heads, shape.dropout)
        self.classifier = Classifier(sum(widths.values()), shape.hidden, shape.classes, shape.dropout)

    def forward(self, values: Tensors, present: Tensors) -> Tensor:
        """`values[m]` [b, k, d_m], `present[m]` bool [b, k], false where padded too."""
        f = self.branches(values, present)
        if self.stack is not None:
            usable = {m: present[m] & present[Modality.TEXT] for m in self.keys}
            f[Modality.TEXT] = self.stack(f[Modality.TEXT], f, usable)
        final = torch.cat(list(f.values()), dim=-1)  # F_final = concat(F_fusion_m, F_A, F_V)
        logits: Tensor = self.classifier(final)
        return logits
