"""M2FNet's feature extractor: ResNet18 (He et al. 2016) and a linear projector to 300 values.

Paper (arXiv 2206.02187), section on feature extraction: one network for spectrograms and faces alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = 2  # of each of the four stages: 1 + 4 * 2 * 2 + 1 = 18 layers with weights


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut: [b, c, h, w] -> [b, c', h / stride, w / stride]."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """One residual step."""
        inner = self.norm2(self.second(torch.relu(self.norm1(self.first(x)))))
        return torch.relu(self.shortcut(x) + inner)


class ResNet18(nn.Module):
    """Pictures [b, channels, h, w], about -2..2, of any size -> embeddings [b, projection].

    `width` is that of the first stage, doubled by each of the next three: 64 is ResNet18 (11.2 million
    weights), 16 a sixteenth of the work. `projection`: 300 in the paper.
    The picture shrinks `stem` times in the stem, 2 in each of the stages 2 to 4, and is averaged. 4 is
    ResNet18's stem; 2, a finer one, is for small pictures: of 48 pixels, 12 would be left before any block.
    """

    def __init__(self, *, width: int = 64, channels: int = 3, projection: int = 300, stem: int = 4) -> None:
        super().__init__()
        self.width, self.channels, self.stem = width, channels, stem
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 7, 2, 3, bias=False)
            if stem == 4
            else nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        before = width
        for stage in range(4):
            after = width * 2**stage
            for place in range(BLOCKS):
                layers.append(Block(before, after, 2 if stage and not place else 1))
                before = after
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.project = nn.Linear(before, projection)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.project.out_features

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings [b, projection]."""
        embeddings: Tensor = self.project(self.body(pictures))
        return embeddings
