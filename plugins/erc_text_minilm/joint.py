"""The encoder as a branch that is fitted together with the fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from erc_cli.learning import TrainJob
from erc_cli.types import Conversation
from erc_text_minilm.context import Sample, Window, sequences
from erc_text_minilm.network import ContextEncoder, Kind, save
from erc_text_minilm.pretrained import TOKENIZER, TRAINED, find_init, read_tokenizer
from erc_text_minilm.training import Settings, begin, optimizer_groups, options_of

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

TOGETHER = 32  # utterances that are padded to one length


class JointEncoder:
    """The pretrained encoder with its own head; `forward` keeps the gradients."""

    def __init__(self, job: TrainJob, options: Mapping[str, Any], kind: Kind = "minilm") -> None:
        shape = {f.name for f in fields(Window)}
        window = Window(**{k: v for k, v in options.items() if k in shape})
        settings = Settings(**{k: v for k, v in options.items() if k not in shape}, kind=kind)
        self._settings, self._labels = settings, job.labels
        self._window = window
        self._tokenizer = read_tokenizer(find_init(settings.init) / TOKENIZER)
        self._model: ContextEncoder = begin(job, settings, window)

    @property
    def network(self) -> nn.Module:
        """The encoder with its head."""
        return self._model

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._model.dim

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups with the rates of the branch's own training."""
        return optimizer_groups(self._model, self._settings)

    def inputs(self, conversation: Conversation) -> object:
        """Token ids of every utterance in its context."""
        return tuple(sequences(conversation, self._tokenizer, self._window))

    def forward(self, batch: Sequence[object]) -> tuple[Tensor, Tensor]:
        """Features [n, d] and logits [n, classes] of all utterances of the conversations."""
        samples = [s for talk in cast("Sequence[tuple[Sample, ...]]", batch) for s in talk]
        order = sorted(range(len(samples)), key=lambda i: len(samples[i].ids))
        # Utterances of like length together: one long one does not pad the whole batch.
        parts = [order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)]
        read = [self._model.features(*self._model.inputs([samples[i] for i in part])) for part in parts]
        features = torch.cat(read)[torch.tensor(order, device=read[0].device).argsort()]
        logits: Tensor = self._model.head(self._model.dropout(features))
        return features, logits

    def save(self, folder: Path, prior: FloatArray) -> Mapping[str, Any]:
        """Write `text.safetensors` and `tokenizer.json`; the options to build the extractor with."""
        with torch.no_grad():
            save(self._model, prior, folder / TRAINED, self._labels)
        self._tokenizer.save(str(folder / TOKENIZER))
        return options_of(self._window, self._settings)
