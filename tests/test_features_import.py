"""Features of other people: tables, arrays and pickles, matched to the right utterances."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importkit import FLAT, ORDER, ROWS, TARGET, WANTED, table
from safetensors.numpy import save_file

from erc_cli.errors import UsageError
from erc_cli.feature_import import Order, guess_split, import_file, plain_id
from erc_cli.types import Status


def values(path: Path, order: Order = ORDER) -> list[list[float]]:
    """Rows of an import in the order of the split; absent ones are empty."""
    features = import_file(path, order, TARGET).file.features
    return [
        row.tolist() if there else [] for row, there in zip(features.values, features.present, strict=True)
    ]


def test_tables_by_name(tmp_path: Path) -> None:
    lines = [f"{name}.wav,{a:g},x,{b:g}" for name, (a, b) in zip(FLAT, ROWS, strict=True)]
    for mark, ending in ((",", "csv"), ("\t", "tsv"), (";", "csv")):
        path = table(tmp_path / f"x.{ending}", "filename,pitch,note,level", *reversed(lines), mark=mark)
        imported = import_file(path, ORDER, TARGET)
        assert imported.file.features.values.tolist() == WANTED
        assert imported.file.utterances == tuple(FLAT)
        assert json.loads(imported.file.more["columns"]) == ["pitch", "level"]
        assert [n.code for n in imported.warnings] == ["columns_taken"]
    assert values(path, replace(ORDER, columns=("level", "pitch"))) == [row[::-1] for row in WANTED]


def test_tables_by_dialogue_and_utterance(tmp_path: Path) -> None:
    numbers = [name.removeprefix("dia").split("_utt") for name in FLAT]
    lines = [f"{d},{u},{a},{b},0" for (d, u), (a, b) in zip(numbers, ROWS, strict=True)]
    path = table(tmp_path / "x.csv", "Dialogue_ID,Utterance_ID,a,b,label", *lines)
    assert values(path) == WANTED  # and a column of labels is no feature
    other = table(tmp_path / "y.csv", "d,u,a,b,label", *lines)
    assert values(other, replace(ORDER, key="d,u", columns=("a", "b"))) == WANTED


def dictionary() -> dict[str, Any]:
    return dict(zip(FLAT, ROWS, strict=True))


def dialogues() -> dict[Any, Any]:
    return {"dia0": ROWS[:2], "dia1": ROWS[2:3], "dia7": ROWS[3:]}


FORMS: dict[str, Callable[[], Any]] = {
    "names and vectors": dictionary,
    "names and lists": lambda: {name: row.tolist() for name, row in dictionary().items()},
    "names and arrays of one row": lambda: {name: row[None] for name, row in dictionary().items()},
    "names with folders": lambda: {f"dev/{name}.mp4": row for name, row in dictionary().items()},
    "pairs": lambda: {(int(n[3]), n[-1]): row for n, row in dictionary().items()},
    "splits": lambda: {"train": {"x": ROWS[0]}, "val": dictionary(), "test": {}},
    "splits of rows": lambda: {"train": ROWS[:1], "dev": ROWS},
    "dialogues": dialogues,
    "dialogues by number": lambda: {int(name[3:]): rows.tolist() for name, rows in dialogues().items()},
    "rows": lambda: ROWS,
    "list of rows": lambda: [row.tolist() for row in ROWS],
    "list of arrays": lambda: list(ROWS),
    "array with names": lambda: {"features": ROWS, "ids": np.array(FLAT), "labels": np.zeros(5, int)},
}


@pytest.mark.parametrize("form", FORMS)
def test_pickles(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(FORMS[form]()))
    assert values(path) == WANTED


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", features=ROWS[::-1], names=np.array(FLAT[::-1]), fold=np.zeros(5))
    assert values(tmp_path / "x.npz") == WANTED
    np.savez_compressed(tmp_path / "y.npz", **dictionary())
    assert values(tmp_path / "y.npz") == WANTED
    np.savez(tmp_path / "z.npz", first=ROWS, second=ROWS * 2)
    with pytest.raises(UsageError, match="none of its 10 names"):
        values(tmp_path / "z.npz")
    assert values(tmp_path / "z.npz", replace(ORDER, key="second")) == (ROWS * 2).tolist()
    np.save(tmp_path / "x.npy", ROWS.astype(">f8"))
    assert values(tmp_path / "x.npy") == WANTED
    save_file({"embeddings": ROWS}, tmp_path / "x.safetensors")
    assert values(tmp_path / "x.safetensors") == WANTED


def test_the_way_into_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(({"labels": [1, 2]}, {"train": {}, "dev": dictionary()})))
    assert values(path, replace(ORDER, key="1.dev")) == WANTED
    assert values(path, replace(ORDER, key="1")) == WANTED
    with pytest.raises(UsageError, match="nothing in it is called 'dve'") as error:
        values(path, replace(ORDER, key="1.dve"))
    assert "Did you mean 'dev'?" in error.value.message
    with pytest.raises(UsageError, match="no rows of numbers") as error:
        values(path)
    assert error.value.hint is not None and "--key" in error.value.hint


def test_rows_without_names_must_be_as_many(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, ROWS[:4])
    with pytest.raises(UsageError, match="4 rows without names; meld dev has 5 utterances") as error:
        values(path)
    assert error.value.hint is not None and "--without" in error.value.hint
    found = values(path, replace(ORDER, without=("dia1_utt0",)))
    assert found == [*WANTED[:2], [], *WANTED[2:4]]
    with pytest.raises(UsageError, match=r"no such utterance\. Did you mean 'dia0_utt2'"):
        values(path, replace(ORDER, without=("dia0_utt3",)))
    np.save(path, np.concatenate([ROWS, ROWS]))
    with pytest.raises(UsageError, match="10 rows"):
        values(path)


def test_what_does_not_match_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    some = {**dictionary(), "dia9_utt9": ROWS[0]}
    del some["dia1_utt0"]
    path.write_bytes(pickle.dumps(some))
    imported = import_file(path, ORDER, TARGET)
    assert [(n.code, n.message) for n in imported.warnings] == [
        ("rows_left_over", "1 rows belong to no utterance: dia9_utt9"),
        ("rows_missing", "1 utterances have no row: dia1_utt0"),
    ]
    assert imported.file.features.status[2] is Status.UNREADABLE
    path.write_bytes(pickle.dumps({f"clip{i}": row for i, row in enumerate(ROWS)}))
    with pytest.raises(UsageError, match=r"\(clip0, clip1, clip2, …\) is one of meld dev \(dia0_utt0"):
        values(path)
    path.write_bytes(pickle.dumps({name.replace("dia", "D"): row for name, row in dictionary().items()}))
    assert values(path, replace(ORDER, renamed=(("D", "dia"),))) == WANTED


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", "id,a", "dia0_utt0.wav,1", "dia0_utt0.mp4,2")
    with pytest.raises(UsageError, match="'dia0_utt0' is there twice"):
        values(path)


def test_what_is_no_number(tmp_path: Path) -> None:
    lines = [f"{name},{a},{b}" for name, (a, b) in zip(FLAT, ROWS, strict=True)]
    lines[1], lines[2] = f"{FLAT[1]},nan,1", f"{FLAT[2]},2,"
    path = table(tmp_path / "x.csv", "id,a,b", *lines)
    imported = import_file(path, ORDER, TARGET)
    assert imported.file.features.present.tolist() == [True, False, False, True, True]
    assert "2 rows hold what is not a finite number" in imported.warnings[0].message
    filled = import_file(path, replace(ORDER, fill=-1.0), TARGET)
    assert filled.file.features.values[1:3].tolist() == [[-1.0, 1.0], [2.0, -1.0]]
    assert filled.file.features.present.all()
    lines[1] = f"{FLAT[1]},loud,1"
    path = table(tmp_path / "x.csv", "id,a,b", *lines)
    with pytest.raises(UsageError, match=r"row 3: .*loud"):
        values(path, replace(ORDER, columns=("a", "b")))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"", "not a table"),
        ("x.csv", b"id,a\n", "no rows"),
        ("x.csv", b"id,a\ndia0_utt0,1\ndia0_u", "row 3: 1 cells"),
        ("x.csv", b"id,a\ndia0_utt0,x\n", "no column of numbers"),
        ("x.csv", b"\xff\xfe\x00", "cannot be read"),
        ("x.npz", b"PK\x03\x04", "cannot be read"),
        ("x.npy", b"\x93NUMPY\x01", "cannot be read"),
        ("x.safetensors", b"short", "cannot be read"),
        ("x.pkl", b"\x80\x04", "refused"),
        ("x.mat", b"", "not read from .mat"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as error:
        values(path)
    assert error.value.hint is not None


def test_arrays_that_lie_or_hold_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="which is not numbers"):
        values(tmp_path / "x.npy")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    lie = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"1234"
    (tmp_path / "y.npy").write_bytes(lie)
    with pytest.raises(UsageError, match="promises shape"):
        values(tmp_path / "y.npy")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("a.npy", lie)
    with pytest.raises(UsageError, match="promises shape"):
        values(tmp_path / "y.npz")
    row = list(map(float, range(100_000)))  # named as a row 100,000 times: 40 GB as an array
    (tmp_path / "z.pkl").write_bytes(pickle.dumps([row] * 100_000))
    with pytest.raises(UsageError, match="too large"):
        values(tmp_path / "z.pkl")


def test_names_and_splits_by_their_looks() -> None:
    assert plain_id("/a/b\\c/dia1_utt2.WAV ") == "dia1_utt2"
    assert plain_id("Ses01F_impro01_F000") == "Ses01F_impro01_F000"
    splits = ("train", "dev", "test")
    assert guess_split(Path("meld_dev_audio.csv"), splits) == "dev"
    assert guess_split(Path("embeddings_text_val.pkl"), splits) == "dev"
    assert guess_split(Path("train-test.npz"), splits) is None
    assert guess_split(Path("device.npz"), splits) is None
