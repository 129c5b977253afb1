"""Reads FER2013 as numpy arrays of pictures and labels."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.datafile import SEVEN, check_split
from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Split
from erc_cli.types import Notice

if TYPE_CHECKING:
    from erc_cli.types import IntArray

LABELS = SEVEN
SAME = {"angry": "anger", "happy": "joy", "sad": "sadness"}
PARTS = {"train": "train", "dev": "validation", "test": "test"}


class Fer2013:
    """FER2013 on disk: `fer2013.npz` with `train_images`, `train_labels`, … and `label_names`.

    Raises:
        UsageError: the file is not there.
    """

    splits = ("train", "dev", "test")

    def __init__(self, path: Path) -> None:
        self.path = path / "fer2013.npz" if path.is_dir() else path
        if not self.path.is_file():
            raise UsageError(
                f"{self.path}: no such file.",
                hint="Give the folder that holds fer2013.npz, e.g. --data fer2013:data/fer2013",
            )

    def read(self, split: str) -> Split:
        """One split, blank pictures left out."""
        check_split("fer2013", split, self.splits)
        part = PARTS[split]
        wanted = (f"{part}_images", f"{part}_labels", "label_names")
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                pictures, targets, names = (archive[name] for name in wanted)
        except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise ErcError(
                f"{self.path}: no readable {', '.join(wanted)} ({error}).", hint="Get the file anew."
            ) from None
        order = _order([str(name) for name in names], self.path)
        blank = np.ptp(pictures.reshape(len(pictures), -1), axis=1) == 0
        digest = hashlib.sha256(pictures.tobytes() + targets.tobytes())
        notes = (Notice("blank_pictures", f"{int(blank.sum())} blank pictures left out"),)
        return Split(
            name=split,
            labels=LABELS,
            sha256=digest.hexdigest(),
            pictures=pictures[~blank],
            picture_targets=order[targets[~blank].astype(np.int64)],
            warnings=notes if blank.any() else (),
        )


def _order(names: list[str], path: Path) -> IntArray:
    """The index in `LABELS` of each of the file's own labels."""
    known = [SAME.get(name, name) for name in names]
    unknown = [name for name in known if name not in LABELS]
    if unknown:
        raise ErcError(f"{path}: unknown labels {', '.join(unknown)}.", hint=f"Known: {', '.join(LABELS)}")
    return np.array([LABELS.index(name) for name in known], dtype=np.int64)
