"""Reads EmoryNLP's tables, as the MELD project passes them on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from erc_cli.datafile import Row, another_version, check_split, digest, label_indices, read_table, seconds
from erc_cli.errors import UsageError
from erc_cli.learning import Split
from erc_cli.types import Conversation, Utterance

LABELS = ("neutral", "joyful", "peaceful", "powerful", "scared", "mad", "sad")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode")
TIMES = ("Start_Time", "End_Time")
UTTERANCES = {"train": 7551, "dev": 954, "test": 984}
_NAME = re.compile(r"""'([^']*)'|"([^"]*)\"""")


class EmoryNlp:
    """EmoryNLP on disk.

    Raises:
        UsageError: the folder does not hold the three tables.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        missing = [name for name in self.splits if not self._table(name).is_file()]
        if missing:
            names = ", ".join(self._table(name).name for name in missing)
            raise UsageError(
                f"{folder}: not EmoryNLP's folder, {names} not found.",
                hint="Give the folder that holds emorynlp_train_final.csv: --data emorynlp:data/emorynlp",
            )

    def _table(self, split: str) -> Path:
        return self.folder / f"emorynlp_{split}_final.csv"

    def read(self, split: str) -> Split:
        """One split: a conversation per scene; times are those of the episode."""
        check_split("emorynlp", split, self.splits)
        table = self._table(split)
        rows = read_table(table, (*COLUMNS, *TIMES), filled=("Scene_ID", "Utterance_ID"))
        labels = label_indices(table, [row["Emotion"].strip().lower() for row in rows], LABELS)
        scenes: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            name = f"s{row['Season']}e{row['Episode']}c{row['Scene_ID']}"
            scenes.setdefault(name, []).append(i)
        return Split(
            name=split,
            labels=LABELS,
            sha256=digest([table]),
            conversations=tuple(
                Conversation(tuple(_utterance(rows, i, table) for i in numbers), id=name)
                for name, numbers in scenes.items()
            ),
            targets=tuple(tuple(labels[i] for i in numbers) for numbers in scenes.values()),
            warnings=another_version(len(rows), UTTERANCES[split], "utterances"),
        )


def _utterance(rows: Sequence[Row], i: int, table: Path) -> Utterance:
    row = rows[i]
    start, end = (seconds(row[name], f"{table}: row {i + 1}: {name}") for name in TIMES)
    return Utterance(start, end, row["Utterance"], speaker(row["Speaker"]))


def speaker(cell: str) -> str:
    """The table writes a list, `['Monica Geller', 'Phoebe Buffay']`: these say it together."""
    names = [one or other for one, other in _NAME.findall(cell)]
    return " and ".join(names) if names else cell
