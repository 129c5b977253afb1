"""Emotion recognition in conversation on the command line, and from Python.

    >>> from erc_cli import predict
    >>> result = predict("examples/conversation.mp4", "examples/conversation.srt")
    >>> result.utterances[0].speaker
    'ANNA'

Nothing heavy is imported before one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erc_cli.api import LoadedPreset, load_preset, predict, read_result
    from erc_cli.errors import ErcError, UsageError
    from erc_cli.learning import Progress
    from erc_cli.types import (
        MediaInfo,
        Modality,
        Notice,
        Opinion,
        Prediction,
        Result,
        Status,
        Transcript,
        Utterance,
    )

__version__ = "0.1.0"

#: name -> the module that has it, imported when the name is first used
_WHERE = {
    **dict.fromkeys(("LoadedPreset", "load_preset", "predict", "read_result"), "erc_cli.api"),
    **dict.fromkeys(("ErcError", "UsageError"), "erc_cli.errors"),
    "Progress": "erc_cli.learning",
    **dict.fromkeys(
        ("MediaInfo", "Modality", "Notice", "Opinion", "Prediction", "Result", "Status"), "erc_cli.types"
    ),
    **dict.fromkeys(("Transcript", "Utterance"), "erc_cli.types"),
}

__all__ = [
    "ErcError",
    "LoadedPreset",
    "MediaInfo",
    "Modality",
    "Notice",
    "Opinion",
    "Prediction",
    "Progress",
    "Result",
    "Status",
    "Transcript",
    "UsageError",
    "Utterance",
    "load_preset",
    "predict",
    "read_result",
]


if not TYPE_CHECKING:  # a type checker is to find a name that there is none of

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
