"""ECAPA-TDNN (Desplanques et al. 2020) from SpeechBrain's classes, as in its VoxCeleb recipe.

80 mel bands, their mean over the utterance taken out, and the network. Its sizes are read off the tensors;
dilations, which no tensor shows, are the recipe's: 1, then 2, 3, 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.device import Placement
from erc_cli.errors import ErcError, UsageError
from erc_cli.hearing import RATE
from erc_cli.nets.hub import NoDraws, fill, read_tensors, ready
from erc_cli.nets.pooling import pieces
from erc_cli.nets.speech import finite, room, together
from erc_cli.torchaudio_guard import prepare

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

_ROOM = 4  # frames: the furthest that a convolution looks beyond the end


def load_ecapa(path: Path, seconds: float, placement: Placement, option: str) -> EcapaNet:
    """The network of an `embedding_model.safetensors`; longer sounds are read in pieces of `seconds`.

    Raises:
        UsageError: the file is damaged, or not of an ECAPA-TDNN.
        ErcError: torchaudio is missing.
    """
    tensors = read_tensors(path, option)
    if prepare() == "absent":  # else it is importable now, whether it fits torch or not
        raise ErcError(
            "speechbrain needs torchaudio, which is not installed.", hint="Type: pip install torchaudio"
        )
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    sizes = _sizes(tensors, path, option)
    try:
        with NoDraws():
            network: nn.Module = ECAPA_TDNN(**sizes)
    except (ValueError, RuntimeError, AssertionError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _unfit(path, option, f"no network can be made of their sizes ({reason})") from None
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
    fill(network, tensors, path, option, idle=counters)
    return EcapaNet(network, int(sizes["input_size"]), int(sizes["lin_neurons"]), seconds, placement)


def _unfit(path: Path, option: str, reason: str) -> UsageError:
    return UsageError(
        f"{path}: not the weights of an ECAPA-TDNN: {reason}.",
        hint=f"Give another checkpoint folder: --set {option}=FOLDER",
    )


def _sizes(tensors: Mapping[str, Tensor], path: Path, option: str) -> dict[str, Any]:
    """The arguments of `ECAPA_TDNN` for these tensors."""
    shape = {name: list(value.shape) for name, value in tensors.items()}
    try:
        blocks = sorted({int(name.split(".")[1]) for name in shape if name.startswith("blocks.")})
        inner = [f"blocks.{i}." for i in blocks[1:]]
        first, last = shape["blocks.0.conv.conv.weight"], shape["mfa.conv.conv.weight"]
        branches = {name.split(".")[4] for name in shape if name.startswith(f"{inner[0]}res2net_block.")}
        kernels = [shape[f"{b}res2net_block.blocks.0.conv.conv.weight"][2] for b in inner]
        attention = shape["asp.tdnn.conv.conv.weight"]
        return {
            "input_size": first[1],
            "lin_neurons": shape["fc.conv.weight"][0],
            "channels": [
                first[0],
                *(shape[f"{b}tdnn1.conv.conv.weight"][0] for b in inner),
                last[0],
            ],
            "kernel_sizes": [first[2], *kernels, last[2]],
            "dilations": [1, *(i + 1 for i in blocks[1:]), 1],
            "groups": [1] * (len(blocks) + 1),
            "attention_channels": attention[0],
            "global_context": attention[1] == 3 * last[0],
            "res2net_scale": len(branches) + 1,
            "se_channels": shape[f"{inner[0]}se_block.conv1.conv.weight"][0],
        }
    except (KeyError, IndexError, ValueError) as error:
        raise _unfit(path, option, f"{error} is missing") from None


class EcapaNet:
    """Speaker embeddings of sounds. Memory does not grow with a sound's length."""

    def __init__(self, network: nn.Module, mels: int, dim: int, seconds: float, placement: Placement) -> None:
        from speechbrain.lobes.features import Fbank
        from speechbrain.nnet.CNN import Conv1d
        from speechbrain.processing.features import InputNormalization

        self._network = ready(network, placement.device)
        self._wide = [m for m in network.modules() if isinstance(m, Conv1d) and m.kernel_size > 1]
        self._fbank = ready(Fbank(n_mels=mels), placement.device)
        self._level = ready(InputNormalization(norm_type="sentence", std_norm=False), placement.device)
        self._dim, self._most, self._placement = dim, round(seconds * RATE), placement

    @property
    def dim(self) -> int:
        """Width of the embedding, 192 in the published model."""
        return self._dim

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self._placement

    def enough(self, samples: int) -> bool:
        """The convolutions mirror the ends, and need a few frames to do so: 0.1 s is more than enough."""
        return samples >= 0.05 * RATE + 1

    @torch.inference_mode()
    def vectors(self, sounds: Sequence[FloatArray]) -> list[FloatArray]:
        """An embedding [`dim`] of each sound; of a long one, the mean of its pieces'.

        Raises:
            ErcError: the network's answer is not finite.
        """
        totals = [np.zeros(self._dim, np.float64) for _ in sounds]
        cut = [(i, piece) for i, sound in enumerate(sounds) for piece in pieces(sound, self._most)]
        for group in together(cut, room(self._placement)):
            for (i, piece), row in zip(group, self._embedded([p for _, p in group]), strict=True):
                totals[i] += row.astype(np.float64) * (len(piece) / len(sounds[i]))
        return [finite(total.astype(np.float32)) for total in totals]

    def _embedded(self, group: Sequence[FloatArray]) -> FloatArray:
        """Embeddings [b, d] of pieces."""
        bands = [self._bands(piece) for piece in group]
        lengths = [len(row) for row in bands]
        if min(lengths) == max(lengths):
            return self._rows(torch.stack(bands))
        padded = nn.utils.rnn.pad_sequence(bands, batch_first=True)
        padded = nn.functional.pad(padded, (0, 0, 0, _ROOM))
        counts = torch.tensor(lengths, device=padded.device)
        # half a frame less: times the padded length, a share must not round up to one frame more
        shares = (counts - 0.5) / padded.shape[1]
        with ExitStack() as hooks:
            mirror = _Mirror(counts, padded.shape[1])
            for module in self._wide:
                hooks.callback(module.register_forward_pre_hook(mirror).remove)
            return self._rows(padded, shares)

    def _rows(self, *given: Tensor) -> FloatArray:
        rows: FloatArray = self._network(*given)[:, 0].cpu().numpy()
        return rows

    def _bands(self, piece: FloatArray) -> Tensor:
        """Mel bands [t, mels] in decibels, less their mean over time."""
        given = torch.tensor(piece, device=self._placement.device)[None]  # a copy
        whole = torch.ones(1, device=given.device)
        bands: Tensor = self._level(self._fbank(given), whole)[0]
        return bands


class _Mirror:
    """Before a convolution: behind its own end, each padded row [b, c, t] goes on as its mirror image.

    So does SpeechBrain's convolution with what it is given, but only at the end of the longest row.
    """

    def __init__(self, counts: Tensor, size: int) -> None:
        place = torch.arange(size, device=counts.device)[None]
        last = counts[:, None] - 1
        self._source = torch.where(place > last, (2 * last - place).clamp_min(0), place)[:, None]

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del module
        states, *rest = given
        return states.gather(2, self._source.expand_as(states)), *rest
