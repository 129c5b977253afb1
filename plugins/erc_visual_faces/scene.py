"""M2FNet's dual branch: the scene stream beside the face stream, and how an absent one is written.

With the scene on, a feature is, for embeddings of width d,

    [ scene: d values | face: d values | scene there: 0 or 1 | face there: 0 or 1 ]

A stream that is not there is d zeros and a flag of 0, so that zeros are never taken for an embedding.
An utterance whose frames show no face has its scene, and a face flag of 0; without any frame it has no
feature at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from erc_cli.types import Head
from erc_visual_faces.faces import LUMA

if TYPE_CHECKING:
    from erc_cli.types import ByteArray, FloatArray

SIDE = 96  # of the picture of a whole frame, twice that of a face
FLAGS = 2


def whole_frame(rgb: ByteArray) -> ByteArray:
    """uint8 frame [h, w, 3] -> grey uint8 [96, 96], the whole of it (its proportions are lost)."""
    grey = torch.from_numpy(rgb.astype(np.float32) @ np.array(LUMA, dtype=np.float32))
    small = interpolate(grey[None, None], size=(SIDE, SIDE), mode="bilinear", antialias=True)
    return small[0, 0].round().clamp(0, 255).byte().numpy()


def joined(scene: FloatArray | None, face: FloatArray | None, dim: int) -> FloatArray:
    """Both streams' embeddings [..., dim], None for one that is not there -> [..., 2 dim + 2]."""
    shape = next(part.shape[:-1] for part in (scene, face) if part is not None)
    parts = [np.zeros((*shape, dim), np.float32) if part is None else part for part in (scene, face)]
    flags = [np.full((*shape, 1), part is not None, np.float32) for part in (scene, face)]
    return np.concatenate([*parts, *flags], axis=-1).astype(np.float32)


def joined_head(head: Head) -> Head:
    """The face's classifier on joined features: of a face what it says, of no face the prior."""
    classes, dim = head.weight.shape
    prior = np.log(np.maximum(head.prior, 1e-6)).astype(np.float32)
    nothing = np.zeros((classes, dim), np.float32)
    flags = np.stack([np.zeros(classes, np.float32), head.bias - prior], 1)
    weight = np.concatenate([nothing, head.weight, flags], 1)
    return Head(weight.astype(np.float32), prior, head.prior)
