"""Reads GoEmotions in the grouping after Ekman: six emotions and neutral."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erc_cli.datafile import SEVEN, WHOLE, another_version, check_split, digest, read_text
from erc_cli.errors import UsageError, nearest
from erc_cli.learning import Split
from erc_cli.types import Conversation, Utterance

COMMENTS = {"train": 43410, "dev": 5426, "test": 5427}
#: the grouping of the paper's authors (their table 5, and `ekman_mapping.json`)
EKMAN = {
    "anger": ("annoyance", "disapproval"),
    "disgust": (),
    "fear": ("nervousness",),
    "joy": (
        *("amusement", "approval", "excitement", "gratitude", "love", "optimism", "relief", "pride"),
        *("admiration", "desire", "caring"),
    ),
    "sadness": ("disappointment", "embarrassment", "grief", "remorse"),
    "surprise": ("realization", "confusion", "curiosity"),
    "neutral": (),
}
GROUP = {fine: group for group, members in EKMAN.items() for fine in (group, *members)}


class GoEmotions:
    """GoEmotions on disk.

    Raises:
        UsageError: the folder does not hold the tables and the list of labels.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        missing = [f"{name}.tsv" for name in self.splits if not (folder / f"{name}.tsv").is_file()]
        lists = [folder / name for name in ("labels.txt", "emotions.txt") if (folder / name).is_file()]
        if missing or not lists:
            names = ", ".join([*missing, *([] if lists else ["labels.txt or emotions.txt"])])
            raise UsageError(
                f"{folder}: not GoEmotions' folder, {names} not found.",
                hint="Give the folder that holds train.tsv: --data goemotions:data/goemotions",
            )
        self._list = lists[0]
        names_ = [line.strip() for line in read_text(self._list).splitlines() if line.strip()]
        for line, name in enumerate(names_, start=1):
            if name not in GROUP:
                raise UsageError(
                    f"{self._list}: line {line}: unknown emotion {name!r}.{nearest(name, GROUP)}",
                    hint="Is it the list of GoEmotions' own labels? Get it anew.",
                )
        self._groups = [SEVEN.index(GROUP[name]) for name in names_]

    def read(self, split: str) -> Split:
        """One split: every comment is a conversation of one utterance; several labels share it evenly.

        The target is the label, or the first of several.
        """
        check_split("goemotions", split, self.splits)
        path = self.folder / f"{split}.tsv"
        conversations, targets = [], []
        lines = read_text(path).split("\n")  # other line ends occur inside the comments
        lines = lines[:-1] if lines[-1] == "" else lines
        shares = np.zeros((len(lines), len(SEVEN)), np.float32)
        for i, line in enumerate(lines):
            text, labels, name = self._comment(line.removesuffix("\r"), f"{path}: line {i + 1}")
            conversations.append(Conversation((Utterance(0.0, 0.0, text),), id=name))
            targets.append((labels[0],))
            shares[i, labels] = 1 / len(labels)
        return Split(
            name=split,
            labels=SEVEN,
            sha256=digest([path, self._list]),
            conversations=tuple(conversations),
            targets=tuple(targets),
            shares=shares,
            warnings=another_version(len(lines), COMMENTS[split], "comments"),
        )

    def _comment(self, line: str, where: str) -> tuple[str, list[int], str]:
        """Words, classes (each once) and id."""
        cells = line.split("\t")
        if len(cells) != 3:
            raise UsageError(f"{where} is cut short: expected text, labels and id.", hint=WHOLE)
        numbers = cells[1].split(",")
        known = {str(i) for i in range(len(self._groups))}
        wrong = [n for n in numbers if n not in known]
        if wrong:
            last = len(self._groups) - 1
            raise UsageError(
                f"{where}: unknown label {wrong[0]!r}.", hint=f"{self._list.name} has the labels 0 to {last}."
            )
        return cells[0], list(dict.fromkeys(self._groups[int(n)] for n in numbers)), cells[2]
