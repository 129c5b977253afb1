"""GoEmotions: 54,263 comments from Reddit (Demszky et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_goemotions(path: Path) -> Dataset:
    """The folder with `{train,dev,test}.tsv` and `labels.txt` (Ekman) or `emotions.txt` (all 28)."""
    from erc_data_goemotions.goemotions import GoEmotions

    return GoEmotions(path)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `goemotions`."""
    return [
        DatasetSpec(
            name="goemotions",
            summary="GoEmotions: 54,263 comments, several emotions each, in MELD's seven classes",
            open=open_goemotions,
            licence="Apache-2.0",
        )
    ]
