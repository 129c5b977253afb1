"""MobileFaceNet: Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face
Verification on Mobile Devices", CCBR 2018 (arXiv 1804.07573), table 1, for pictures of 112x96.

Modules are named as in Xiaoccer's published checkpoints, so that their tensors fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.faces.align import SPHEREFACE, aligned

if TYPE_CHECKING:
    from erc_cli.faces.record import Face
    from erc_cli.types import ByteArray, FloatArray

HEIGHT, WIDTH, DIM = 112, 96, 128
BATCH = 64
#: expansion, channels, repeats, stride of the first (table 1)
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
PREFIXES = ("net_state_dict.", "state_dict.", "module.")


class ConvBlock(nn.Module):
    """Convolution, normalisation and, unless `linear`, PReLU; one group per channel where `depthwise`."""

    def __init__(
        self,
        into: int,
        out: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        depthwise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        groups = into if depthwise else 1
        self.conv = nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        if not linear:
            self.prelu = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        """[b, into, h, w] -> [b, out, h', w']."""
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, "prelu") else x


class Bottleneck(nn.Module):
    """Expand, filter each channel, project; with a short cut where the shapes allow it."""

    def __init__(self, into: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self.shortcut = stride == 1 and into == out
        self.conv = nn.Sequential(
            nn.Conv2d(into, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[b, into, h, w] -> [b, out, h / stride, w / stride]."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileFaceNet(nn.Module):
    """Pictures [b, 3, 112, 96] in (value - 127.5) / 128 -> embeddings [b, 128]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(3, 64, (3, 3), stride=2, padding=1)
        self.dw_conv1 = ConvBlock(64, 64, (3, 3), padding=1, depthwise=True)
        blocks, into = [], 64
        for expansion, out, repeats, stride in BOTTLENECKS:
            for place in range(repeats):
                blocks.append(Bottleneck(into, out, stride if place == 0 else 1, expansion))
                into = out
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvBlock(into, 512, (1, 1))
        self.linear7 = ConvBlock(512, 512, (7, 6), depthwise=True, linear=True)
        self.linear1 = ConvBlock(512, DIM, (1, 1), linear=True)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings [b, 128]."""
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(pictures))))
        return self.linear1(self.linear7(x)).flatten(1)  # type: ignore[no-any-return]


class FaceEmbedder:
    """MobileFaceNet as an embedder of faces. `weights`: its tensors as safetensors.

    Raises:
        UsageError: the file is something else.
    """

    dim = DIM

    def __init__(self, weights: Path, *, device: str = "cpu") -> None:
        self._net = load_network(weights).to(device)
        self.device = device

    def embed(self, rgb: ByteArray, faces: Sequence[Face]) -> FloatArray:
        """The faces of a uint8 frame [h, w, 3] -> unit vectors [n, 128]."""
        return self.embed_pictures(aligned(rgb, faces, SPHEREFACE, WIDTH))

    @torch.inference_mode()
    def embed_pictures(self, pictures: ByteArray) -> FloatArray:
        """Aligned uint8 pictures [n, 112, 96, 3] -> unit vectors [n, 128]."""
        parts = [np.zeros((0, DIM), np.float32)]
        for start in range(0, len(pictures), BATCH):
            batch = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2)
            x = (batch.to(self.device).float() - 127.5) / 128
            # A face's vector is the sum of its own and its mirror image's.
            y = self._net(x) + self._net(x.flip(-1))
            parts.append(nn.functional.normalize(y).cpu().numpy())
        return np.concatenate(parts)


def load_network(weights: Path) -> MobileFaceNet:
    """The network, ready for inference.

    Raises:
        UsageError: the file is no safetensors file, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    hint = "Type: erc models convert CHECKPOINT, and name what it wrote."
    try:
        found = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{weights} is not a readable safetensors file: {error}", hint=hint) from None
    for prefix in PREFIXES:  # of the checkpoint's own dictionaries
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    net = MobileFaceNet()
    wanted = {n: v.shape for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    state = {n: v for n, v in found.items() if n in wanted}
    wrong = [n for n in wanted if n not in state or state[n].shape != wanted[n]]
    surplus = [n for n in found if n not in wanted and _belongs(n)]
    if wrong or surplus:
        said = f"{len(wrong)} of {len(wanted)} tensors missing or of another shape, {len(surplus)} surplus"
        first = (wrong or surplus)[0]
        raise UsageError(f"{weights} does not hold MobileFaceNet: {said} (first: {first}).", hint=hint)
    net.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return net.eval()


def _belongs(name: str) -> bool:
    """Whether a tensor belongs to the network, and is no bookkeeping of the training."""
    return not name.endswith("num_batches_tracked") and name != "epoch"
