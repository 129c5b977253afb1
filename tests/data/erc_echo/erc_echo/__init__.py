"""A plugin for erc: the front page has the hooks and the options, the work is in `words.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ExtractorSpec, PresetSpec
from erc_cli.types import Extractor, Modality


def build(*, scale: float = 1.0) -> Extractor:
    """The extractor; imports the working part only now."""
    from erc_echo.words import Words

    return Words(scale)


@hookimpl
def erc_extractors() -> Sequence[ExtractorSpec]:
    """One extractor."""
    return [ExtractorSpec("echo", Modality.TEXT, "counts the words", build, licence="Apache-2.0")]


@hookimpl
def erc_presets() -> Sequence[PresetSpec]:
    """One preset, which uses it."""
    return [PresetSpec("echo-only", Path(__file__).with_name("echo-only.yaml"))]
