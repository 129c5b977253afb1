"""The network of the mel branch, and its weights on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from erc_audio_mel.spectrogram import Look, Spectrogram
from erc_cli.nets.resnet import ResNet18
from erc_cli.types import Head
from erc_cli.weights import read_weights, write_weights

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

SCHEMA = "erc.mel/1"
BODY = "extractor."


class MelNet(nn.Module):
    """Sound [b, samples], -1..1 at 16 kHz -> embeddings [b, projection] by way of its spectrogram.

    `head` is the auxiliary linear classifier of training with cross-entropy.
    """

    def __init__(self, look: Look, *, width: int, projection: int, classes: int) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(look)
        self.extractor = ResNet18(width=width, channels=look.channels, projection=projection)
        self.head = nn.Linear(projection, classes)
        self.extractor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def look(self) -> Look:
        """How sound becomes a picture."""
        return self.spectrogram.look

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.extractor.dim

    def forward(self, sound: Tensor) -> Tensor:
        """Embeddings [b, projection]."""
        pictures = self.spectrogram(sound).contiguous(memory_format=torch.channels_last)
        embeddings: Tensor = self.extractor(pictures)
        return embeddings


def save_mel_net(net: MelNet, labels: Sequence[str], head: Head | None, path: Path) -> None:
    """The extractor's weights as float16 (normalisation statistics as float32), and the head if any."""
    tensors = {
        BODY + name: (value.half() if value.ndim > 1 else value).cpu().numpy()
        for name, value in net.extractor.state_dict().items()
    }
    if head is not None:
        tensors |= {"head.weight": head.weight, "head.bias": head.bias, "head.prior": head.prior}
    about = {
        "look": json.dumps(asdict(net.look)),
        "width": str(net.extractor.width),
        "projection": str(net.dim),
        "labels": json.dumps(list(labels)),
    }
    write_weights(path, tensors, SCHEMA, about)


def load_mel_net(path: Path) -> tuple[MelNet, Head | None]:
    """The network, ready for inference, and the head that was saved with it.

    Raises:
        ErcError: the file is not one that `save_mel_net` wrote.
    """
    found = read_weights(path, SCHEMA)
    tensors = dict(found.tensors)
    heads: dict[str, FloatArray] = {
        name: tensors.pop(f"head.{name}") for name in ("weight", "bias", "prior") if f"head.{name}" in tensors
    }
    about = found.metadata
    net = MelNet(
        Look(**json.loads(about["look"])),
        width=int(about["width"]),
        projection=int(about["projection"]),
        classes=1,
    )
    state = {name.removeprefix(BODY): torch.from_numpy(value) for name, value in tensors.items()}
    net.extractor.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in state.items()})
    return net.eval(), Head(**heads) if heads else None
