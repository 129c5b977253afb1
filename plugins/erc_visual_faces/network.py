"""The expression network: a small residual network on grey 48x48 faces (after He et al. 2016).

A first, compact relative of M2FNet's ResNet18 extractor: 1.5 M parameters instead of 11 M, so that it
fits in a package and runs on a laptop.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from erc_cli.types import Head
from erc_cli.weights import read_weights, write_weights

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

WIDTHS = (48, 96, 192)
DEPTHS = (1, 2, 2)
SCHEMA = "erc.faces/1"


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


class ExpressionNet(nn.Module):
    """Grey faces [b, 1, 48, 48], values 0..255 -> embeddings [b, 192]; `head` gives logits.

    In evaluation the embedding is the mean of the picture's and its mirror image's: an
    expression has no side.
    """

    def __init__(self, classes: int, stem: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, stem, 3, 1, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = stem
        for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
            for place in range(depth):
                layers.append(Block(channels, width, 2 if stage and not place else 1))
                channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(channels, classes)

    @property
    def dim(self) -> int:
        """Width d of the embedding."""
        return self.head.in_features

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings [b, d]."""
        x = standardise(pictures)
        embedding: Tensor = self.body(x)
        if not self.training:
            embedding = (embedding + self.body(x.flip(-1))) / 2
        return embedding

    def logits(self, pictures: Tensor) -> Tensor:
        """Logits [b, classes]."""
        result: Tensor = self.head(self.dropout(self(pictures)))
        return result


def standardise(pictures: Tensor) -> Tensor:
    """Each picture to mean 0 and deviation 1, so that dark and pale pictures look alike."""
    mean = pictures.mean((1, 2, 3), keepdim=True)
    deviation = pictures.std((1, 2, 3), keepdim=True)
    return (pictures - mean) / (deviation + 8.0)


def save_expression_net(net: ExpressionNet, prior: FloatArray, path: Path) -> None:
    """Weights as float16 (normalisation statistics as float32)."""
    tensors = {
        name: (value.half() if value.ndim > 1 else value).numpy() for name, value in net.state_dict().items()
    }
    write_weights(path, {**tensors, "head.prior": prior}, SCHEMA)


def load_expression_net(path: Path) -> tuple[ExpressionNet, Head]:
    """The network, ready for inference, and its head.

    Raises:
        ErcError: the file is not one that `save_expression_net` wrote.
    """
    tensors = {n: torch.from_numpy(v) for n, v in read_weights(path, SCHEMA).tensors.items()}
    prior = tensors.pop("head.prior")
    net = ExpressionNet(classes=len(prior))
    net.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in tensors.items()})
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weight, bias = tensors["head.weight"].float().numpy(), tensors["head.bias"].float().numpy()
    return net, Head(weight, bias, prior.numpy())
