"""Features that need no encoding: rows of numbers from a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.hearing import Normalise, normalised
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Status, Utterance, Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray


class ColumnsExtractor:
    """Stacks the rows; `normalise` is `none`, `speaker` or `dialogue`."""

    def __init__(self, dim: int, normalise: Normalise) -> None:
        self._dim = dim
        self._normalise = normalise

    @property
    def dim(self) -> int:
        """The number of columns."""
        return self._dim

    @property
    def head(self) -> Head | None:
        """None: the fusion fits one."""
        return None

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing: what the columns were made from is not known."""
        del utterance
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Never called, since nothing is wished for; a recording has no such columns."""
        del clip
        return Encoded(None, Status.UNREADABLE)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """Features [n, `dim`]; a row without numbers is `unreadable`.

        Raises:
            UsageError: a row has another number of columns, or a number that is not finite.
        """
        values = np.zeros((len(rows), self._dim), np.float32)
        present = np.zeros(len(rows), np.bool_)
        status = [Status.UNREADABLE] * len(rows)
        for i, row in enumerate(rows):
            if row is None or row.values is None:
                continue
            self._check(row.values, f"conversation {conversation.id!r}, utterance {i + 1}")
            values[i], present[i], status[i] = row.values, True, Status.OK
        if self._normalise != "none":
            values = normalised(values, present, conversation, self._normalise)
        return Features(values, present, tuple(status))

    def _check(self, row: FloatArray, where: str) -> None:
        if row.shape != (self._dim,):
            raise UsageError(
                f"The data set has {row.size} columns, the preset says dim {self._dim} ({where}).",
                hint=f"Set it: dim: {row.size}",
            )
        if not np.isfinite(row).all():
            raise UsageError(
                f"Column {int(np.flatnonzero(~np.isfinite(row))[0]) + 1} is not a finite number ({where}).",
                hint="Mend the table, or leave the column out.",
            )
