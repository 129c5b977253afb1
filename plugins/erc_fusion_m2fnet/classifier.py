"""The last two layers."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """logits = FC(FC(F_final)): [b, k, width] -> [b, k, classes].

    The paper prints nothing between the two layers; with nothing there they would be one. Ours: ReLU
    and dropout.
    """

    def __init__(self, width: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.last = nn.Linear(hidden, classes)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, final: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.last(self.dropout(self.activation(self.first(final))))
        return logits

    def silence(self) -> None:
        """Begin with logits of zero, for a network that is added to something."""
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
