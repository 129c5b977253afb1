"""`erc features import`: other people's tables, arrays and pickles, matched to the right utterances."""

from __future__ import annotations

import json
import pickle
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from erc_cli.dataset import features_of
from erc_cli.errors import ErcError, UsageError
from erc_cli.extraction import branches_of, with_features
from erc_cli.feature_file import read_features, write_features
from erc_cli.feature_import import Order, Target, guess_split, import_file, plain_id
from erc_cli.features import refuse_bound_to_data
from erc_cli.learning import Split
from erc_cli.main import erc as main
from erc_cli.preset import Use, build_extractor, find_preset
from erc_cli.registry import Registry, load_registry
from erc_cli.types import Conversation, Modality, Status, Utterance

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


def values(path: Path, order: Order = ORDER) -> list[list[float]]:
    """Rows of an import in the order of the split; absent ones are empty."""
    features = import_file(path, order, TARGET).file.features
    return [
        row.tolist() if there else [] for row, there in zip(features.values, features.present, strict=True)
    ]


WANTED = ROWS.tolist()


def table(path: Path, *lines: str, mark: str = ",") -> Path:
    path.write_text("\n".join(line.replace(",", mark) for line in lines) + "\n", encoding="utf-8")
    return path


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


# --- in presets ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Imported audio of dev and of train, and text of dev."""
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    out = tmp_path / "features"
    out.mkdir()
    for split, modality in (("dev", "audio"), ("train", "audio"), ("dev", "text")):
        order = replace(ORDER, modality=Modality(modality))
        imported = import_file(path, order, Target("meld", split_of(split)))
        write_features(out / f"meld-{split}-{modality}-mine.safetensors", imported.file)
    return out


def filled(registry: Registry, folder: Path, split: Split, **options: str) -> Split:
    uses = {m: Use(f"imported-{m}", {"features": str(folder), **options}) for m in (Modality.AUDIO,)}
    extractors = {m: build_extractor(use, registry) for m, use in uses.items()}
    return with_features(split, branches_of(uses, registry, extractors))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_imported_features_are_a_branch(registry: Registry, folder: Path) -> None:
    split = split_of()
    ready = filled(registry, folder, split)
    extractor = build_extractor(Use("imported-audio", {"features": str(folder)}), registry)
    assert (extractor.dim, extractor.head) == (2, None)
    found = features_of(ready, {Modality.AUDIO: ("imported-audio", extractor)})
    assert found is not None
    assert found.features[Modality.AUDIO].values.tolist() == WANTED
    assert found.dialogues.tolist() == [0, 0, 1, 2, 2]
    turned = replace(
        split, conversations=split.conversations[::-1], ids=IDS[::-1], targets=split.targets[::-1]
    )
    rows = filled(registry, folder, turned).ready["imported-audio"]
    assert [row.values.tolist() for talk in rows for row in talk] == [*WANTED[3:], WANTED[2], *WANTED[:2]]


def test_features_of_another_split_are_not_taken(registry: Registry, folder: Path) -> None:
    """MELD numbers every split's dialogues from 0: names alone would fit."""
    with pytest.raises(UsageError, match="no audio features of this data set's test split") as error:
        filled(registry, folder, split_of("test"))
    assert error.value.hint is not None and "erc features import" in error.value.hint


