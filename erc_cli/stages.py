"""What `erc train` itself reads of a stage's options; the rest belongs to the plugin's `train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from erc_cli import options
from erc_cli.options import Between
from erc_cli.preset_file import Preset

FUSION = "fusion"


def fusion_stage(*, folds: Annotated[int, Between(0)] = 5, joint: bool = False) -> None:
    """`folds`: the parts that the training dialogues are dealt into, so that no branch gives features
    of dialogues it was fitted on (0: it does). `joint`: fit the branches together with the fusion."""


def branch_stage(*, frozen: bool = False) -> None:
    """`frozen`: the branch stays as the weights that the preset names for it, and is not fitted. Only for
    data that it was not fitted to: its features of the training dialogues are not made out of fold."""


@dataclass(frozen=True, slots=True)
class StageOptions:
    """`data`: the data sets that the stage learns from, empty for all that are given."""

    data: tuple[str, ...] = ()
    folds: int = 5
    joint: bool = False
    frozen: bool = False


def core_schema(stage: str) -> Callable[..., None]:
    """A function whose signature is the schema of the core's own options of a stage."""
    return fusion_stage if stage == FUSION else branch_stage


def split_options(
    stage: str, values: Mapping[str, Any], train: Callable[..., object]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a stage: the core's, and those of the plugin's `train`; `data` is in neither unless
    `train` asks for it."""
    theirs, ours = options.schema(train), options.schema(core_schema(stage))
    core = {k: v for k, v in values.items() if k in ours and k not in theirs}
    rest = {k: v for k, v in values.items() if k not in core and (k != "data" or k in theirs)}
    return core, rest


def stage_options(preset: Preset, stage: str) -> StageOptions:
    """The core's options of a stage, with their defaults.

    The preset is known to be right, see `preset_check`.
    """
    values = preset.train.get(stage, {})
    ours = options.schema(core_schema(stage))
    bound, _ = options.bind(core_schema(stage), {k: v for k, v in values.items() if k in ours}, preset.folder)
    return StageOptions(data=tuple(values.get("data") or ()), **bound)
