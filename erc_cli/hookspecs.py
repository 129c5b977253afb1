"""Every hook. A plugin implements any of them with `@hookimpl` and returns small records.

Hooks are called at start-up: they must not import torch, numpy or another heavy library.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from erc_cli.specs import (
    DatasetSpec,
    ExtractorSpec,
    FusionSpec,
    PresetSpec,
    ReaderSpec,
    TranscriberSpec,
    WriterSpec,
)

PROJECT = "erc"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def erc_extractors() -> Sequence[ExtractorSpec]:  # type: ignore[empty-body]
    """Extractors: branches that turn words, sound or pictures into features."""


@hookspec
def erc_fusions() -> Sequence[FusionSpec]:  # type: ignore[empty-body]
    """Fusions: networks or rules that turn the branches' features into probabilities."""


@hookspec
def erc_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets that `erc train` and `erc evaluate` can read."""


@hookspec
def erc_readers() -> Sequence[ReaderSpec]:  # type: ignore[empty-body]
    """Transcript formats that `--transcript` understands."""


@hookspec
def erc_transcribers() -> Sequence[TranscriberSpec]:  # type: ignore[empty-body]
    """Transcribers: from a recording's sound to utterances, for `--transcriber`."""


@hookspec
def erc_writers() -> Sequence[WriterSpec]:  # type: ignore[empty-body]
    """Result formats that `-o` can write, chosen by extension."""


@hookspec
def erc_presets() -> Sequence[PresetSpec]:  # type: ignore[empty-body]
    """Presets: YAML files or folders of trained presets."""