def test_wrong_folders_are_told(registry: Registry, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no visual features"):
        build_extractor(Use("imported-visual", {"features": str(folder)}), registry)
    with pytest.raises(UsageError, match="called 'other'"):
        filled(registry, folder, split_of(), name="other")
    other = import_file(tmp_path / "rows.npy", replace(ORDER, name="second"), TARGET)
    write_features(folder / "other.safetensors", other.file)
    with pytest.raises(UsageError, match="several kinds of audio features: mine, second"):
        filled(registry, folder, split_of())
    assert filled(registry, folder, split_of(), name="second").ready
    (folder / "other.safetensors").write_bytes(b"damaged")
    with pytest.raises(ErcError, match="not a safetensors file"):
        filled(registry, folder, split_of())


def test_a_new_recording_has_no_imported_features(registry: Registry, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "labels: [a, b]\nfusion: {use: late}\n"
        f"extractors:\n  audio: {{use: imported-audio, features: {folder}}}\n"
    )
    preset = find_preset(str(path), registry, recipe=True)
    with pytest.raises(UsageError, match="takes imported features") as error:
        refuse_bound_to_data(preset, registry)
    assert error.value.hint is not None and "--drop audio" in error.value.hint
    extractor = build_extractor(preset.extractors[Modality.AUDIO], registry)
    with pytest.raises(UsageError, match="this conversation has none"):
        extractor.gather(split_of().conversations[0], (None, None))


# --- real ones -----------------------------------------------------------------------------


def meld(shared: Path, split: str) -> Split:
    """The real split, with the names that the published tables use."""
    import csv

    from erc_data_meld.meld import Meld

    found = Meld(shared / "data" / "meld").read(split)
    with (shared / "data" / "meld" / f"{split}_sent_emo.csv").open(encoding="utf-8-sig") as stream:
        pairs = sorted((int(r["Dialogue_ID"]), int(r["Utterance_ID"])) for r in csv.DictReader(stream))
    names = iter(f"dia{d}_utt{u}" for d, u in pairs)
    return replace(found, ids=tuple(tuple(next(names) for _ in c.utterances) for c in found.conversations))


@pytest.mark.parametrize(("name", "width"), [("text_base", 768), ("audio_wav2vec2", 768), ("audio_mel", 300)])
def test_the_published_features_of_meld_dev(shared: Path, name: str, width: int) -> None:
    import pickle as reader

    path = shared / "data" / "features" / "meld_dev_bologna" / f"embeddings_{name}_val.pkl"
    target = Target("meld", meld(shared, "dev"))
    with pytest.raises(UsageError, match="1108 rows without names; meld dev has 1109 utterances"):
        import_file(path, ORDER, target)
    file = import_file(path, replace(ORDER, without=("dia110_utt7",)), target).file
    assert file.features.values.shape == (1109, width)
    lost = file.utterances.index("dia110_utt7")
    assert np.flatnonzero(~file.features.present).tolist() == [lost]
    with path.open("rb") as stream:
        wanted = reader.load(stream).numpy()  # a file that we know
    assert np.array_equal(np.delete(file.features.values, lost, axis=0), wanted)


def test_the_published_text_features_tell_the_emotions(shared: Path) -> None:
    """Rows against the wrong utterances would be at chance: that encoder was fitted on MELD."""
    path = shared / "data" / "features" / "meld_dev_bologna" / "embeddings_text_base_val.pkl"
    split = meld(shared, "dev")
    features = import_file(
        path, replace(ORDER, without=("dia110_utt7",)), Target("meld", split)
    ).file.features
    targets = np.array([t for row in split.targets for t in row])[features.present]
    rows = features.values[features.present]
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-6)

    def accuracy(labels: np.ndarray) -> float:
        """Nearest class mean, learnt on the even rows."""
        means = np.stack([rows[::2][labels[::2] == k].mean(axis=0) for k in range(7)])
        nearest = ((rows[1::2, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        return float((nearest == labels[1::2]).mean())

    assert accuracy(targets) > 0.45
    assert accuracy(np.roll(targets, 1)) < 0.35


def test_all_prosody_of_meld_in_five_seconds(shared: Path, tmp_path: Path) -> None:
    begin = time.process_time()  # what else runs on the machine is not the import's
    present = 0
    for split in ("train", "dev", "test"):
        path = shared / "data" / "meld" / "prosody" / f"meld_{split}_audio_features.csv"
        imported = import_file(path, ORDER, Target("meld", meld(shared, split)))
        write_features(tmp_path / f"{split}.safetensors", imported.file)
        found = read_features(tmp_path / f"{split}.safetensors")
        assert found.features.values.shape[1] == 8
        present += int(found.features.present.sum())
    assert present > 13_000
    assert time.process_time() - begin < 5


# --- the command ---------------------------------------------------------------------------


def run(*arguments: object) -> int:
    answer = main.main(args=list(map(str, arguments)), prog_name="erc", standalone_mode=False)
    return answer if isinstance(answer, int) else 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{name},{a:g},{b:g}" for name, (a, b) in zip(FLAT, ROWS, strict=True)]
    path = table(tmp_path / "x.csv", "id,a,b", *lines)
    out = tmp_path / "out" / "deep"
    asked = ["features", "import", path, "-o", out, "--as", "mine", "--modality", "audio"]
    assert run(*asked, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    file = out / "mine-audio-x.safetensors"
    assert told["features"][0]["file"] == str(file)
    assert (told["features"][0]["rows"], told["features"][0]["width"]) == (5, 2)
    found = read_features(file)
    assert (found.plugin, found.utterances, found.more["source"]) == ("mine", tuple(FLAT), "x.csv")
    with pytest.raises(UsageError, match="exists already and is kept"):
        run(*asked)
    assert run(*asked, "--force", "-q") == 0
    capsys.readouterr()
    with pytest.raises(UsageError, match="--split is of a data set"):
        run(*asked, "--split", "dev", "--force")
    with pytest.raises(UsageError, match="letters, digits"):
        run("features", "import", path, "-o", out, "--as", "../evil", "--modality", "audio")


def test_the_command_refuses_hostile_files(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "x.pkl"
    path.write_bytes(b"cos\nsystem\n(V" + f"touch {canary}".encode() + b"\ntR.")
    with pytest.raises(UsageError, match=r"asks for 'os\.system'"):
        run("features", "import", path, "-o", tmp_path / "out", "--as", "x", "--modality", "text")
    assert not canary.exists()
    assert not any((tmp_path / "out").glob("*"))


def test_the_command_matches_a_data_set(
    tmp_path: Path, tiny_meld: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prosody = [tiny_meld / "prosody" / f"meld_{split}_audio_features.csv" for split in ("train", "dev")]
    rows = [np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 9)) for path in prosody]
    for split, values_ in zip(("train", "dev"), rows, strict=True):
        whole = np.concatenate([values_[:1], values_])  # the tables leave dia0_utt0 out
        np.save(tmp_path / f"{split}.npy", whole)
    out = tmp_path / "out"
    files = [tmp_path / "train.npy", tmp_path / "dev.npy"]
    asked = ["features", "import", *files, "-o", out, "--as", "p", "--modality", "audio"]
    assert run(*asked, "--data", f"meld:{tiny_meld}") == 0
    said = capsys.readouterr()
    assert "120 of 120 rows, width 8" in said.out
    assert "imported-audio" in said.err
    found = read_features(out / "meld-dev-audio-p.safetensors")
    assert (found.more["data"], found.more["split"], len(found.utterances)) == ("meld", "dev", 30)
    with pytest.raises(UsageError, match=r"Of which split is rows\.npy"):
        np.save(tmp_path / "rows.npy", rows[0])
        run("features", "import", tmp_path / "rows.npy", *asked[4:], "--data", f"meld:{tiny_meld}", "--force")
