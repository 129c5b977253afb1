"""A network with what its answers are added to, and how several of them answer together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.types import Head, Modality
from erc_fusion_m2fnet.concat import Concat
from erc_fusion_m2fnet.dialogue import Tensors
from erc_fusion_m2fnet.inputs import Dialogue, collate, in_order
from erc_fusion_m2fnet.network import M2FNet
from erc_fusion_m2fnet.settings import Kind
from erc_fusion_m2fnet.shape import Shape

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

NETWORKS: Mapping[Kind, type[M2FNet] | type[Concat]] = {"m2fnet": M2FNet, "concat": Concat}
EVALUATION_BATCH = 32


class FusedModel(nn.Module):
    """Features {modality: [b, k, d]} -> logits [b, k, classes]; the log prior where nothing is present.

    With `shape.residual` (ours) the logits are those of the text branch's own head on the raw text
    features, or the log prior where there are no words, plus those of the network, which begins with
    zero: so the fusion begins as the text head, and learns what to add.
    """

    log_prior: Tensor
    head_weight: Tensor
    head_bias: Tensor

    def __init__(self, kind: Kind, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.network = NETWORKS[kind](shape)
        self.register_buffer("log_prior", torch.zeros(shape.classes))
        if shape.residual:
            self.network.classifier.silence()
            self.register_buffer("head_weight", torch.zeros(shape.classes, shape.widths[Modality.TEXT]))
            self.register_buffer("head_bias", torch.zeros(shape.classes))

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it was built for."""
        return tuple(self.shape.widths)

    def forward(self, values: Tensors, present: Tensors, own: Tensor | None = None) -> Tensor:
        """`own` [b, k, classes]: the text head's logits where they are at hand already."""
        logits: Tensor = self.network(values, present)
        if self.shape.residual:
            logits = logits + self._base(values, present, own)
        some = torch.stack(list(present.values())).any(0)
        return torch.where(some[..., None], logits, self.log_prior)

    def _base(self, values: Tensors, present: Tensors, own: Tensor | None) -> Tensor:
        words = present[Modality.TEXT][..., None]
        if own is None:
            text = torch.where(words, values[Modality.TEXT], self.head_bias.new_zeros(()))
            own = text @ self.head_weight.T + self.head_bias
        return torch.where(words, own, self.log_prior)

    @torch.no_grad()
    def take_prior(self, prior: FloatArray) -> None:
        """`prior` [classes]: the answer where nothing is present."""
        self.log_prior.copy_(torch.from_numpy(np.log(prior)))

    @torch.no_grad()
    def take_head(self, head: Head) -> None:
        """The text branch's own classifier."""
        self.head_weight.copy_(torch.from_numpy(head.weight))
        self.head_bias.copy_(torch.from_numpy(head.bias))

    @torch.no_grad()
    def take_statistics(self, modality: Modality, mean: Tensor, scale: Tensor) -> None:
        """What the modality's features are standardised with, each [d]."""
        encoder = self.network.branches.encoders[str(modality)]
        for name, value in (("mean", mean), ("scale", scale)):
            encoder.get_buffer(name).copy_(value)


@torch.inference_mode()
def answer(
    models: Sequence[FusedModel],
    dialogues: Sequence[Dialogue],
    kept: frozenset[Modality] | None = None,
    device: str | torch.device = "cpu",
) -> list[FloatArray]:
    """Per dialogue the mean of the models' log probabilities [k, classes], before calibration.

    `kept`: as if the dialogues had these modalities only (None: all that they have).
    """
    widths = models[0].shape.widths
    answers: dict[int, FloatArray] = {}
    for model in models:
        model.eval()
    for chosen in in_order(dialogues, EVALUATION_BATCH):
        batch = collate([dialogues[i] for i in chosen], widths)
        if kept is not None:
            everyone = torch.ones(len(chosen), dtype=torch.bool)
            batch = batch.without({m: everyone for m in widths if m not in kept})
        values = {m: v.to(device) for m, v in batch.values.items()}
        present = {m: p.to(device) for m, p in batch.present.items()}
        said = [model(values, present).log_softmax(-1) for model in models]
        mean = torch.stack(said).mean(0).cpu().numpy()
        answers |= {i: mean[row, : len(dialogues[i])] for row, i in enumerate(chosen)}
    return [answers[i] for i in range(len(dialogues))]
