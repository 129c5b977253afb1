"""IEMOCAP: dyadic scenes by ten actors, six emotions (Busso et al. 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec

Session = Literal["session1", "session2", "session3", "session4", "session5"]


def open_iemocap(
    path: Path,
    *,
    test: Session = "session5",
    unused: Sequence[Session] = ("session5",),
    media: Literal["wav", "avi"] = "wav",
    unlabelled: Literal["keep", "drop"] = "keep",
) -> Dataset:
    """The released folder (with `Session1` and so on), or a table of its utterances.

    `test`: `session5` is the published split. With another one dev is taken from the sessions that are
    left, and those of `unused` are not read. `media`: the sound, or the video of both speakers.
    `unlabelled`: what to do with utterances of another emotion or none, which are context to the others.
    """
    from erc_data_iemocap.iemocap import Iemocap

    return Iemocap(path, test=test, unused=unused, media=media, unlabelled=unlabelled)


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `iemocap`."""
    return [
        DatasetSpec(
            name="iemocap",
            summary="IEMOCAP: 151 acted dialogues of two, six emotions, five sessions",
            open=open_iemocap,
            licence="IEMOCAP licence of USC (research, on request)",
        )
    ]
