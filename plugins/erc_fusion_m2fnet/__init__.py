"""`m2fnet` and `concat`: networks over the dialogue, M2FNet's fusion and its control without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.specs import FusionSpec
from erc_cli.types import Fusion
from erc_fusion_m2fnet.settings import (
    ConcatJointSettings,
    ConcatSettings,
    M2FNetJointSettings,
    M2FNetSettings,
    joint_with,
    train_with,
)


def build_m2fnet(*, weights: Path, window: Annotated[int, Between(2)] = 128, device: str = "cpu") -> Fusion:
    """The trained network. Dialogues of more than `window` utterances are read in overlapping parts."""
    from erc_fusion_m2fnet.fusion import NetworkFusion

    return NetworkFusion.load(weights, "m2fnet", window=window, device=device)


def build_concat(*, weights: Path, window: Annotated[int, Between(2)] = 128, device: str = "cpu") -> Fusion:
    """The trained network. Dialogues of more than `window` utterances are read in overlapping parts."""
    from erc_fusion_m2fnet.fusion import NetworkFusion

    return NetworkFusion.load(weights, "concat", window=window, device=device)


@hookimpl
def erc_fusions() -> Sequence[FusionSpec]:
    """The fusions `m2fnet` and `concat`; their options are the fields of the settings."""
    return [
        FusionSpec(
            name="m2fnet",
            summary="M2FNet: dialogue encoders and attention with text as query and value",
            build=build_m2fnet,
            train=train_with("m2fnet", M2FNetSettings),
            joint=joint_with("m2fnet", M2FNetJointSettings),
        ),
        FusionSpec(
            name="concat",
            summary="M2FNet's control: dialogue encoders, modalities side by side, no fusion module",
            build=build_concat,
            train=train_with("concat", ConcatSettings),
            joint=joint_with("concat", ConcatJointSettings),
        ),
    ]
