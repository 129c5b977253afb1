"""wav2vec 2.0, HuBERT and WavLM (Baevski et al. 2020, Hsu et al. 2021, Chen et al. 2022) as frozen encoders.

The three share their build: convolutions over the waveform (one frame every 20 ms), a projection, and a
transformer. Padding never changes a row: the convolutions, whose group norm in the base models looks at
all of the input, run on one sound at a time, and only the transformer, which has a mask, on several.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.device import PRECISIONS, Placement
from erc_cli.errors import ErcError, UsageError
from erc_cli.hearing import RATE
from erc_cli.nets.hub import SOUND, fill, new_network, read_object, read_tensors, ready, shape_of, without
from erc_cli.nets.pooling import Pool, Pooling, pieces, width_of

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

KINDS = ("hubert", "wav2vec2", "wavlm")
#: Samples of padded sound in one pass, by kind of device. A CPU core is busy with one utterance already, and
#: several at once fall out of its cache (benchmarks/audio_backends.py); a GPU is not.
TOGETHER = {"cpu": 0, "cuda": 64 * RATE, "mps": 64 * RATE}
_MASK = ("masked_spec_embed",)  # stands for what training hides


@dataclass(frozen=True, slots=True)
class Reading:
    """How frames become one vector.

    `layer`: 0 is what the transformer is given, 1 the first layer's output, -1 the last one's.
    `average`: mean of so many layers, the last of them `layer`. `seconds`: longer sounds are read in
    equal pieces. `level`: each piece's states are layer-normalised as a whole (SpeechBrain's
    `output_norm`). `floor`: added to the sound's variance where the model wants it normalised.
    """

    layer: int = -1
    average: int = 1
    pooling: Pooling = "mean"
    seconds: float = 20.0
    level: bool = False
    floor: float = 1e-7


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a network is from: its shape (and how it wants its sound), its tensors, and their prefix.

    `option` is what a user gave the folder by, such as `audio.weights`.
    """

    shape: Path
    weights: Path
    option: str
    prefix: str = ""


def load_speech(
    kinds: Sequence[str], place: Folders, reading: Reading, placement: Placement, hint: str | None = None
) -> SpeechNet:
    """The network of a folder; `hint` is what to type where it is none of `kinds`.

    Raises:
        UsageError: a file is damaged, of another architecture, or tensors do not belong to it.
    """
    shape = shape_of(place.shape, kinds, place.option, hint)
    shape["add_adapter"] = False  # stands behind the last layer, and is not read
    sound = read_object(place.shape / SOUND)
    check_rate(place.shape / SOUND, sound)
    network = new_network(shape, _build)
    tensors = read_tensors(place.weights, place.option)
    prefix = place.prefix or f"{network.base_model_prefix}."
    fill(network, without(tensors, prefix), place.weights, place.option, idle=_MASK)
    return SpeechNet(network, reading, placement, normalise=bool(sound.get("do_normalize", True)))


def check_rate(path: Path, sound: dict[str, Any]) -> None:
    """UsageError unless the model wants sound of 16 kHz."""
    rate = sound.get("sampling_rate", RATE)
    if rate != RATE:
        raise UsageError(
            f"{path}: this model wants sound at {rate} Hz, erc gives {RATE} Hz.",
            hint="Choose a model of 16 kHz speech.",
        )


def _build(config: Any) -> nn.Module:
    from transformers import AutoModel

    made: nn.Module = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return made


