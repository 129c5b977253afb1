"""Makes `weights/mtcnn.safetensors` from the pip package `mtcnn` 1.0.0 (MIT, LICENSE.mtcnn).

    pip download --no-deps mtcnn==1.0.0 && pip install joblib lz4
    python -m erc_visual_faces.convert_mtcnn mtcnn-1.0.0-py3-none-any.whl mtcnn.safetensors

The package keeps each network as a joblib list of arrays in Keras' order: for every layer kernel,
bias and, after it, the PReLU slopes. Kernels of convolutions are [height, width, in, out], those of
dense layers [in, out], slopes [1, 1, channels]. The heads come as box, (landmarks,) face. Our
modules name their layers in the same order, so the lists and the state dict go in step. Loading a
joblib file runs code from it: this is for the package's own wheel, whose hash is checked here.
Never imported at run time.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from erc_visual_faces.mtcnn import Networks

WHEEL_SHA256 = "0a96b4868e56db9ae984449519642be6dba03240e608a67e928ebb47833e9144"


def as_torch(array: Any) -> torch.Tensor:
    """A Keras array [..] in the layout of torch."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return torch.from_numpy(array.reshape(-1) if axes is None else array.transpose(axes)).contiguous()


def convert(wheel: Path) -> dict[str, torch.Tensor]:
    """The state dict of `Networks` from the wheel.

    Raises:
        ValueError: the wheel is another one, or its arrays do not fit.
    """
    import joblib

    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise ValueError(f"{wheel} is not mtcnn-1.0.0-py3-none-any.whl")
    names = list(Networks().state_dict())
    state: dict[str, torch.Tensor] = {}
    with zipfile.ZipFile(wheel) as archive:
        for net in ("pnet", "rnet", "onet"):
            arrays = joblib.load(io.BytesIO(archive.read(f"mtcnn/assets/weights/{net}.lz4")))
            mine = [name for name in names if name.startswith(net)]
            state |= zip(mine, map(as_torch, arrays), strict=True)
    Networks().load_state_dict(state)
    return state


if __name__ == "__main__":
    from safetensors.torch import save_file

    source = "pip package mtcnn 1.0.0, Copyright (c) 2019-2024 Iván de Paz Centeno"
    save_file(convert(Path(sys.argv[1])), sys.argv[2], {"licence": "MIT", "source": source})
