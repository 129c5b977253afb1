"""`columns-audio`, `columns-visual`: features that a data set brings ready, as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.options import Between
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality

_SUMMARY = "ready {} features from the columns of a data set; has nothing to say about a recording"


def build(
    *,
    dim: Annotated[int, Between(1)],
    normalise: Literal["none", "speaker", "dialogue"] = "none",
) -> Extractor:
    """`dim` columns as they are, or less the mean of the speaker's or the dialogue's utterances, divided
    by their deviation."""
    from erc_audio_columns.columns import ColumnsExtractor

    return ColumnsExtractor(dim, normalise)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """The extractors `columns-audio` and `columns-visual`."""
    return [
        ExtractorSpec(f"columns-{modality}", modality, _SUMMARY.format(modality), build, licence="no weights")
        for modality in (Modality.AUDIO, Modality.VISUAL)
    ]
