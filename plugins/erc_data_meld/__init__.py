"""MELD: dialogues of the series Friends, seven emotions (Poria et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.types import Dataset, DatasetSpec


def open_meld(path: Path) -> Dataset:
    """The folder with `{train,dev,test}_sent_emo.csv`; `prosody/` beside them is used if there."""
    from erc_data_meld.meld import Meld

    return Meld(path)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `meld`."""
    return [
        DatasetSpec(
            name="meld",
            summary="MELD: 1,433 dialogues of Friends, seven emotions, three splits",
            open=open_meld,
            licence="GPL-3.0 (annotations)",
        )
    ]
