"""RAVDESS: two sentences by 24 actors, eight emotions (Livingstone and Russo 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_ravdess(
    path: Path,
    *,
    fold: Literal[0, 1, 2, 3, 4] = 0,
    modality: Literal["any", "av", "video", "audio"] = "any",
) -> Dataset:
    """The folder with the clips, in folders by actor or not; songs are left out.

    `fold`: which group of actors is the test split; dev is the next one, train the rest.
    `modality`: clips with sound and picture, picture only, sound only; `any` takes of these the
    first that is there.
    """
    from erc_data_ravdess.ravdess import Ravdess

    return Ravdess(path, fold=fold, modality=modality)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `ravdess`."""
    return [
        DatasetSpec(
            name="ravdess",
            summary="RAVDESS: 1,440 acted clips of speech, 24 actors, eight emotions",
            open=open_ravdess,
            licence="CC BY-NC-SA 4.0",
        )
    ]
