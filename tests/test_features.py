"""Feature files and the store of them: exact, content-addressed, and damage is found."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from erc_cli.errors import ErcError, UsageError
from erc_cli.fakes import FakeExtractor
from erc_cli.feature_file import (
    DamagedError,
    FeatureFile,
    as_bytes,
    from_rows,
    read_features,
    to_rows,
    write_features,
)
from erc_cli.features import Key, Store, default_store, key_of, open_store, recipe_of, sha256_of
from erc_cli.main import erc as main
from erc_cli.preset import Use
from erc_cli.registry import Entry, Owner, Registry
from erc_cli.specs import ExtractorSpec
from erc_cli.types import Encoded, Extractor, Features, Modality, Status

MEDIUM = "ab" * 32


def a_file(**changes: Any) -> FeatureFile:
    values = np.array([[1.5, -2.0], [9.0, 9.0], [0.0, 3.0]], np.float32)
    status = (Status.OK, Status.SILENT, Status.OK)
    features = Features(values, np.array([True, False, True]), status)
    plain = FeatureFile(
        Modality.AUDIO,
        "prosody",
        features,
        ("dia0_utt0", "dia0_utt1", "ünïcode"),
        version="1.2",
        options='{"log": true}',
        media_sha256=MEDIUM,
    )
    return replace(plain, **changes)


def test_the_file_is_what_the_interface_says(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_features(path, a_file())
    with safe_open(path, framework="np") as stream:
        about = stream.metadata()
        values, present = stream.get_tensor("values"), stream.get_tensor("present")
    assert (values.dtype, values.shape) == (np.float32, (3, 2))
    assert (present.dtype, present.tolist()) == (np.bool_, [True, False, True])
    assert values[1].tolist() == [0.0, 0.0]  # an absent row means nothing, and says so
    assert about["schema"] == "erc.features/1"
    assert (about["modality"], about["plugin"], about["version"]) == ("audio", "prosody", "1.2")
    assert json.loads(about["options"]) == {"log": True}
    assert about["media_sha256"] == MEDIUM
    assert json.loads(about["utterances"]) == ["dia0_utt0", "dia0_utt1", "ünïcode"]
    assert json.loads(about["status"]) == ["ok", "silent", "ok"]


def test_what_is_written_is_read_and_equal_is_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    file = a_file(more={"split": "dev", "spans": "[]"})
    write_features(path, file)
    found = read_features(path)
    assert replace(found, features=file.features) == file
    assert found.features.status == file.features.status
    assert found.features.values[[0, 2]].tolist() == [[1.5, -2.0], [0.0, 3.0]]
    assert as_bytes(found) == path.read_bytes() == as_bytes(a_file(more={"spans": "[]", "split": "dev"}))


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    for rows in ((), (None, Encoded(None, Status.SILENT))):
        features, more = from_rows(rows)
        path = tmp_path / "x.safetensors"
        write_features(path, FeatureFile(Modality.AUDIO, "p", features, ("a", "b")[: len(rows)], more=more))
        assert to_rows(read_features(path)) == rows


def test_a_file_of_others_needs_no_sum(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    about = {"schema": "erc.features/1", "modality": "text", "plugin": "p", "version": "", "options": "{}"}
    about |= {"media_sha256": "", "utterances": '["a"]', "status": '["ok"]'}
    save_file({"values": np.ones((1, 2), np.float32), "present": np.ones(1, np.bool_)}, path, about)
    assert read_features(path).features.values.tolist() == [[1.0, 1.0]]
    for key, wrong, said in (
        ("status", '["silent"]', "contradict"),
        ("status", '["fine"]', "no sense"),
        ("status", "[", "no sense"),
        ("utterances", '["a", "b"]', "differ in length"),
        ("modality", "smell", "no sense"),
        ("schema", "erc.features/9", "expected erc.features/1"),
    ):
        tensors = {"values": np.ones((1, 2), np.float32), "present": np.ones(1, np.bool_)}
        save_file(tensors, path, {**about, key: wrong})
        with pytest.raises(DamagedError, match=said):
            read_features(path)
    save_file({"values": np.ones((1, 2), np.float64), "present": np.ones(1, np.bool_)}, path, about)
    with pytest.raises(DamagedError, match="length or type"):
        read_features(path)
    save_file({"values": np.ones((1, 2), np.float32)}, path, about)
    with pytest.raises(DamagedError, match="has no present"):
        read_features(path)


def test_every_damaged_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_features(path, a_file())
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0x04
        path.write_bytes(spoilt)
        try:
            found = read_features(path, sealed=True)
        except DamagedError as error:
            assert error.hint is not None
        else:  # blanks between the parts of the header mean nothing
            assert as_bytes(found) == whole
    for cut in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DamagedError):
            read_features(path)


def test_rows_come_back_as_they_were() -> None:
    rows = (
        Encoded(np.array([1, 2], np.float32), detail={"undefined": ["pitch"]}),
        None,
        Encoded(None, Status.NO_FACE, {"faces": 0}),
        Encoded(np.array([3, 4], np.float32)),
    )
    features, more = from_rows(rows)
    back = to_rows(FeatureFile(Modality.VISUAL, "faces", features, tuple("abcd"), more=more))
    assert back[1] is None
    for one, other in zip(rows, back, strict=True):
        if one is not None and other is not None:
            assert (one.status, one.detail) == (other.status, other.detail)
            assert (one.values is None) == (other.values is None)
            assert one.values is None or np.array_equal(one.values, other.values)
    ragged = (Encoded(np.ones(2, np.float32)), Encoded(np.ones(3, np.float32)))
    with pytest.raises(ErcError, match=r"\(2,\), \(3,\)"):
        from_rows(ragged)


# --- keys ----------------------------------------------------------------------------------


def build(*, weights: Path, scale: float = 1.0, batch: int = 8, device: str = "cpu") -> Extractor:
    """Options of every kind."""
    return FakeExtractor(Modality.AUDIO, scale)


def registry_of(version: str = "1", **changes: Any) -> Registry:
    spec = replace(ExtractorSpec("deep", Modality.AUDIO, "", build, late=("batch",)), **changes)
    return Registry((Entry("extractor", spec, Owner("pack", version)),))


def test_the_key_is_all_that_matters_and_nothing_else(tmp_path: Path) -> None:
    for folder, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.bin").write_text(content)

    def name(
        folder: str = "a", version: str = "1", medium: str = MEDIUM, end: Any = 2.0, **options: Any
    ) -> str:
        use = Use("deep", {"weights": "w.bin", **options}, tmp_path / folder)
        recipe = recipe_of(Modality.AUDIO, use, registry_of(version), device="cuda")
        return key_of(recipe, medium, ((0.5, end),)).name

    same = [name(), name("b"), name(scale=1.0), name(scale=1), name(batch=99)]
    assert len(set(same)) == 1  # where it lies, a default written out, what only `gather` reads
    others = [
        name("c"),
        name(version="2"),
        name(medium="cd" * 32),
        name(end=3.0),
        name(end=None),
        name(scale=2),
    ]
    assert len({same[0], *others}) == 1 + len(others)
    with pytest.raises(UsageError, match="scale"):
        name(scale="loud")


def test_a_folder_of_weights_counts_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.bin").write_text("1")
    use = Use("deep", {"weights": "w"}, tmp_path)
    before = recipe_of(Modality.AUDIO, use, registry_of()).options
    (tmp_path / "w" / "b.bin").write_text("2")
    assert recipe_of(Modality.AUDIO, use, registry_of()).options != before


# --- the store -----------------------------------------------------------------------------


def a_key(medium: str = MEDIUM) -> Key:
    return Key(medium, ((0.0, 1.0), (1.0, None), (2.0, 3.5)), "prosody", "1.2", '{"log": true}')


def put(store: Store, medium: str = MEDIUM) -> Path:
    key = a_key(medium)
    store.put(key, a_file(media_sha256=medium, more={"spans": json.dumps(key.spans)}))
    return store.path(key)


def test_the_store_keeps_and_finds(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.get(a_key()) is None
    assert not store.folder.exists()  # looking makes nothing
    path = put(store)
    found = store.get(a_key())
    assert found is not None and found.utterances == a_file().utterances
    assert store.get(a_key("cd" * 32)) is None
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        store.get(a_key())


def test_a_file_under_a_wrong_name_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, other = put(store), put(store, "cd" * 32)
    assert [held.damage for held in store.held()] == ["", ""]
    one.write_bytes(other.read_bytes())
    assert sorted(held.damage for held in store.held()) == ["", "it stands under another content's name"]


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    medium = tmp_path / "a.wav"
    medium.write_text("one")
    store = Store(tmp_path / "store")
    store.remember_hash(medium, sha256_of(medium))
    assert store.known_hash(medium) is None  # written just now: it may change within its time stamp
    os.utime(medium, (time.time() - 60, time.time() - 60))
    store.remember_hash(medium, sha256_of(medium))
    store.save()
    assert Store(store.folder).known_hash(medium) == sha256_of(medium)
    os.utime(medium, (time.time() - 30, time.time() - 30))
    assert store.known_hash(medium) is None
    (store.folder / "media.json").write_text("{ no json")
    assert Store(store.folder).known_hash(medium) is None
    medium.unlink()
    assert store.known_hash(medium) is None


def test_clearing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(store)
    keep = store.folder / "notes.safetensors"
    keep.write_text("mine")
    draft = store.path(a_key()).with_name(".0123abcd.0123abcd.safetensors")
    draft.write_text("half")
    assert store.drafts() == [draft]
    assert store.clear() == 1
    assert [path.name for path in store.folder.rglob("*")] == ["notes.safetensors"]


def test_folders_of_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_CACHE", str(tmp_path / "cache"))
    assert default_store().folder == open_store(None).folder == tmp_path / "cache" / "features"
    assert open_store(tmp_path / "mine").folder == tmp_path / "mine" / "store"


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    with pytest.raises(ErcError, match="cannot be made") as error:
        put(Store(tmp_path / "store"))
    assert error.value.hint is not None


# --- commands ------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    answer = main.main(args=list(map(str, arguments)), prog_name="erc", standalone_mode=False)
    return answer if isinstance(answer, int) else 0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ERC_CACHE", str(tmp_path / "cache"))
    return default_store()


def test_cache_info(cache: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cache", "info") == 0
    assert "Nothing is kept there." in capsys.readouterr().out
    paths = [put(cache), put(cache, "cd" * 32)]
    assert run("cache", "info", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    size = sum(path.stat().st_size for path in paths)
    assert told == {
        "schema": "erc.cache/1",
        "folder": str(cache.folder),
        "files": 2,
        "bytes": size,
        "plugins": [{"plugin": "prosody 1.2", "files": 2, "rows": 6, "bytes": size}],
    }
    assert run("cache", "info") == 0
    assert "prosody 1.2" in capsys.readouterr().out


def test_cache_verify(cache: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(cache)
    put(cache, "cd" * 32)
    assert run("cache", "verify") == 0
    assert "2 of 2 files are whole" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-2])
    assert run("cache", "verify", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in told["damaged"]] == [str(path)]
    assert run("cache", "verify") == 1
    assert "1 of 2 files are whole" in capsys.readouterr().out


def test_cache_clear_asks(cache: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put(cache)
    with pytest.raises(UsageError, match="1 feature files would be removed") as error:
        run("cache", "clear")
    assert error.value.hint == "Say so: erc cache clear --yes"
    assert len(cache.files()) == 1
    assert run("cache", "clear", "--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 1
    assert cache.files() == []
    assert run("cache", "clear") == 0  # nothing to ask about


def test_features_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.safetensors"
    write_features(path, a_file(more={"split": "dev"}))
    assert run("features", "show", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["plugin"], told["rows"], told["width"]) == (
        "erc.features/1",
        "prosody",
        3,
        2,
    )
    assert (told["present"], told["status"], told["split"]) == (2, {"ok": 2, "silent": 1}, "dev")
    assert told["utterances"][:1] == ["dia0_utt0"]
    assert run("features", "show", path) == 0
    assert "ok: 2, silent: 1" in capsys.readouterr().out
    path.write_text("no features")
    with pytest.raises(UsageError, match="not a safetensors file"):
        run("features", "show", path)
    with pytest.raises(UsageError, match="No such file"):
        run("features", "show", tmp_path / "gone")
