"""The fusions as `erc predict` and `erc evaluate` use them, and their weights on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from erc_cli.errors import ErcError
from erc_cli.types import Conversation, Features, Modality
from erc_cli.weights import read_weights, write_weights
from erc_fusion_m2fnet.calibration import places, soften
from erc_fusion_m2fnet.inputs import Dialogue
from erc_fusion_m2fnet.model import FusedModel, answer
from erc_fusion_m2fnet.settings import Kind
from erc_fusion_m2fnet.shape import Shape

if TYPE_CHECKING:
    from erc_cli.types import FloatArray


def schema(kind: Kind) -> str:
    """What a weights file of this kind says it is."""
    return f"erc.{kind}/1"


def spans(count: int, window: int) -> Iterator[tuple[int, int, int, int]]:
    """(begin, end, first, last): read utterances begin..end, take the answers of first..last.

    Windows overlap by half, and every utterance is answered where it has most around it.
    """
    step = window // 2
    begins = [0, *range(step, max(count - window, 0) + step, step)] if count > window else [0]
    begins = [min(begin, max(count - window, 0)) for begin in begins]
    first = 0
    for here, following in zip(begins, [*begins[1:], None], strict=True):
        end = min(here + window, count)
        last = count if following is None else (following + end) // 2
        yield here, end, first, last
        first = last


class NetworkFusion:
    """Networks of one kind and their temperatures [subsets] (see `calibration`)."""

    def __init__(
        self,
        kind: Kind,
        models: Sequence[FusedModel],
        temperatures: FloatArray,
        *,
        window: int = 128,
        device: str = "cpu",
    ) -> None:
        self.kind = kind
        self.models = [model.to(device).eval() for model in models]
        self.temperatures = temperatures
        self._window, self._device = window, device

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the networks were trained with."""
        return self.models[0].modalities

    @property
    def reach(self) -> tuple[int, int] | None:
        """None: the dialogue encoders see all of a dialogue, or of a window of it."""
        return None

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> FloatArray:
        """Probabilities [n, classes]; a modality left out, or absent from a row, is as in training."""
        for modality, given in features.items():
            self._check(modality, given)
        n = len(conversation.utterances)
        whole = Dialogue(features, np.full(n, -1, dtype=np.int64))
        result: FloatArray = np.zeros((n, self.models[0].shape.classes), dtype=np.float32)
        if not n:
            return result
        said = np.zeros_like(result)
        for begin, end, first, last in spans(n, self._window):
            (part,) = answer(self.models, [_cut(whole, begin, end)], device=self._device)
            said[first:last] = part[first - begin : last - begin]
        return soften(said, self.temperatures[places(whole, self.modalities)])

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> FloatArray:
        """What the network says with this modality alone, at that subset's temperature."""
        return self.predict(conversation, {modality: features})

    def _check(self, modality: Modality, features: Features) -> None:
        widths = self.models[0].shape.widths
        if modality not in widths:
            raise ErcError(
                f"The fusion {self.kind} was trained without {modality}.",
                hint=f"Type: --drop {modality}, or train a preset that has it.",
            )
        given = features.values.shape[1]
        if given != widths[modality]:
            raise ErcError(
                f"The fusion {self.kind} learnt {widths[modality]} features of {modality},"
                f" and was given {given}.",
                hint=f"Take back the --set {modality}.…, or train the preset so: erc train",
            )

    def save(self, path: Path) -> None:
        """All weights as one safetensors file; equal weights are equal bytes."""
        tensors = {"temperatures": self.temperatures}
        for i, model in enumerate(self.models):
            for name, value in model.state_dict().items():
                tensors[f"member{i}.{name}"] = value.cpu().numpy()
        about = {"shape": self.models[0].shape.to_json(), "members": str(len(self.models))}
        write_weights(path, tensors, schema(self.kind), about)

    @classmethod
    def load(cls, path: Path, kind: Kind, *, window: int = 128, device: str = "cpu") -> NetworkFusion:
        """What `save` wrote.

        Raises:
            ErcError: the file is of another kind, of another version, or damaged.
        """
        found = read_weights(path, schema(kind))
        shape = Shape.from_json(found.metadata["shape"])
        models = []
        for i in range(int(found.metadata["members"])):
            stem = f"member{i}."
            state = {
                name.removeprefix(stem): torch.from_numpy(value)
                for name, value in found.tensors.items()
                if name.startswith(stem)
            }
            model = FusedModel(kind, shape)
            _fill(model, state, path)
            models.append(model)
        return cls(kind, models, found.tensors["temperatures"], window=window, device=device)


def _fill(model: FusedModel, state: Mapping[str, torch.Tensor], path: Path) -> None:
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if wanted != {name: value.shape for name, value in state.items()}:
        raise ErcError(
            f"{path}: the weights do not fit this version of the network.",
            hint="Train the preset anew, or use the version of erc that wrote it.",
        )
    model.load_state_dict(state)


def _cut(whole: Dialogue, begin: int, end: int) -> Dialogue:
    features = {
        m: Features(f.values[begin:end], f.present[begin:end], f.status[begin:end])
        for m, f in whole.features.items()
    }
    return Dialogue(features, whole.targets[begin:end])
