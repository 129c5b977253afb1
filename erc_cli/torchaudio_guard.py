"""Make an installed torchaudio importable, whatever torch it meets.

transformers and speechbrain import torchaudio whenever it is installed. Its compiled part does
not load beside a torch of another kind (CPU or another CUDA), and then even BERT does not load.
Call `prepare` before either is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, NoReturn

from erc_cli.errors import ErcError

Mode = Literal["native", "python-only", "absent"]
_NAME = "torchaudio"
_EXTENSION = f"{_NAME}._extension"
_MARK = "__erc_stand_in__"


def prepare() -> Mode:
    """Import torchaudio if it is installed; without its compiled part if that does not load.

    Takes torch's own import time (about 2 s) when torch is not imported yet; idempotent.

    Raises:
        ErcError: torchaudio cannot be imported in either way.
    """
    if _NAME not in sys.modules:
        if find_spec(_NAME) is None:
            return "absent"
        try:
            importlib.import_module(_NAME)
        except (OSError, RuntimeError, ImportError) as error:
            _import_python_part(error)
    return "python-only" if hasattr(sys.modules.get(_EXTENSION), _MARK) else "native"


def _import_python_part(reason: Exception) -> None:
    _forget()
    sys.modules[_EXTENSION] = _stand_in()
    try:
        importlib.import_module(_NAME)
    except (OSError, RuntimeError, ImportError) as error:
        _forget()
        raise ErcError(
            f"torchaudio is installed but cannot be imported: {error} (at first: {reason})",
            hint="Type: pip uninstall torchaudio, or install the one that belongs to your torch.",
        ) from error


def _forget() -> None:
    """Drop what a failed import has left half-loaded."""
    for name in [n for n in sys.modules if n == _NAME or n.startswith(f"{_NAME}.")]:
        del sys.modules[name]


def _stand_in() -> ModuleType:
    """A `torchaudio._extension` that says: no compiled part (names as in torchaudio 2.11)."""
    module = ModuleType(_EXTENSION, "Stand-in by erc: no compiled part.")
    vars(module).update(
        {
            _MARK: True,
            "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
            "_IS_ALIGN_AVAILABLE": False,
            "_check_cuda_version": _nothing,
            "fail_if_no_align": _no_align,
        }
    )
    return module


def _nothing() -> None:
    return None


def _no_align(function: Callable[..., object]) -> Callable[..., NoReturn]:
    """Decorator of torchaudio's alignment functions: they say what is missing when they are called."""

    def refuse(*_: object, **__: object) -> NoReturn:
        name = getattr(function, "__name__", "this function")
        raise RuntimeError(f"{name} needs torchaudio's compiled part, which does not load beside this torch")

    return refuse
