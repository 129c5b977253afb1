"""From a stretch of sound to M2FNet's picture of it: a mel spectrogram, grey or in colours.

Paper (arXiv 2206.02187), section on the audio branch: frames of 400 samples every 160 samples, 128 mel
bands, "as an RGB image". The clip's length, the colours and the normalisation are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

RATE = 16_000
WINDOW = 400  # samples, 25 ms
# The window is padded with zeros to this: with 400 points, low bands would fall between two bins.
POINTS = 1024
RANGE = 80.0  # dB between black and white
FLOOR = 1e-14  # power: -140 dB of full scale
#: red, green and blue at equal steps from the quietest to the loudest; between them it is linear
COLOURS = ((0.0, 0.0, 0.0), (0.35, 0.05, 0.5), (0.8, 0.2, 0.3), (1.0, 0.65, 0.1), (1.0, 1.0, 0.9))
MIDDLE, SPREAD = 0.5, 0.25  # of the picture's values, brought to about mean 0 and deviation 1


@dataclass(frozen=True, slots=True)
class Look:
    """How sound becomes a picture. `seconds`: what is shorter is padded, what is longer is cut.

    `bands`: mel bands (the picture's height). `hop`: samples between columns. `image`: `grey` (one
    channel) or `rgb` (`COLOURS`). `level`: `relative` to the loudest point of the utterance, or
    `absolute`, to full scale.
    """

    seconds: float = 3.0
    bands: int = 128
    hop: int = 160
    image: str = "rgb"
    level: str = "relative"

    @property
    def samples(self) -> int:
        """Length of the sound in samples."""
        return round(self.seconds * RATE)

    @property
    def channels(self) -> int:
        """Channels of the picture."""
        return 3 if self.image == "rgb" else 1


class Spectrogram(nn.Module):
    """Sound [b, samples], -1..1 -> pictures [b, channels, bands, 1 + samples // hop], about -2..2."""

    filters: Tensor
    window: Tensor
    colours: Tensor

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.register_buffer("filters", torch.from_numpy(mel_filters(look.bands)), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("colours", torch.tensor(COLOURS), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """Pictures; low bands first, the first column is the beginning."""
        shade = self.shade(self.decibels(sound))[:, None]
        picture = shade if self.look.image == "grey" else self._coloured(shade[:, 0])
        return (picture - MIDDLE) / SPREAD

    def decibels(self, sound: Tensor) -> Tensor:
        """Sound [b, samples] -> mel power in dB [b, bands, frames]; all bins of a full-scale sine are 0."""
        spectrum = torch.stft(
            sound,
            POINTS,
            self.look.hop,
            WINDOW,
            self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square() * (4 / (POINTS * self.window.square().sum()))
        return 10 * torch.log10((self.filters @ power).clamp_min(FLOOR))

    def shade(self, decibels: Tensor) -> Tensor:
        """dB [b, bands, frames] -> 0..1, 80 dB below the top -> the top."""
        top = decibels.amax((1, 2), keepdim=True) if self.look.level == "relative" else 0.0
        return ((decibels - top + RANGE) / RANGE).clamp(0, 1)

    def _coloured(self, shade: Tensor) -> Tensor:
        """0..1 [b, h, w] -> red, green, blue [b, 3, h, w], 0..1."""
        place = shade * (len(COLOURS) - 1)
        below = place.floor().long().clamp_max(len(COLOURS) - 2)
        share = (place - below)[..., None]
        mixed = self.colours[below] * (1 - share) + self.colours[below + 1] * share
        return mixed.movedim(-1, 1).contiguous()


def mel_filters(bands: int) -> FloatArray:
    """Triangles on the mel scale [bands, POINTS / 2 + 1], from 0 to 8000 Hz, each with peak 1.

    mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy). Neighbouring triangles cross at a half.
    """
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.linspace(0, RATE / 2, POINTS // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


def fitted(sound: FloatArray, samples: int) -> FloatArray:
    """The middle `samples` of a sound, or all of it with zeros on both sides."""
    spare = len(sound) - samples
    if spare >= 0:
        return sound[spare // 2 : spare // 2 + samples]
    return np.pad(sound, (-spare // 2, -spare - (-spare // 2)))
