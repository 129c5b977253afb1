"""The records that plugins register. Imports nothing heavy: every plugin's front page needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from erc_cli.learning import Dataset, JointBranch, Trained
from erc_cli.types import Extractor, Fusion, MediaInfo, Modality, Transcriber, Transcript


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """An extractor plugin. The keyword-only signature of `build` is the schema of its options.

    `needs` names the importable libraries, `extra` the extra of erc-cli that brings them.
    Options annotated `Path` are files, relative to the preset's folder.
    `late` names the options that only `gather` reads: what `encode` gave stays good when they change.
    `bound_to_data`: its features belong to a data set, so there are none for a new recording.
    `train(job, *, option=default, …)` fits the branch; its signature is the schema of
    `train.MODALITY` in a preset. `joint`, with the same signature, gives the branch to be fitted
    together with the fusion. `heeds` names what `train` heeds of the job's `device` and `precision`.
    `own_space`: `train` begins at random, so every fit has coordinates of its own (`erc_cli.alignment`).
    """

    name: str
    modality: Modality
    summary: str
    build: Callable[..., Extractor]
    needs: tuple[str, ...] = ()
    extra: str | None = None
    licence: str = ""
    train: Callable[..., Trained] | None = None
    joint: Callable[..., JointBranch] | None = None
    late: tuple[str, ...] = ()
    bound_to_data: bool = False
    heeds: tuple[str, ...] = ()
    own_space: bool = False


@dataclass(frozen=True, slots=True)
class FusionSpec:
    """A fusion plugin. `requires`: modalities without which it cannot run.

    `train(job, *, option=default, …)` fits it to a `FusionJob`; `joint`, with the same signature,
    to a `JointJob`, branches and fusion together.
    """

    name: str
    summary: str
    build: Callable[..., Fusion]
    requires: frozenset[Modality] = frozenset()
    needs: tuple[str, ...] = ()
    extra: str | None = None
    licence: str = ""
    train: Callable[..., Trained] | None = None
    joint: Callable[..., Trained] | None = None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set plugin: `open(path, *, option=default, …)` checks that the files are there.

    Its signature is the schema of `data.NAME` in a preset.
    """

    name: str
    summary: str
    open: Callable[..., Dataset]
    licence: str = ""
    needs: tuple[str, ...] = ()
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known beside a transcript's file: the medium it belongs to, and columns by name.

    `columns`: start, end, duration, text or speaker -> what the file calls it.
    """

    media: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """A transcript format: `read(path)` never guesses from the name, the caller chose it.

    `extensions` with the dot, lower case. `sniff(text)` says whether text looks like this format.
    `example` is a few lines of it, shown to who named a file without a single cue.
    `read_with(path, reading)`, where there is one, is called instead of `read`: for a format that
    may hold several recordings. `takes_columns`: it heeds `Reading.columns`.
    """

    name: str
    extensions: tuple[str, ...]
    summary: str
    read: Callable[[Path], Transcript]
    sniff: Callable[[str], bool] | None = None
    needs: tuple[str, ...] = ()
    extra: str | None = None
    example: str = ""
    read_with: Callable[[Path, Reading], Transcript] | None = None
    takes_columns: bool = False


@dataclass(frozen=True, slots=True)
class TranscriberSpec:
    """A transcriber plugin: for recordings without a transcript.

    The keyword-only signature of `build` is the schema of its options (`--set transcriber.NAME=VALUE`).
    """

    name: str
    summary: str
    build: Callable[..., Transcriber]
    needs: tuple[str, ...] = ()
    extra: str | None = None
    licence: str = ""


@dataclass(frozen=True, slots=True)
class WriterSpec:
    """A result format: `write(result, path)` writes to a path that is renamed into place after.

    The path is in the folder of the final file. Keyword-only parameters of `write` are options with
    defaults, for who calls it with them, as `erc report` does. `leaves_out`: what of a result the
    format cannot hold, to end the words "Left out: …", said when such a file is written.
    `check(media)`, where there is one, is asked before any work: it raises a `UsageError` if no
    result of that medium (None: of a text alone) can be written.
    """

    name: str
    extensions: tuple[str, ...]
    summary: str
    write: Callable[..., None]
    needs: tuple[str, ...] = ()
    extra: str | None = None
    leaves_out: str = ""
    check: Callable[[MediaInfo | None], None] | None = None


@dataclass(frozen=True, slots=True)
class PresetSpec:
    """A preset: a YAML file, or the folder of a trained preset (with `preset.yaml` inside)."""

    name: str
    path: Path


Spec = ExtractorSpec | FusionSpec | DatasetSpec | ReaderSpec | TranscriberSpec | WriterSpec | PresetSpec
Specs = Iterator[Spec]
