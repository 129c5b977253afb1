"""The encoder: a BERT network, averaged over the utterance's own tokens, and a linear head."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Head
from erc_cli.weights import read_weights, write_weights
from erc_text_minilm.context import Sample

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

SCHEMA = "erc.minilm/1"
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


class ContextEncoder(nn.Module):
    """Ids [b, t], types [b, t], mask [b, t] -> features [b, d] -> logits [b, classes]."""

    def __init__(self, config: dict[str, Any], classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        prepare()  # transformers imports torchaudio wherever it is installed, working or not
        from transformers import BertConfig, BertModel
        from transformers.utils import logging

        logging.disable_progress_bar()  # the bar on stderr is ours

        self.config = {key: config[key] for key in KEYS}
        bert = BertConfig(
            **self.config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, pad_token_id=0
        )
        self.encoder = BertModel(bert, add_pooling_layer=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.config["hidden_size"], classes)

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return int(self.config["hidden_size"])

    def features(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """The last layer's mean over the tokens of type 1 (the utterance and its separator), [b, d]."""
        states = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        own = types.unsqueeze(-1).to(states.dtype)
        mean: Tensor = (states * own).sum(1) / own.sum(1)
        return mean

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Logits [b, classes]."""
        logits: Tensor = self.head(self.dropout(self.features(ids, types, mask)))
        return logits


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """Padded ids, types and mask, each int64 [b, t]."""
    longest = max(len(sample.ids) for sample in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        mask[row, : len(sample.ids)] = 1
        types[row, sample.start : sample.end] = 1
    return ids, types, mask


def save(model: ContextEncoder, prior: FloatArray, path: Path) -> None:
    """Weights as float16 with the network's shape beside them."""
    tensors = {name: value.half().numpy() for name, value in model.state_dict().items()}
    tensors["head.prior"] = prior
    write_weights(path, tensors, SCHEMA, {"config": json.dumps(model.config)})


def load(path: Path) -> tuple[ContextEncoder, Head]:
    """The network with its weights, ready for inference, and its head.

    Raises:
        ErcError: the file is not one that `save` wrote.
    """
    found = read_weights(path, SCHEMA)
    tensors = {name: torch.from_numpy(value).float() for name, value in found.tensors.items()}
    prior = tensors.pop("head.prior")
    model = ContextEncoder(json.loads(found.metadata["config"]), classes=len(prior))
    model.load_state_dict(tensors)
    model.eval()
    head = Head(tensors["head.weight"].numpy(), tensors["head.bias"].numpy(), prior.numpy())
    return model, head
