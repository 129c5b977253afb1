"""The encoder of Whisper (Radford et al. 2022): mel spectrograms of 30 s through a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from erc_cli.device import Placement
from erc_cli.errors import UsageError
from erc_cli.hearing import RATE
from erc_cli.nets.hub import SOUND, WEIGHTS, fill, new_network, read_object, read_tensors, ready, shape_of
from erc_cli.nets.pooling import Pool, pieces, width_of
from erc_cli.nets.speech import (
    Reading,
    casting,
    check_rate,
    cut_layers,
    finite,
    layers_of,
    mean_of_layers,
    room,
)

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

KIND = "whisper"
_PIECE = 8 * RATE  # of the room that pieces have together: to the network each is 30 s, mostly padding
_PREFIXES = ("model.encoder.", "encoder.")
_SPECTROGRAM = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value")


def load_whisper(
    folder: Path, reading: Reading, placement: Placement, *, option: str, hint: str | None
) -> WhisperNet:
    """The encoder of a Whisper model's folder; its decoder is not read.

    Raises:
        UsageError: a file is damaged, of another architecture, or tensors do not belong to it.
    """
    shape = shape_of(folder, (KIND,), option, hint)
    sound = read_object(folder / SOUND)
    check_rate(folder / SOUND, sound)
    network = new_network(shape, _build)
    path = folder / WEIGHTS
    tensors = read_tensors(path, option, lambda name: name.startswith(_PREFIXES))
    bare = {name.removeprefix("model.").removeprefix("encoder."): value for name, value in tensors.items()}
    fill(network, bare, path, option)
    given = {key: sound[key] for key in _SPECTROGRAM if key in sound}
    return WhisperNet(network, _spectrogram(given, network, folder / SOUND), reading, placement)


def _build(config: Any) -> nn.Module:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    made: nn.Module = WhisperEncoder(config)
    return made


def _spectrogram(given: dict[str, Any], network: Any, path: Path) -> Any:
    """What turns sound into the spectrograms that the network reads.

    Raises:
        UsageError: they do not go together.
    """
    from transformers import WhisperFeatureExtractor

    try:
        made = WhisperFeatureExtractor(**given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{path} makes no spectrogram ({error}).", hint="Get the model anew.") from None
    config = network.config
    shape = (made.feature_size, made.nb_max_frames)
    if shape != (config.num_mel_bins, config.max_source_positions * 2):
        raise UsageError(
            f"{path}: spectrograms of {shape[0]} bands and {shape[1]} columns do not fit the network, which "
            f"reads {config.num_mel_bins} and {config.max_source_positions * 2}.",
            hint="Get the whole model anew: its files belong together.",
        )
    return made


class WhisperNet:
    """Vectors of sounds. Every piece of up to 30 s costs as much as 30 s: Whisper knows no other length."""

    def __init__(self, network: Any, spectrogram: Any, reading: Reading, placement: Placement) -> None:
        config = network.config
        count = int(config.encoder_layers)
        self._layers = layers_of(reading, count)
        cut_layers(network, self._layers, count)
        self._last = count in self._layers
        self._network: Any = ready(network, placement.device)
        self._spectrogram, self._reading, self._placement = spectrogram, reading, placement
        self._width, self._frames = int(config.d_model), int(config.max_source_positions)
        self._step = 2 * int(spectrogram.hop_length)  # samples a frame: the second convolution takes two
        self._most = min(round(reading.seconds * RATE), int(spectrogram.n_samples))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return width_of(self._reading.pooling, self._width)

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self._placement

    def enough(self, samples: int) -> bool:
        """Any sound is: it is padded."""
        return samples > 0

    @torch.inference_mode()
    def vectors(self, sounds: Sequence[FloatArray]) -> list[FloatArray]:
        """A vector [`dim`] of each sound: its own frames only, none of the padding.

        Raises:
            ErcError: the network's answer is not finite.
        """
        pools = [Pool(self._reading.pooling) for _ in sounds]
        cut = [(i, piece) for i, sound in enumerate(sounds) for piece in pieces(sound, self._most)]
        count = max(1, room(self._placement) // _PIECE)
        for start in range(0, len(cut), count):
            group = cut[start : start + count]
            states = self._states([piece for _, piece in group])
            for (i, piece), rows in zip(group, states, strict=True):
                pools[i].add(rows[: min(-(-len(piece) // self._step), self._frames)])
        return [finite(pool.vector()) for pool in pools]

    def _states(self, group: Sequence[FloatArray]) -> Tensor:
        """States [b, t, d] of pieces, padding included."""
        made = self._spectrogram(list(group), sampling_rate=RATE, return_tensors="pt")
        with casting(self._placement):
            mels = made["input_features"].to(self._placement.device)
            return mean_of_layers(self._network, self._layers, self._last, mels)
