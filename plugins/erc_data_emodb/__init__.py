"""EmoDB, the Berlin database of emotional speech: ten actors, seven emotions (Burkhardt et al. 2005)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_emodb(path: Path, *, fold: Literal[0, 1, 2, 3, 4] = 0) -> Dataset:
    """The folder with the clips (`03a01Fa.wav`), or the one that holds it as `wav`.

    `fold`: which two speakers, a man and a woman, are the test split; dev is the next two.
    """
    from erc_data_emodb.emodb import EmoDb

    return EmoDb(path, fold=fold)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `emodb`."""
    return [
        DatasetSpec(
            name="emodb",
            summary="EmoDB: 535 acted German clips, ten speakers, seven emotions with boredom",
            open=open_emodb,
            licence="free with citation",
        )
    ]
