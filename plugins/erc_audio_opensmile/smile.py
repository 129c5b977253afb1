"""eGeMAPS (Eyben et al. 2016), version 2, by openSMILE's own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.device import Placement
from erc_cli.hearing import RATE
from erc_cli.nets.pooling import pieces

if TYPE_CHECKING:
    from erc_cli.types import FloatArray


class SmileNet:
    """The 88 functionals of sounds, each by itself."""

    def __init__(self, seconds: float) -> None:
        import opensmile

        self._smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        self._most = round(seconds * RATE)

    @property
    def names(self) -> list[str]:
        """What each figure is, in openSMILE's words."""
        names: list[str] = self._smile.feature_names
        return names

    @property
    def dim(self) -> int:
        """88."""
        return len(self.names)

    @property
    def placement(self) -> Placement:
        """The CPU."""
        return Placement()

    def enough(self, samples: int) -> bool:
        """Shorter than its 60 ms windows there are no figures."""
        return samples >= 0.1 * RATE

    def vectors(self, sounds: Sequence[FloatArray]) -> list[FloatArray]:
        """The figures of each sound; what is undefined is 0, as openSMILE has it for most figures."""
        return [self._measured(sound) for sound in sounds]

    def _measured(self, sound: FloatArray) -> FloatArray:
        cut = pieces(sound, self._most)
        figures = [self._smile.process_signal(piece, RATE).to_numpy(np.float64)[0] for piece in cut]
        weights = [len(piece) / len(sound) for piece in cut]
        mean = np.average(np.nan_to_num(np.stack(figures), posinf=0.0, neginf=0.0), axis=0, weights=weights)
        return mean.astype(np.float32)
