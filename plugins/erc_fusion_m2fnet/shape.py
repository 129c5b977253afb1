"""What a network looks like: all that must be known before its weights can be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from erc_cli.errors import UsageError
from erc_cli.types import Modality


@dataclass(frozen=True, slots=True)
class Shape:
    """`widths`: width d of each modality's features, in the order text, audio, visual.

    `layers` is m, the number of fusion modules; the control has none.
    """

    widths: Mapping[Modality, int]
    classes: int
    encoders: int
    layers: int
    heads: int
    width: int | None
    feed_forward: int
    hidden: int
    dropout: float
    positions: bool
    residual: bool

    def __post_init__(self) -> None:
        if self.width is not None and self.width % self.heads:
            raise UsageError(
                f"train.fusion.width: {self.width} does not divide by {self.heads} heads.",
                hint=f"Type: --set train.fusion.width={self.width_of(self.width)}",
            )

    def width_of(self, d: int) -> int:
        """Width inside the network of a modality with d features: `width`, else d, else projected to
        the next multiple of the heads."""
        if self.width is not None and self.width % self.heads == 0:
            return self.width
        return -(-d // self.heads) * self.heads

    def to_json(self) -> str:
        """For the weights file."""
        parts = asdict(self)
        return json.dumps({**parts, "widths": {str(m): d for m, d in self.widths.items()}}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Shape:
        """What `to_json` wrote."""
        parts = json.loads(text)
        found = parts.pop("widths")
        return cls(widths={m: int(found[m]) for m in Modality if m in found}, **parts)
