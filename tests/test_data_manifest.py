"""Tables of one's own: every format gives the same, and what does not fit is told with its row."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erc_cli.errors import ErcError, UsageError
from erc_data_manifest import open_manifest

ROWS: list[dict[str, Any]] = [
    {"split": "train", "dialogue": "a", "turn": 2, "speaker": "Ann", "text": "So, \"what\"?",
     "emotion": "hap", "media": "one.wav",
     "start": 1.5, "end": 2.25, "pitch": 200.0, "mel_1": 0.5, "mel_2": 1},
    {"split": "train", "dialogue": "a", "turn": 1, "speaker": "", "text": "Hi\nthere", "emotion": "sad",
     "media": "one.wav", "start": 0.0, "end": 1.25, "pitch": 100.0, "mel_1": -0.5, "mel_2": 2},
    {"split": "valid", "dialogue": "a", "turn": 1, "speaker": "Bo", "text": "Caf\xe9", "emotion": "xxx",
     "media": "two.wav", "start": None, "end": None, "pitch": None, "mel_1": None, "mel_2": None},
    {"split": "Test", "dialogue": "b", "turn": 10, "speaker": "Bo", "text": "No", "emotion": "zeal",
     "media": "", "start": None, "end": None, "pitch": 120.0, "mel_1": 0.0, "mel_2": 3},
    {"split": "Test", "dialogue": "b", "turn": 9, "speaker": "Bo", "text": "Yes", "emotion": "hap",
     "media": "one.wav", "start": 3.0, "end": None, "pitch": 130.0, "mel_1": 0.0, "mel_2": 4},
]  # fmt: skip
LABELS = {"hap": "joy", "sad": "sadness", "xxx": None}


def write(folder: Path, rows: list[dict[str, Any]], suffix: str = ".csv") -> Path:
    path = folder / f"table{suffix}"
    if suffix == ".jsonl":
        path.write_text(
            "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8"
        )
    elif suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.wav").write_bytes(b"RIFF")
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same(folder: Path, suffix: str) -> None:
    path = write(folder, ROWS, suffix)
    data = open_manifest(path, labels=LABELS, audio=["pitch", "mel_*"])
    assert data.splits == ("train", "dev", "test")
    train, dev, test = (data.read(name) for name in data.splits)
    assert train.labels == ("sadness", "joy", "zeal")  # MELD's come first, in its order
    assert [(u.text, u.speaker, u.start, u.end) for u in train.conversations[0].utterances] == [
        ("Hi\nthere", None, 0.0, 1.25),
        ('So, "what"?', "Ann", 1.5, 2.25),
    ]
    assert (train.targets, dev.targets, test.targets) == (((0, 1),), ((-1,),), ((1, 2),))
    assert [(u.start, u.end) for u in test.conversations[0].utterances] == [(3.0, 3.0), (0.0, 0.0)]
    source = train.sources[0][1]
    assert source is not None
    assert (source.path, source.start, source.end) == (folder / "one.wav", 1.5, 2.25)
    assert dev.sources == ((None,),)
    assert [n.code for n in dev.warnings] == ["missing_media"]
    assert (test.sources[0][0].end if test.sources[0][0] else 0) is None
    rows = train.ready["columns-audio"][0]
    np.testing.assert_allclose([row.values for row in rows if row], [[100, -0.5, 2], [200, 0.5, 1]])
    absent = dev.ready["columns-audio"][0][0]
    assert absent is not None
    assert absent.values is None
    assert len(train.sha256) == 64


def test_other_names_of_columns_and_order_by_start(folder: Path) -> None:
    table = folder / "own.tsv"
    lines = [
        "part\tscene\twho\twords\tlabel\tfrom",
        "train\t1\tA\tsecond\tjoy\t00:01:02,5",
        "train\t1\tB\tfirst\tanger\t61",
    ]
    table.write_text("\n".join(lines))
    names = {"split": "part", "dialogue": "scene", "speaker": "who", "text": "words", "emotion": "label"}
    split = open_manifest(table, columns={**names, "start": "from"}, classes=["joy", "anger", "fear"]).read(
        "train"
    )
    assert [(u.text, u.start) for u in split.conversations[0].utterances] == [
        ("first", 61.0),
        ("second", 62.5),
    ]
    assert split.labels == ("joy", "anger", "fear")
    assert split.targets == ((1, 0),)
    with pytest.raises(UsageError) as caught:
        open_manifest(table, columns={"txt": "words", "emotion": "lable"})
    said = str(caught.value)
    for part in (
        "columns.txt: no column of ours. Did you mean 'text'?",
        "columns.emotion: the table has no column 'lable'. Did you mean 'label'?",
        "no column 'split'",
        "no column 'turn (or start)'",
        "--set data.manifest.columns.split=NAME",
    ):
        assert part in said


def changed(row: int, **cells: Any) -> list[dict[str, Any]]:
    rows = [dict(one) for one in ROWS]
    rows[row] |= cells
    return rows


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (ROWS, {"classes": ["joy", "sadness"], "labels": LABELS},
         r"row 4: unknown emotion 'zeal'"),
        (changed(1, emotion="sadd"), {"classes": ["hap", "sad", "xxx", "zeal"]},
         r"row 2: unknown emotion 'sadd'\. Did you mean 'sad'"),
        (changed(1, pitch="high"), {"audio": ["pitch"]}, "row 2: pitch is 'high', no number"),
        (changed(3, mel_2="nan"), {"visual": ["mel_?"]}, "row 4: mel_2 is 'nan', not a finite number"),
        (changed(3, mel_2=""), {"visual": ["mel_?"]}, "row 4: mel_2 is 'empty', not a finite number"),
        (changed(3, mel_2="inf"), {"visual": ["mel_?"]}, "row 4: mel_2 is 'inf', not a finite number"),
        (ROWS, {"audio": ["pitsch"]}, r"audio: no column 'pitsch'\. Did you mean 'pitch'"),
        (changed(0, turn=1), {}, "dialogue 'a' has a turn twice"),
        (changed(0, turn="first"), {}, "row 1: turn is 'first', no number"),
        (changed(2, dialogue=""), {}, "row 3: split, dialogue or turn is empty"),
        (changed(4, start="noon"), {}, "row 5: start is 'noon', no time"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_row(
    folder: Path, rows: list[dict[str, Any]], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_manifest(write(folder, rows), **options).read("test")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "no column 'split'|has no rows"),
        ("t.csv", b"split,dialogue,turn,speaker,text,emotion\n", "has no rows"),
        (
            "t.csv",
            b"split,dialogue,turn,speaker,text,emotion\ntrain,a,1,x",
            "row 1 has 4 cells, the heading has 6",
        ),
        ("t.csv", b'split,text\ntrain,"never closed', "line 2: unexpected end of data"),
        ("t.csv", b"split,split\na,b\n", "the column 'split' is there twice"),
        ("t.csv", b"\xff\xfe\x00", "not text in UTF-8"),
        ("t.jsonl", b'{"split": "train"}\n{"split": \n', "line 2 is not JSON"),
        ("t.jsonl", b"[1, 2]\n", "line 1 is no JSON object"),
        ("t.xlsx", b"PK", "a manifest is one of .csv, .tsv"),
        ("t.parquet", b"PAR1 not", "not readable as Parquet"),
    ],
)
def test_no_such_table(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        open_manifest(path)


def test_parquet_without_pyarrow_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "table.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ErcError, match="needs pyarrow") as caught:
        open_manifest(path)
    assert caught.value.hint is not None
    assert "pip install 'erc-cli[parquet]'" in caught.value.hint


def test_a_slip_in_the_map_of_labels_is_told(folder: Path) -> None:
    split = open_manifest(write(folder, ROWS), labels={"hapy": "joy"}).read("train")
    assert [n.message for n in split.warnings if n.code == "unused_label"] == [
        "labels.hapy: table.csv has no 'hapy'. Did you mean 'hap'?"
    ]


def test_a_split_that_is_not_there(folder: Path) -> None:
    data = open_manifest(write(folder, ROWS[:2]))
    with pytest.raises(UsageError, match="manifest has no split 'test'"):
        data.read("test")


def test_two_may_begin_at_once_but_not_have_one_turn(shared: Path) -> None:
    """In IEMOCAP's table turns are counted by speaker; its starts are an order."""
    table = shared / "data" / "iemocap" / "sessions_1_to_4.csv"
    labels = dict.fromkeys(("xxx", "sur", "fea", "oth", "dis"))
    with pytest.raises(UsageError, match=r"row 27: dialogue 'Ses01F_script02_1' has a turn twice") as caught:
        open_manifest(table, labels=labels)
    assert "columns.turn=start" in str(caught.value.hint)
    data = open_manifest(
        table, columns={"turn": "start"}, labels=labels, classes=["hap", "sad", "neu", "ang", "exc", "fru"]
    )
    assert data.splits == ("train", "dev")
    assert sum(t >= 0 for name in data.splits for row in data.read(name).targets for t in row) == 5758
