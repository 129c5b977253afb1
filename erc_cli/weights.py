"""Weights on disk: safetensors with a schema in the metadata, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError
from erc_cli.files import atomic_write

#: safetensors writes its metadata in no fixed order: one key keeps equal weights equal bytes
KEY = "erc"


@dataclass(frozen=True, slots=True)
class Weights:
    """Arrays by name, as numpy, and what the file says about them."""

    tensors: Mapping[str, Any]
    metadata: Mapping[str, str]


def read_weights(path: Path, schema: str) -> Weights:
    """The file's arrays.

    Raises:
        ErcError: the file is not safetensors, or was written for another `schema`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        stream: Any = safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise ErcError(f"{path}: not a safetensors file ({error}).", hint="Get the preset anew.") from None
    with stream:
        metadata = json.loads((stream.metadata() or {}).get(KEY, "{}"))
        found = metadata.get("schema", "unmarked")
        if found != schema:
            raise ErcError(
                f"{path}: holds {found} weights, expected {schema}.", hint="Check `weights:` in the preset."
            )
        names = list(stream.keys())
        return Weights({name: stream.get_tensor(name) for name in names}, metadata)


def write_weights(
    path: Path, tensors: Mapping[str, Any], schema: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write numpy arrays, whole or not at all, readable as the user's other files are."""
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    about = json.dumps({"schema": schema, **(metadata or {})}, sort_keys=True)
    content = save(arrays, metadata={KEY: about})
    with atomic_write(path, force=True) as draft:
        draft.write_bytes(content)
