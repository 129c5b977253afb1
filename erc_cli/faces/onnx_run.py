"""ONNX networks by onnxruntime: on which processor, with how many threads, and without its own talk."""

from __future__ import annotations

import io
import multiprocessing
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import torch

from erc_cli.errors import UsageError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
FATAL = 4  # of onnxruntime's levels: what matters is raised, and told by us


def threads() -> int:
    """As many as torch uses; one in a process of a pool, of which there are as many as cores."""
    return 1 if multiprocessing.parent_process() is not None else torch.get_num_threads()


def providers(device: str, available: tuple[str, ...]) -> list[Any]:
    """onnxruntime's names for a device of torch (`cpu`, `cuda`, `cuda:N`, `mps`), the processor last."""
    kind, _, number = device.partition(":")
    if kind == "cuda" and CUDA in available:
        return [(CUDA, {"device_id": int(number or 0)}), CPU]
    return [CPU]


def open_session(model: Path | bytes, device: str, path: Path) -> Any:
    """An `InferenceSession` of a file, or of its content, on the device, or where onnxruntime lacks it on the
    processor. `path` is for messages.

    Raises:
        UsageError: onnxruntime cannot run the file.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = providers(device, tuple(onnxruntime.get_available_providers()))
    preload = getattr(onnxruntime, "preload_dlls", None)
    if len(wanted) > 1 and preload is not None:
        with redirect_stdout(io.StringIO()):  # it prints what it does not find
            preload()  # CUDA's libraries, which torch's wheel brought
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=wanted)
    except errors() as error:
        raise refused(path, error) from None
    return session


@cache
def errors() -> tuple[type[Exception], ...]:
    """What running a network raises: onnxruntime's classes, one for each code without one in common, and
    what numpy says of answers whose shapes do not go together."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*found, RuntimeError, ValueError, IndexError)


def refused(path: Path, error: Exception) -> UsageError:
    """onnxruntime's reason, in one line."""
    said = " ".join(str(error).split())[:200]
    return UsageError(
        f"{path} cannot be run: {said}", hint="Get the file again, or name another. See: erc models list"
    )


def device_of(session: Any, wanted: str) -> str:
    """Where a session runs: the device that was wanted, or `cpu`."""
    return wanted if wanted.startswith("cuda") and CUDA in session.get_providers() else "cpu"
