"""MELD: dialogues of the series Friends, seven emotions (Poria et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_meld(path: Path, *, clips: Path | None = None, realignment: Path | None = None) -> Dataset:
    """The folder with `{train,dev,test}_sent_emo.csv`; `prosody/` beside them is used if there.

    `clips`: the folder of the released `train_splits`, `dev_splits_complete` and
    `output_repeated_splits_test`; without it they are looked for in and beside the folder.
    `realignment`: MELD-FAIR's table of corrected times.
    """
    from erc_data_meld.meld import Meld

    return Meld(path, clips, realignment)


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
