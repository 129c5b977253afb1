"""Changes to the waveform while training: M2FNet's time warping and white noise, and three more.

Sound is float [b, samples], and comes out with the same shape. All draws come from torch's global
generator, which the training loop seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from erc_audio_mel.spectrogram import RATE

SNR_SPAN = 30.0  # dB: the noise is between the loudest allowed and this much softer
TELEPHONE = (300.0, 3400.0)  # Hz
ROOM = (0.1, 0.5)  # seconds in which the echo falls by 60 dB
ECHO = 0.5  # energy of the echo, as a share of the direct sound's, at most


@dataclass(frozen=True, slots=True)
class Augment:
    """What may happen to a sound.

    `warp`: a point of the sound moves by up to this share of the length, and all else with it.
    `snr`: lowest signal-to-noise ratio of the added white noise in dB, None for no noise.
    `gain`: louder or softer by up to so many dB. `room`, `telephone`: probability of an echo, of the
    band of a telephone.
    """

    warp: float = 0.1
    snr: float | None = 10.0
    gain: float = 6.0
    room: float = 0.0
    telephone: float = 0.0

    def __call__(self, sound: Tensor) -> Tensor:
        """A changed copy."""
        if self.warp:
            sound = warp_time(sound, self.warp)
        if self.room:
            sound = _some(self.room, add_room(sound), sound)
        if self.snr is not None:
            sound = add_noise(sound, self.snr)
        if self.telephone:
            sound = _some(self.telephone, telephone(sound), sound)
        if self.gain:
            sound = sound * 10 ** (_between(-self.gain, self.gain, sound) / 20)
        return sound.clamp(-1, 1)


def warp_time(sound: Tensor, share: float) -> Tensor:
    """A random point moves by up to `share` of the length; what is before and after is stretched.

    Speech becomes faster on one side and slower on the other, and its pitch moves along.
    """
    samples = sound.shape[1]
    share = min(share, 0.25)  # beyond, one side could vanish
    source = _between(0.3, 0.7, sound)
    target = source + _between(-share, share, sound)
    time = torch.linspace(0, 1, samples, device=sound.device)[None]
    before, after = time * source / target, 1 - (1 - time) * (1 - source) / (1 - target)
    place = torch.where(time < target, before, after).clamp(0, 1) * (samples - 1)
    left = place.floor().long().clamp_max(samples - 2)
    return torch.lerp(sound.gather(1, left), sound.gather(1, left + 1), place - left)


def add_noise(sound: Tensor, snr: float) -> Tensor:
    """White Gaussian noise, `snr` to `snr` + 30 dB below the sound's mean power; silence stays silent."""
    power = sound.square().mean(1, keepdim=True)
    ratio = 10 ** (_between(snr, snr + SNR_SPAN, sound) / 10)
    return sound + torch.randn_like(sound) * torch.sqrt(power / ratio)


def telephone(sound: Tensor) -> Tensor:
    """What a telephone passes on: 300 to 3400 Hz."""
    samples = sound.shape[1]
    frequency = torch.fft.rfftfreq(samples, 1 / RATE, device=sound.device)
    passed = (frequency >= TELEPHONE[0]) & (frequency <= TELEPHONE[1])
    heard: Tensor = torch.fft.irfft(torch.fft.rfft(sound) * passed, samples)
    return heard


def add_room(sound: Tensor) -> Tensor:
    """The sound and its echo: noise that falls by 60 dB in 0.1 to 0.5 seconds."""
    samples, length = sound.shape[1], round(ROOM[1] * RATE)
    time = torch.arange(length, device=sound.device)[None] / RATE
    decay = torch.exp(-6.9078 * time / _between(*ROOM, sound))
    echo = torch.randn(len(sound), length, device=sound.device) * decay
    strength = torch.sqrt(_between(0.0, ECHO, sound) / echo.square().sum(1, keepdim=True))
    size = samples + length  # no echo comes round to the beginning
    wet: Tensor = torch.fft.irfft(torch.fft.rfft(sound, size) * torch.fft.rfft(echo * strength, size), size)
    return sound + wet[:, :samples]


def _some(share: float, changed: Tensor, sound: Tensor) -> Tensor:
    """Each row as changed, with probability `share`."""
    chosen = torch.rand(len(sound), 1, device=sound.device) < share
    return torch.where(chosen, changed, sound)


def _between(low: float, high: float, like: Tensor) -> Tensor:
    """Uniform draws [b, 1]."""
    return low + (high - low) * torch.rand(len(like), 1, device=like.device)
