"""Imported features in use: in presets, the published ones, and `erc features import`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from importkit import FLAT, IDS, ORDER, ROWS, TARGET, WANTED, split_of, table

from erc_cli.dataset import features_of
from erc_cli.errors import ErcError, UsageError
from erc_cli.extraction import branches_of, with_features
from erc_cli.feature_file import read_features, write_features
from erc_cli.feature_import import Target, import_file
from erc_cli.features import refuse_bound_to_data
from erc_cli.learning import Split
from erc_cli.main import erc as main
from erc_cli.preset import Use, build_extractor, find_preset
from erc_cli.registry import Registry, load_registry
from erc_cli.types import Modality

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
