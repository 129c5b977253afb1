"""`imported-text`, `imported-audio`, `imported-visual`: features that were computed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Extractor, Modality


def build_text(*, features: Path, name: str = "") -> Extractor:
    """Text features from a folder that `erc features import` or `erc extract` wrote.

    `name`: which of them, where the folder holds several of one modality (`--as` of the import).
    """
    from erc_features_imported.imported import Imported

    return Imported(Modality.TEXT, features, name)


def build_audio(*, features: Path, name: str = "") -> Extractor:
    """Audio features; the options are those of `imported-text`."""
    from erc_features_imported.imported import Imported

    return Imported(Modality.AUDIO, features, name)


def build_visual(*, features: Path, name: str = "") -> Extractor:
    """Visual features; the options are those of `imported-text`."""
    from erc_features_imported.imported import Imported

    return Imported(Modality.VISUAL, features, name)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """One extractor for each modality."""
    builds: dict[Modality, Callable[..., Extractor]] = {
        Modality.TEXT: build_text,
        Modality.AUDIO: build_audio,
        Modality.VISUAL: build_visual,
    }
    return [
        ExtractorSpec(
            name=f"imported-{modality}",
            modality=modality,
            summary=f"ready {modality} features of a data set, from a folder of feature files",
            build=build,
            licence="that of whoever computed the features",
            bound_to_data=True,
        )
        for modality, build in builds.items()
    ]
