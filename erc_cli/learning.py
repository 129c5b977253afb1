"""What data sets give, and what training asks of plugins: plain frozen records and protocols."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from erc_cli.types import Conversation, Encoded, Features, Head, Modality, Notice

if TYPE_CHECKING:
    import torch
    from torch import nn

    from erc_cli.types import BoolArray, ByteArray, FloatArray, IntArray


# --- data sets -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Where the sound and pictures of one utterance are: seconds `start` to `end` of a media file.

    `end` None: to the file's end.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a data set: labelled conversations, or labelled face pictures.

    `targets[i]` holds the label index of each utterance of `conversations[i]` (-1: unlabelled).
    `shares` float32 [n, classes], over all utterances in order: where an utterance may carry several
    labels, the share of each.
    `ready[name][i]` are the rows that extractor `name` would have encoded for conversation i.
    `sources[i]` says where the media of conversation i are, None for what is missing or corrupt.
    `ids[i]` are the data set's own names of the utterances of conversation i, such as `dia3_utt0`, each
    once in the split; what others computed is matched by them.
    `pictures` uint8 [n, height, width] with `picture_targets` [n].
    `sha256` is over the files that the split was read from, media left out.
    """

    name: str
    labels: tuple[str, ...]
    sha256: str
    conversations: tuple[Conversation, ...] = ()
    targets: tuple[tuple[int, ...], ...] = ()
    shares: FloatArray | None = None
    ready: Mapping[str, tuple[tuple[Encoded | None, ...], ...]] = field(default_factory=dict)
    sources: tuple[tuple[Source | None, ...], ...] = ()
    ids: tuple[tuple[str, ...], ...] = ()
    pictures: ByteArray | None = None
    picture_targets: IntArray | None = None
    warnings: tuple[Notice, ...] = ()


class Dataset(Protocol):
    """A data set on disk, its path checked; splits are read when asked for."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""

    def read(self, split: str) -> Split:
        """One split.

        Raises:
            ErcError: a file is missing or damaged.
        """


@dataclass(frozen=True, slots=True)
class Labelled:
    """Features of a split with their labels: row i of every array is the same utterance.

    `targets` [n], -1 where there is no label; `dialogues` [n] numbers the dialogue of each row, whose
    words are in `conversations`; `features` by modality.
    """

    targets: IntArray
    dialogues: IntArray
    conversations: tuple[Conversation, ...]
    features: Mapping[Modality, Features]

    @property
    def known(self) -> BoolArray:
        """Which rows have a label, bool [n]."""
        known: BoolArray = self.targets >= 0
        return known


# --- training ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of long work: `done` of `total` steps of `stage`, and what to show beside it."""

    stage: str
    done: int
    total: int
    note: str = ""


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What a branch's `train` is given.

    `read(data_set, split)` reads a split by the data set's name; the test split is refused. The
    labels are the preset's, in its order, wherever the data set has the same ones; otherwise they
    are the data set's own (`Split.labels`).
    The plugin writes into `folder`, and resumes from what it finds there; what does not depend on
    `seed` may be kept in `shared`, which the runs of several seeds have in common. `device` is where
    its networks are to be fitted, `precision` (fp32, bf16, fp16) what they reckon in meanwhile; who
    heeds them says so in its spec. `fold`: the branch is one of several that only give out-of-fold features
    (see `erc_cli.crossfit`), and may be a cheaper one.
    """

    read: Callable[[str, str], Split]
    data: tuple[str, ...]
    labels: tuple[str, ...]
    folder: Path
    seed: int
    report: Report
    shared: Path
    device: str = "cpu"
    precision: str = "fp32"
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """What a plugin's `train` returns: options to build with, and figures on the dev split."""

    options: Mapping[str, Any]
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FusionJob:
    """What a fusion's `train` is given.

    `data` says which modalities each data set has; `labelled(data_set, split, modalities)` computes
    those features, from the train and dev splits only. Features of the train split that a branch
    was fitted on are out of fold where the preset asks for it.
    `heads` holds each branch's own classifier.
    """

    data: Mapping[str, frozenset[Modality]]
    labelled: Callable[[str, str, Collection[Modality]], Labelled]
    heads: Mapping[Modality, Head | None]
    labels: tuple[str, ...]
    folder: Path
    seed: int
    report: Report


class JointBranch(Protocol):
    """A branch that is fitted together with the fusion; tensors may cross this border."""

    @property
    def network(self) -> nn.Module:
        """What has the weights; its mode (train, eval) is set by the caller."""

    @property
    def dim(self) -> int:
        """Width d of the features."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer, each with its own `lr`."""

    def inputs(self, conversation: Conversation) -> object:
        """What `forward` wants of one conversation; made once, kept in memory."""

    def forward(self, batch: Sequence[object]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [n, d] and the own head's logits [n, classes] of several conversations' utterances,
        one after the other."""

    def save(self, folder: Path, prior: FloatArray) -> Mapping[str, Any]:
        """Write the weights into `folder`; return the options to build the extractor with."""


@dataclass(frozen=True, slots=True)
class JointJob:
    """What a fusion's `joint` is given: the fusion's job, and the branches to fit with it.

    The job's `data` and `labelled` speak of the other branches; `read` is that of a `TrainJob`.
    """

    fusion: FusionJob
    branches: Mapping[Modality, JointBranch]
    read: Callable[[str, str], Split]
