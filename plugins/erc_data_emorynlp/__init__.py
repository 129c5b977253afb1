"""EmoryNLP: scenes of the series Friends, seven emotions (Zahiri and Choi 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_emorynlp(path: Path) -> Dataset:
    """The folder with `emorynlp_{train,dev,test}_final.csv`."""
    from erc_data_emorynlp.emorynlp import EmoryNlp

    return EmoryNlp(path)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `emorynlp`."""
    return [
        DatasetSpec(
            name="emorynlp",
            summary="EmoryNLP: 827 scenes of Friends, seven emotions, words only",
            open=open_emorynlp,
            licence="Apache-2.0 (annotations)",
        )
    ]
