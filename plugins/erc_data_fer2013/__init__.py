"""FER2013: 35,887 grey pictures of faces, seven emotions (Goodfellow et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_fer2013(path: Path) -> Dataset:
    """The folder with `fer2013.npz`, or that file."""
    from erc_data_fer2013.fer2013 import Fer2013

    return Fer2013(path)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `fer2013`."""
    return [
        DatasetSpec(
            name="fer2013",
            summary="FER2013: 35,887 grey 48x48 pictures of faces, MELD's seven emotions",
            open=open_fer2013,
            licence="research use",
        )
    ]
