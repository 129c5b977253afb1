"""The expression network: a residual network on grey 48x48 faces (after He et al. 2016).

`small`, the default, is a compact relative of M2FNet's extractor: 1.5 M parameters instead of 11 M, so
that it fits in a package and runs on a laptop. `resnet18` is that extractor itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from erc_cli.nets.resnet import Block, ResNet18
from erc_cli.types import Head
from erc_cli.weights import read_weights, write_weights

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

WIDTHS = (48, 96, 192)
DEPTHS = (1, 2, 2)
SCHEMA = "erc.faces/1"


def small_body(stem: int = 32) -> nn.Sequential:
    """Pictures [b, 1, 48, 48] -> embeddings [b, 192]."""
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
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class ExpressionNet(nn.Module):
    """Grey faces [b, 1, 48, 48], values 0..255 -> embeddings [b, d]; `head` gives logits.

    `body`: the small one (d = 192) unless another is given. In evaluation the embedding is the mean of
    the picture's and its mirror image's: an expression has no side.
    """

    def __init__(self, classes: int, body: ResNet18 | None = None) -> None:
        super().__init__()
        self.body: nn.Module = small_body() if body is None else body
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(WIDTHS[-1] if body is None else body.dim, classes)

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
    body = net.body
    about = None
    if isinstance(body, ResNet18):
        about = {"network": "resnet18", "width": str(body.width), "stem": str(body.stem)}
    write_weights(path, {**tensors, "head.prior": prior}, SCHEMA, about)


def load_expression_net(path: Path) -> tuple[ExpressionNet, Head]:
    """The network, ready for inference, and its head.

    Raises:
        ErcError: the file is not one that `save_expression_net` wrote.
    """
    found = read_weights(path, SCHEMA)
    tensors = {n: torch.from_numpy(v) for n, v in found.tensors.items()}
    prior = tensors.pop("head.prior")
    net = ExpressionNet(classes=len(prior))
    if found.metadata.get("network") == "resnet18":
        projection = tensors["head.weight"].shape[1]
        width, stem = int(found.metadata["width"]), int(found.metadata.get("stem", 4))
        body = ResNet18(width=width, channels=1, projection=projection, stem=stem)
        net = ExpressionNet(len(prior), body)
    net.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in tensors.items()})
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weight, bias = tensors["head.weight"].float().numpy(), tensors["head.bias"].float().numpy()
    return net, Head(weight, bias, prior.numpy())
