"""The control of the paper's table 2: everything but the fusion modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erc_fusion_m2fnet.classifier import Classifier
from erc_fusion_m2fnet.dialogue import Branches, Tensors
from erc_fusion_m2fnet.shape import Shape


class Concat(nn.Module):
    """Features {modality: [b, k, d]} -> logits = FC(FC(concat(F_T, F_A, F_V))) [b, k, classes]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.branches = Branches(shape)
        width = sum(shape.width_of(d) for d in shape.widths.values())
        self.classifier = Classifier(width, shape.hidden, shape.classes, shape.dropout)

    def forward(self, values: Tensors, present: Tensors) -> Tensor:
        """`values[m]` [b, k, d_m], `present[m]` bool [b, k], false where padded too."""
        f = self.branches(values, present)
        logits: Tensor = self.classifier(torch.cat(list(f.values()), dim=-1))
        return logits
