"""Any table of utterances as a data set: CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Dataset
from erc_cli.specs import DatasetSpec


def open_manifest(
    path: Path,
    *,
    columns: dict[str, str] | None = None,
    labels: dict[str, str | None] | None = None,
    classes: Sequence[str] = (),
    audio: Sequence[str] = (),
    visual: Sequence[str] = (),
) -> Dataset:
    """A table with split, dialogue, turn or start, speaker, text and emotion; optional id, media, end.

    `columns`: our name of a column -> the table's. `labels`: the table's word -> the label it is to
    have, null to leave it unlabelled. `classes`: the labels in their order. `audio`, `visual`:
    columns of numbers that are ready features, also as patterns such as `mel_*`.
    """
    from erc_data_manifest.manifest import Manifest, Settings

    return Manifest(path, Settings(columns or {}, labels or {}, tuple(classes), tuple(audio), tuple(visual)))


@hookimpl
def erc_datasets() -> Sequence[DatasetSpec]:
    """The data set `manifest`."""
    return [
        DatasetSpec(
            name="manifest",
            summary="any table of utterances: CSV, TSV, JSON lines, Parquet",
            open=open_manifest,
            extra="parquet",
        )
    ]
