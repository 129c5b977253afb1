"""The encoder: a transformer, pooled over the utterance's own tokens, and a linear head."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from erc_cli.contamination import KEY as CONTAMINATED
from erc_cli.contamination import Mark, as_text, from_text
from erc_cli.errors import ErcError
from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Head
from erc_cli.weights import read_weights, write_weights
from erc_text_minilm.context import Sample
from erc_text_minilm.encoders import new_encoder, positions_of, takes

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

Kind = Literal["minilm", "roberta"]
Pooling = Literal["own", "first", "mean"]
Inputs = tuple[Tensor, Tensor, Tensor]

POOLINGS: tuple[Pooling, ...] = ("own", "first", "mean")
SCHEMAS: dict[Kind, str] = {"minilm": "erc.minilm/1", "roberta": "erc.roberta/1"}
KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "layer_norm_eps",
)
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


class ContextEncoder(nn.Module):
    """Ids [b, t], types [b, t], mask [b, t] -> features [b, d] -> logits [b, classes].

    `kind` minilm: a BERT of the shape in `config`. roberta: the Hugging Face encoder that `config`
    describes, whose weights are still to be filled in. `pooling` own: mean of the last layer's states
    over the utterance's span; first: the state of the first token (`<s>`, `[CLS]`); mean: over all
    tokens, context and marks too. `marks`: data sets that its weights learnt from, see
    `erc_cli.contamination`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        classes: int,
        dropout: float = 0.1,
        *,
        kind: Kind = "minilm",
        pooling: Pooling = "own",
    ) -> None:
        super().__init__()
        self.kind, self.pooling = kind, pooling
        self.marks: tuple[Mark, ...] = ()
        self.labels: tuple[str, ...] = ()  # what its head answers, where the file says so
        self.config = {key: config[key] for key in KEYS} if kind == "minilm" else dict(config)
        self.encoder: Any = _bert(self.config, dropout) if kind == "minilm" else new_encoder(self.config)
        shape: Any = self.encoder.config
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(shape.hidden_size), classes)
        self.layers, self.vocabulary = int(shape.num_hidden_layers), int(shape.vocab_size)
        self.pad = int(shape.pad_token_id or 0)
        self.positions = positions_of(self.encoder)
        types = getattr(shape, "type_vocab_size", 0) or 0
        self._typed = types >= 2 and takes(self.encoder.forward, "token_type_ids")

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self.head.in_features

    def inputs(self, samples: Sequence[Sample]) -> Inputs:
        """What `forward` takes, where the weights are."""
        ids, types, mask = collate(samples, self.pad)
        device = self.head.weight.device
        return ids.to(device), types.to(device), mask.to(device)

    def features(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """The last layer's states, pooled (over the tokens of type 1, the first token's, all), [b, d]."""
        more = {"token_type_ids": types} if self._typed else {}
        states: Tensor = self.encoder(input_ids=ids, attention_mask=mask, **more).last_hidden_state.float()
        if self.pooling == "first":
            return states[:, 0]
        own = (mask if self.pooling == "mean" else types).unsqueeze(-1).to(states.dtype)
        mean: Tensor = (states * own).sum(1) / own.sum(1)
        return mean

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Logits [b, classes]."""
        logits: Tensor = self.head(self.dropout(self.features(ids, types, mask)))
        return logits

    def level(self, parameter: str) -> int:
        """The layer that a parameter is in, from 0; embeddings are below (-1), what else on top."""
        found = _LAYER.search(parameter)
        if found:
            return int(found[1])
        return -1 if "embeddings" in parameter else self.layers - 1


def _bert(config: Mapping[str, Any], dropout: float) -> nn.Module:
    prepare()  # transformers imports torchaudio wherever it is installed, working or not
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar on stderr is ours
    bert = BertConfig(
        **config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, pad_token_id=0
    )
    encoder: nn.Module = BertModel(bert, add_pooling_layer=False)
    return encoder


def collate(samples: Sequence[Sample], pad: int = 0) -> Inputs:
    """Padded ids, types and mask, each int64 [b, t]. Type 1 is the utterance's span."""
    longest = max(len(sample.ids) for sample in samples)
    ids = torch.full((len(samples), longest), pad, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        mask[row, : len(sample.ids)] = 1
        types[row, sample.start : sample.end] = 1
    return ids, types, mask


def save(model: ContextEncoder, prior: FloatArray, path: Path, labels: Sequence[str] = ()) -> None:
    """Weights as float16 with the network's shape, and the labels of its head, beside them."""
    tensors = {name: value.half().cpu().numpy() for name, value in model.state_dict().items()}
    tensors["head.prior"] = prior
    about = {"config": json.dumps(model.config), "labels": json.dumps(list(labels))}
    if model.kind != "minilm":
        about["pooling"] = model.pooling
    if model.marks:
        about[CONTAMINATED] = as_text(model.marks)
    write_weights(path, tensors, SCHEMAS[model.kind], about)


def load(path: Path, kind: Kind = "minilm") -> tuple[ContextEncoder, Head]:
    """The network with its weights, ready for inference, and its head.

    Raises:
        ErcError: the file is not one that `save` wrote.
    """
    found = read_weights(path, SCHEMAS[kind])
    tensors = {name: torch.from_numpy(value).float() for name, value in found.tensors.items()}
    absent = [n for n in ("head.prior", "head.weight", "head.bias") if n not in tensors]
    if absent or "config" not in found.metadata:
        raise _not_whole(path, f"{(*absent, 'config')[0]} is missing")
    prior = tensors.pop("head.prior")
    pooling: Pooling = next((p for p in POOLINGS if p == found.metadata.get("pooling")), "own")
    config = json.loads(found.metadata["config"])
    model = ContextEncoder(config, classes=len(prior), kind=kind, pooling=pooling)
    model.marks = tuple(from_text(found.metadata.get(CONTAMINATED, "[]")))
    model.labels = tuple(json.loads(found.metadata.get("labels", "[]")))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise _not_whole(path, str(error).splitlines()[-1].strip()) from None
    model.eval()
    head = Head(tensors["head.weight"].numpy(), tensors["head.bias"].numpy(), prior.numpy())
    return model, head


def _not_whole(path: Path, reason: str) -> ErcError:
    return ErcError(f"{path}: not weights as erc saves them: {reason}", hint="Get the preset anew.")
