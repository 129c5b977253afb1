"""Silero VAD (Silero Team, https://github.com/snakers4/silero-vad, MIT): where in a sound somebody speaks.

The network is read from the installed package `silero-vad` and run by onnxruntime. The package itself
is not imported: that would set torch to one thread for the whole process. Of its files the one for whole
sequences is taken: the same network as `silero_vad.onnx`, many frames in one call. (The package's
safetensors are of an older network, see its issue 768.)
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import ErcError
from erc_cli.faces.onnx_run import errors, open_session, refused
from erc_cli.hearing import RATE

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

FRAME = 512  # samples that one probability speaks of: 32 ms
SECONDS = FRAME / RATE
_CONTEXT = 64  # samples of the frame before
_STATE = (1, 1, 128)
_PACKAGE = "silero_vad"
_FILE = Path("data", "silero_vad_16k_sequence.onnx")


def load_silero() -> Speechmeter:
    """The installed package's network.

    Raises:
        ErcError: the package, or its file, is not there, or cannot be run.
    """
    found = find_spec(_PACKAGE)
    places = (found.submodule_search_locations if found else None) or []
    path = next((file for place in places if (file := Path(place) / _FILE).is_file()), None)
    if path is None:
        raise ErcError(
            f"silero-vad, or its file {_FILE.name}, is not installed.",
            hint="Type: pip install -U 'silero-vad>=6.2.2,<7'",
        )
    return Speechmeter(open_session(path, "cpu", path), path)


class Speechmeter:
    """How likely it is that somebody speaks, frame by frame, over the pieces of one long sound."""

    def __init__(self, session: Any, path: Path) -> None:
        self._session, self._path = session, path
        self.forget()

    def forget(self) -> None:
        """Begin anew: what comes next does not follow on what was heard."""
        self._hidden = self._cell = np.zeros(_STATE, np.float32)
        self._before = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, sound: FloatArray) -> FloatArray:
        """A probability [ceil(samples / 512)] for each frame of the next piece, 16 kHz mono.

        All pieces but the last are to hold whole frames. Numbers that are not finite count as silence.

        Raises:
            UsageError: the network cannot be run.
        """
        count = -(-len(sound) // FRAME)
        if not count:
            return np.zeros(0, np.float32)
        flat = np.zeros(count * FRAME, np.float32)
        flat[: len(sound)] = np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0)
        frames = np.zeros((count, _CONTEXT + FRAME), np.float32)
        frames[:, _CONTEXT:] = flat.reshape(count, FRAME)
        frames[0, :_CONTEXT] = self._before
        frames[1:, :_CONTEXT] = frames[:-1, -_CONTEXT:]
        self._before = frames[-1, -_CONTEXT:].copy()
        given = {"input": frames, "h": self._hidden, "c": self._cell}
        try:
            made = self._session.run(["speech_probs", "hn", "cn"], given)
        except errors() as error:
            raise refused(self._path, error) from None
        said, self._hidden, self._cell = made
        values: FloatArray = said.reshape(-1)
        return values
