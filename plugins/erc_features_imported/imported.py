"""Ready features, matched to a data set's utterances by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erc_cli.errors import ErcError, UsageError
from erc_cli.feature_file import SUFFIX, FeatureFile, read_features
from erc_cli.learning import Split
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Modality, Status, Utterance, Wish


class Imported:
    """Rows of the feature files of one modality in a folder; nothing is computed.

    Raises:
        UsageError: the folder holds none of that modality and name, or several kinds.
        ErcError: a file is damaged, or files differ in width.
    """

    def __init__(self, modality: Modality, folder: Path, name: str) -> None:
        self._modality, self._folder = modality, folder
        self._files = _files(folder, modality, name)
        widths = {file.features.values.shape[1] for file in self._files}
        if len(widths) > 1:
            raise ErcError(
                f"The {modality} features in {folder} have different widths: {sorted(widths)}.",
                hint="Import them again, each kind under its own name: erc features import … --as NAME",
            )
        self._dim = int(widths.pop())

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._dim

    @property
    def head(self) -> Head | None:
        """None: only features were imported."""
        return None

    def wish(self, utterance: Utterance) -> Wish:
        """Nothing of the media."""
        return Wish()

    def encode(self, clip: Clip) -> Encoded:
        """Nothing can be encoded."""
        return Encoded(None, Status.UNREADABLE)

    def rows_for(
        self, split: Split, ids: tuple[tuple[str, ...], ...]
    ) -> tuple[tuple[Encoded | None, ...], ...]:
        """Rows of a split's conversations, from the file made for that split; `ids` names the utterances.

        Raises:
            UsageError: no file is for that split, or none of its utterances is in there.
        """
        names = {name for row in ids for name in row}
        candidates = [f for f in self._files if f.more.get("split") == split.name]
        scored = [
            (f.more.get("data_sha256") == split.sha256, len(names & set(f.utterances)), f) for f in candidates
        ]
        best = max(scored, key=lambda entry: entry[:2], default=None)
        if best is None or not best[1]:
            raise UsageError(
                f"{self._folder} holds no {self._modality} features of this data set's {split.name} split.",
                hint=f"Import them: erc features import FILE --data NAME:PATH --split {split.name}"
                f" --modality {self._modality} --as NAME -o '{self._folder}'",
            )
        file = best[2]
        rows = {name: i for i, name in enumerate(file.utterances)}
        return tuple(tuple(_row(file, rows.get(name)) for name in conversation) for conversation in ids)

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        """The rows as they are.

        Raises:
            UsageError: nothing was imported for these utterances, as with a new recording.
        """
        if rows and all(row is None for row in rows):
            raise UsageError(
                f"Imported {self._modality} features are those of a data set: this conversation has none.",
                hint=f"Leave them out with --drop {self._modality}.",
            )
        values = np.zeros((len(rows), self._dim), np.float32)
        status = []
        for i, row in enumerate(rows):
            if row is not None and row.values is not None:
                values[i] = row.values
                status.append(Status.OK)
            else:
                known = row is not None and row.status is not Status.OK
                status.append(row.status if row is not None and known else Status.UNREADABLE)
        return Features(values, np.array([s is Status.OK for s in status], np.bool_), tuple(status))


def _row(file: FeatureFile, place: int | None) -> Encoded:
    if place is None:
        return Encoded(None, Status.UNREADABLE)
    present = file.features.present[place]
    return Encoded(file.features.values[place] if present else None, file.features.status[place])


def _files(folder: Path, modality: Modality, name: str) -> list[FeatureFile]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of features.", hint="Make one: erc features import …")
    found = [
        file for path in sorted(folder.glob(f"*{SUFFIX}")) if (file := read_features(path)).more.get("split")
    ]
    fitting = [file for file in found if file.modality is modality and name in ("", file.plugin)]
    kinds = sorted({file.plugin for file in fitting})
    if len(kinds) > 1:
        raise UsageError(
            f"{folder} holds several kinds of {modality} features: {', '.join(kinds)}.",
            hint=f"Choose one in the preset, for instance: name: {kinds[0]}",
        )
    if not fitting:
        there = sorted({f"{file.plugin} ({file.modality})" for file in found})
        called = f" called {name!r}" if name else ""
        rest = f" It has {', '.join(there)}." if there else ""
        raise UsageError(
            f"{folder} holds no {modality} features{called} for a data set's split.{rest}",
            hint="Make them: erc features import FILE --data NAME:PATH --split SPLIT --as NAME -o FOLDER",
        )
    return fitting
