"""What the tests of imported features share: a split of five utterances, and rows for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erc_cli.feature_import import Order, Target
from erc_cli.learning import Split
from erc_cli.types import Conversation, Modality, Utterance

IDS = (("dia0_utt0", "dia0_utt2"), ("dia1_utt0",), ("dia7_utt0", "dia7_utt1"))
FLAT = [name for row in IDS for name in row]
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


def split_of(name: str = "dev") -> Split:
    talks = tuple(
        Conversation(tuple(Utterance(0, 1, utterance) for utterance in row), id=row[0].partition("_")[0])
        for row in IDS
    )
    return Split(name, ("a", "b"), "5" * 64, talks, tuple((0,) * len(row) for row in IDS), ids=IDS)


TARGET = Target("meld", split_of())
ORDER = Order("mine", Modality.AUDIO)
WANTED = ROWS.tolist()


def table(path: Path, *lines: str, mark: str = ",") -> Path:
    path.write_text("\n".join(line.replace(",", mark) for line in lines) + "\n", encoding="utf-8")
    return path
