"""Data sets of words only: EmoryNLP and GoEmotions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import UsageError
from erc_data_emorynlp import open_emorynlp
from erc_data_emorynlp.emorynlp import speaker
from erc_data_goemotions import open_goemotions


def test_all_of_emorynlp(shared: Path) -> None:
    data = open_emorynlp(shared / "data" / "emorynlp")
    splits = {name: data.read(name) for name in data.splits}
    assert {n: (len(s.conversations), sum(map(len, s.targets))) for n, s in splits.items()} == {
        "train": (659, 7551),
        "dev": (89, 954),
        "test": (79, 984),
    }
    assert all(not s.warnings for s in splits.values())
    first = splits["dev"].conversations[0]
    assert (first.utterances[0].text, first.utterances[0].speaker) == ("Coffee.", "Rachel Green")
    assert (first.utterances[0].start, first.utterances[0].end) == (3.795, 5.004)
    assert splits["dev"].targets[0][0] == splits["dev"].labels.index("neutral")


def test_several_speakers_of_one_utterance() -> None:
    assert speaker("['Monica Geller', \"Joey's Date\"]") == "Monica Geller and Joey's Date"
    assert speaker("['Ross Geller']") == "Ross Geller"
    assert speaker("All") == "All"


def test_emorynlp_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "emorynlp_train_final.csv").write_text("Utterance\n")
    with pytest.raises(UsageError, match=r"emorynlp_dev_final.csv, emorynlp_test_final.csv not found"):
        open_emorynlp(tmp_path)


def test_all_of_goemotions(shared: Path) -> None:
    data = open_goemotions(shared / "data" / "goemotions")
    dev = data.read("dev")
    assert len(dev.conversations) == 5426
    assert dev.shares is not None
    assert dev.shares.shape == (5426, 7)
    np.testing.assert_allclose(dev.shares.sum(axis=1), 1.0, atol=1e-6)
    # its second line has the labels 3,4 of the file: joy and neutral
    assert dict(zip(dev.labels, dev.shares[1].tolist(), strict=True))["joy"] == 0.5
    assert dev.labels[dev.targets[1][0]] == "joy"
    assert len(data.read("train").conversations) == 43410
    assert not data.read("train").warnings


def write_goemotions(folder: Path, lines: str, labels: str, name: str = "emotions.txt") -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(lines, encoding="utf-8", newline="")
    (folder / name).write_text(labels)
    return folder


def test_the_release_with_28_emotions_is_grouped(tmp_path: Path) -> None:
    labels = "admiration\nannoyance\nanger\nneutral\n"
    lines = 'I "like it\t0\ta\r\nStop\u2028that\t1,2\tb\r\nSo\t3,0\tc\r\n'
    train = open_goemotions(write_goemotions(tmp_path / "go", lines, labels)).read("train")
    assert [train.labels[row[0]] for row in train.targets] == ["joy", "anger", "neutral"]
    assert train.conversations[0].utterances[0].text == 'I "like it'
    assert train.shares is not None
    assert train.shares[1].max() == 1.0  # both are anger
    assert sorted(train.shares[2].tolist())[-2:] == [0.5, 0.5]
    assert [n.code for n in train.warnings] == ["another_version"]


@pytest.mark.parametrize(
    ("lines", "labels", "said"),
    [
        ("Hi\t7\tx\n", "anger\njoy\n", r"line 1: unknown label '7'"),
        ("Hi\t0\n", "anger\n", "line 1 is cut short"),
        ("Hi\t0\tx\n", "anger\nangst\n", "line 2: unknown emotion 'angst'"),
        ("Hi\t\tx\n", "anger\n", "unknown label ''"),
    ],
)
def test_damaged_goemotions(tmp_path: Path, lines: str, labels: str, said: str) -> None:
    folder = write_goemotions(tmp_path / "go", lines, labels)
    with pytest.raises(UsageError, match=said):
        open_goemotions(folder).read("train")


def test_goemotions_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train.tsv, dev.tsv, test.tsv, labels.txt or emotions.txt"):
        open_goemotions(tmp_path)