class SpeechNet:
    """Vectors of sounds. Memory does not grow with a sound's length, nor with the number of sounds."""

    def __init__(self, network: Any, reading: Reading, placement: Placement, *, normalise: bool) -> None:
        config = network.config
        self._steps = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self._width = int(config.hidden_size)
        self._reading, self._normalise, self._placement = reading, normalise, placement
        self._layers = layers_of(reading, int(config.num_hidden_layers))
        cut_layers(network.encoder, self._layers, int(config.num_hidden_layers))
        self._last = int(config.num_hidden_layers) in self._layers
        self._network: Any = ready(network, placement.device)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return width_of(self._reading.pooling, self._width)

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self._placement

    def enough(self, samples: int) -> bool:
        """Whether so many samples make a frame."""
        for kernel, stride in self._steps:
            samples = (samples - kernel) // stride + 1
        return samples >= 1

    @torch.inference_mode()
    def vectors(self, sounds: Sequence[FloatArray]) -> list[FloatArray]:
        """A vector [`dim`] of each sound, which is long enough for a frame.

        Raises:
            ErcError: the network's answer is not finite.
        """
        pools = [Pool(self._reading.pooling) for _ in sounds]
        most = round(self._reading.seconds * RATE)
        cut = [(i, piece) for i, sound in enumerate(sounds) for piece in pieces(self._level(sound), most)]
        for group in together(cut, room(self._placement)):
            with casting(self._placement):
                states = self._states([self._convolved(piece) for _, piece in group])
            for (i, _), rows in zip(group, states, strict=True):
                pools[i].add(_levelled(rows) if self._reading.level else rows)
        return [finite(pool.vector()) for pool in pools]

    def _level(self, sound: FloatArray) -> FloatArray:
        """Mean 0 and deviation 1 over the whole utterance, if the model was trained on such sound."""
        if not self._normalise:
            return sound
        levelled: FloatArray = (sound - sound.mean()) / np.sqrt(sound.var() + self._reading.floor)
        return levelled

    def _convolved(self, piece: FloatArray) -> Tensor:
        """Frames [t, channels] of one piece."""
        given = torch.tensor(piece, device=self._placement.device)[
            None
        ]  # a copy: numpy keeps the clip's array
        frames: Tensor = self._network.feature_extractor(given)[0].transpose(0, 1)
        return frames

    def _states(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """The wanted layers' mean states [t, d] of each row of frames [t, channels]."""
        lengths = [len(row) for row in frames]
        padded = nn.utils.rnn.pad_sequence(list(frames), batch_first=True)
        projected = self._network.feature_projection(padded)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        mask = None
        if min(lengths) < max(lengths):
            place = torch.arange(max(lengths), device=hidden.device)
            mask = place[None] < torch.tensor(lengths, device=hidden.device)[:, None]
        with warnings.catch_warnings():
            # WavLM's own mixture of a bool mask and a float bias, which torch warns of
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            total = mean_of_layers(
                self._network.encoder, self._layers, self._last, hidden, attention_mask=mask
            )
        return [row[:length] for row, length in zip(total, lengths, strict=True)]


def _levelled(states: Tensor) -> Tensor:
    """SpeechBrain's `output_norm`: mean 0 and variance 1 over frames and channels together."""
    return nn.functional.layer_norm(states, states.shape)


# --- what whisper's encoder has in common ---------------------------------------------------


def layers_of(reading: Reading, count: int) -> range:
    """Numbers of the layers to be averaged, 0 to `count`.

    Raises:
        UsageError: the network has no such layer.
    """
    last = reading.layer if reading.layer >= 0 else count + 1 + reading.layer
    if not 0 <= last <= count:
        raise UsageError(
            f"layer: {reading.layer} is not one of this network's: it has 0 to {count}.",
            hint=f"Type: --set audio.layer={count}, or -1 for the last one",
        )
    if last + 1 < reading.average:
        raise UsageError(
            f"average: there are no {reading.average} layers up to number {last}.",
            hint=f"Type: --set audio.average={last + 1}",
        )
    return range(last - reading.average + 1, last + 1)


def cut_layers(encoder: Any, layers: range, count: int) -> None:
    """Drop the layers above the wanted ones: nobody waits for them."""
    if layers[-1] < count:
        encoder.layers = encoder.layers[: max(layers[-1], 1)]


def mean_of_layers(encoder: Any, layers: range, last: bool, given: Tensor, **more: Any) -> Tensor:
    """Mean of the wanted layers' states [b, t, d]; `last`: the encoder's own output is one of them."""
    total: list[Tensor] = []

    def add(states: Any) -> None:
        found = states[0] if isinstance(states, tuple) else states
        total[:] = [total[0] + found] if total else [found.clone()]

    with ExitStack() as hooks:
        for number in layers:
            if number == 0:
                first = encoder.layers[0].register_forward_pre_hook(lambda _, args: add(args[0]))
                hooks.callback(first.remove)
            elif number < layers[-1] or not last:
                hook = encoder.layers[number - 1].register_forward_hook(lambda _, __, made: add(made))
                hooks.callback(hook.remove)
        made = encoder(given, **more)
    if last:
        add(made.last_hidden_state)
    return total[0] / len(layers)


def room(placement: Placement) -> int:
    """How many samples of padded sound go through a network at once, if there is more than one piece."""
    return TOGETHER.get(placement.device.partition(":")[0], 0)


def together(cut: Sequence[tuple[int, FloatArray]], most: int) -> Iterator[list[tuple[int, FloatArray]]]:
    """Groups of pieces of like length, padded at most `most` samples together, or one longer piece."""
    group: list[tuple[int, FloatArray]] = []
    for item in sorted(cut, key=lambda item: len(item[1])):
        if group and len(item[1]) * (len(group) + 1) > most:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def casting(placement: Placement) -> AbstractContextManager[Any]:
    """Matrix products in the placement's precision; what needs more range stays in float32."""
    if placement.precision == "fp32":
        return nullcontext()
    kind = torch.device(placement.device).type
    return torch.autocast(kind, dtype=getattr(torch, PRECISIONS[placement.precision]))


def finite(vector: FloatArray) -> FloatArray:
    """The vector; ErcError where it is not finite."""
    if not np.isfinite(vector).all():
        raise ErcError(
            "The network's answer is not finite: its weights are damaged, or the precision is too low.",
            hint="Try --precision fp32, or get the model anew.",
        )
    return vector
