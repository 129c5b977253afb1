"""Data sets whose labels are in the clips' names: RAVDESS and EmoDB."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from erc_cli.errors import UsageError
from erc_cli.learning import Dataset
from erc_data_emodb import open_emodb
from erc_data_ravdess import open_ravdess
from erc_data_ravdess.ravdess import GROUPS, Ravdess


def speakers(data: Dataset, split: str) -> set[str | None]:
    return {c.utterances[0].speaker for c in data.read(split).conversations}


@pytest.fixture
def actors(tmp_path: Path) -> Path:
    """A clip of each actor, with two kinds of another."""
    for actor in range(1, 25):
        folder = tmp_path / "ravdess" / f"Actor_{actor:02d}"
        folder.mkdir(parents=True)
        emotion = actor % 8 + 1
        (folder / f"03-01-{emotion:02d}-01-02-01-{actor:02d}.wav").write_bytes(b"RIFF")
        (folder / f"03-02-{emotion:02d}-01-02-01-{actor:02d}.wav").write_bytes(b"RIFF")  # a song
    (tmp_path / "ravdess" / "Actor_01" / "02-01-02-01-02-01-01.mp4").write_bytes(b"x")
    (tmp_path / "ravdess" / "notes-01-03.txt").write_text("not a clip")
    return tmp_path / "ravdess"


@pytest.mark.parametrize("fold", range(5))
def test_folds_are_speaker_independent(actors: Path, fold: int) -> None:
    data = Ravdess(actors, fold=fold, modality="audio")
    parts = [speakers(data, name) for name in ("train", "dev", "test")]
    assert parts[2] == {f"Actor {a}" for a in GROUPS[fold]}
    assert parts[1] == {f"Actor {a}" for a in GROUPS[(fold + 1) % 5]}
    assert [len(a & b) for a, b in ((parts[0], parts[1]), (parts[0], parts[2]), (parts[1], parts[2]))] == [
        0
    ] * 3
    assert len(set.union(*parts)) == 24


def test_what_a_name_says(actors: Path) -> None:
    test = open_ravdess(actors, fold=4, modality="audio").read("test")
    assert [c.id for c in test.conversations] == [
        f"03-01-{e}-01-02-01-{a}" for e, a in (("02", "01"), ("02", "09"), ("05", "04"), ("07", "22"))
    ]
    assert test.targets == ((1,), (1,), (4,), (6,))
    assert test.conversations[0].utterances[0].text == "Dogs are sitting by the door."
    source = test.sources[0][0]
    assert source is not None
    assert source.path.is_file()
    assert source.end is None
    assert [n.code for n in test.warnings] == ["another_version"]  # 4 clips, not 240


def test_silent_video_is_taken_only_when_asked_for(actors: Path) -> None:
    with pytest.raises(UsageError, match=r"no clips of actors .*, the (train|dev|test) split of fold 0"):
        open_ravdess(actors, modality="video")
    with pytest.raises(UsageError, match="of modality av"):
        open_ravdess(actors, modality="av")
    with pytest.raises(UsageError, match="no clips of RAVDESS such as"):
        open_ravdess(actors / "Actor_01" / "nothing")


def test_actors_that_are_missing_are_told(actors: Path) -> None:
    for path in (actors / "Actor_05").iterdir():
        path.unlink()
    notes = open_ravdess(actors, modality="audio").read("test").warnings
    assert [n.message for n in notes] == ["no clips of actors 05: this is another version, or not whole"]


def test_all_of_ravdess(shared: Path) -> None:
    data = open_ravdess(shared / "data" / "ravdess", fold=2)
    sizes = {name: len(data.read(name).conversations) for name in data.splits}
    assert sizes == {"train": 840, "dev": 300, "test": 300}
    assert all(not data.read(name).warnings for name in data.splits)
    labels = Counter(t for row in data.read("train").targets for t in row)
    assert labels == {0: 56, **dict.fromkeys(range(1, 8), 112)}  # neutral has no strong form


def test_all_of_emodb(shared: Path) -> None:
    for fold in range(5):
        data = open_emodb(shared / "data" / "emodb", fold=fold)  # type: ignore[arg-type]
        splits = [data.read(name) for name in data.splits]
        assert sum(len(s.conversations) for s in splits) == 535
        assert all(not s.warnings for s in splits)
        assert all(set(range(7)) == {t for row in s.targets for t in row} for s in splits)
        assert [len(speakers(data, name)) for name in data.splits] == [6, 2, 2]
    dev = data.read("dev")  # of fold 4: the speakers 03 and 16
    place = [c.id for c in dev.conversations].index("03a01Fa")
    assert dev.conversations[place].utterances[0].text == "Der Lappen liegt auf dem Eisschrank."
    assert dev.labels[dev.targets[place][0]] == "happiness"


def test_emodb_in_its_archive_has_a_folder_wav(tmp_path: Path) -> None:
    folder = tmp_path / "emodb" / "wav"
    folder.mkdir(parents=True)
    names = ("03a01Fa", "16b02Wb", "10a05Lc", "09b10Nd", "11a04Td", "03a01Xa", "99a01Fa")
    for name in names:
        (folder / f"{name}.wav").write_bytes(b"RIFF")
    data = open_emodb(tmp_path / "emodb")
    assert [c.id for c in data.read("test").conversations] == ["03a01Fa", "16b02Wb"]
    assert "10a05Lc" in {c.id for c in data.read("dev").conversations}
    with pytest.raises(
        UsageError, match=r"no clips of speakers 12, 14, the test split|15, 08, the dev split"
    ):
        open_emodb(tmp_path / "emodb", fold=3)
    with pytest.raises(UsageError, match="no clips of EmoDB"):
        open_emodb(tmp_path)
