"""MELD: tables, clips in the released folders, corrected times."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import UsageError
from erc_cli.learning import Split
from erc_data_meld import open_meld
from erc_data_meld.clips import FOLDERS

HEAD = "Split,Dialogue ID,Utterance ID,Original Dialogue ID,Original Utterance ID,Start Time,End Time"


def codes(split: Split) -> list[str]:
    return [notice.code for notice in split.warnings]


def with_clips(root: Path, names: tuple[str, ...], split: str = "dev") -> Path:
    folder = root / FOLDERS[split]
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"clip")
    return folder


@pytest.fixture
def meld(tiny_meld: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "MELD"
    shutil.copytree(tiny_meld, folder)
    return folder


def test_the_real_tables(shared: Path) -> None:
    data = open_meld(shared / "data" / "meld")
    counts = {}
    for name in data.splits:
        split = data.read(name)
        counts[name] = (len(split.conversations), sum(map(len, split.targets)))
        assert "another_version" not in codes(split)
        filled = [row.values for talk in split.ready["columns-audio"] for row in talk]
        assert all(np.isfinite(row).all() for row in filled if row is not None)
    assert counts == {"train": (1038, 9989), "dev": (114, 1109), "test": (280, 2610)}
    first = data.read("train").conversations[0]
    assert (first.utterances[0].start, first.utterances[0].end) == (976.059, 981.731)
    assert first.utterances[0].speaker == "Chandler"


def test_undefined_prosody_is_left_to_its_extractor_and_filled_by_the_train_median(shared: Path) -> None:
    data = open_meld(shared / "data" / "meld")
    train, dev = data.read("train"), data.read("dev")
    known = np.stack(
        [r.values for talk in train.ready["prosody"] for r in talk if r and r.values is not None]
    )
    typical = np.nanmedian(known, axis=0)
    seen = 0
    for raw_rows, rows in zip(dev.ready["prosody"], dev.ready["columns-audio"], strict=True):
        for raw, row in zip(raw_rows, rows, strict=True):
            if raw is not None and row is not None and raw.values is not None and row.values is not None:
                bad = ~np.isfinite(raw.values)
                seen += int(bad.sum())
                np.testing.assert_allclose(row.values[bad], typical[bad], rtol=1e-6)
                np.testing.assert_array_equal(row.values[~bad], raw.values[~bad])
    assert seen == 55  # in 44 rows


@pytest.mark.parametrize("place", ["", "MELD.Raw", "dev", "../", "../MELD.Raw"])
def test_clips_are_found_in_and_beside_the_folder(meld: Path, place: str) -> None:
    folder = with_clips(meld / place, ("dia0_utt0.mp4", "dia0_utt1.mp4", "._dia0_utt2.mp4"))
    dev = open_meld(meld).read("dev")
    assert dev.sources[0][0] is not None
    assert dev.sources[0][0].path.samefile(folder / "dia0_utt0.mp4")
    assert (dev.sources[0][0].start, dev.sources[0][0].end) == (0.0, None)
    assert dev.sources[0][2] is None
    assert [len(row) for row in dev.sources] == [len(c.utterances) for c in dev.conversations]
    missing = next(n for n in dev.warnings if n.code == "missing_media")
    assert missing.message.startswith("28 of 30 utterances have no media file")
    assert open_meld(meld).read("train").sources == ()  # its clips are not there, and that is told
    assert "missing_media" in codes(open_meld(meld).read("train"))


def test_corrupt_clips_are_left_out_and_told(shared: Path, tmp_path: Path) -> None:
    names = ("dia110_utt6.mp4", "dia110_utt7.mp4")
    with_clips(tmp_path, names)
    dev = open_meld(shared / "data" / "meld", clips=tmp_path).read("dev")
    place = [c.id for c in dev.conversations].index("dia110")
    assert dev.sources[place][6] is not None
    assert dev.sources[place][7] is None
    assert [n.message for n in dev.warnings if n.code == "corrupt_media"] == [
        "dia110_utt7.mp4 is known to be corrupt and is left out"
    ]
    assert any(n.message.startswith("1107 of 1109") for n in dev.warnings)  # the corrupt one apart


def test_corrected_times(meld: Path, tmp_path: Path) -> None:
    table = tmp_path / "times.csv"
    rows = [
        "dev,0,0,0,0,0.25,2.0",
        "dev,0,1,0,0,2.1,2.4",  # begins in the clip before: the shorter part
        "dev,0,1,0,1,0.5,2.5",
        "dev,0,2,0,1,2.6,3.0",  # wholly in the clip before
        "train,0,0,0,0,0.0,1.0",
    ]
    table.write_text("\n".join([HEAD, *rows]) + "\n")
    with_clips(meld, tuple(f"dia0_utt{i}.mp4" for i in range(5)))
    plain, dev = open_meld(meld).read("dev"), open_meld(meld, realignment=table).read("dev")
    spans = [(s.path.name, s.start, s.end) for s in dev.sources[0] if s is not None]
    assert spans == [
        ("dia0_utt0.mp4", 0.25, 2.0),
        ("dia0_utt1.mp4", 0.5, 2.5),
        ("dia0_utt1.mp4", 2.6, 3.0),
        ("dia0_utt3.mp4", 0.0, None),
        ("dia0_utt4.mp4", 0.0, None),
    ]
    times = [(u.start, u.end) for u in dev.conversations[0].utterances]
    assert times[:3] == [(0.25, 2.0), (3.5, 5.5), (5.6, 6.0)]  # utterance i of the table starts at 3 i
    assert times[3:] == [(u.start, u.end) for u in plain.conversations[0].utterances][3:]
    note = next(n.message for n in dev.warnings if n.code == "realigned")
    assert note.startswith("3 utterances have corrected times; 1 of them are spread over several clips")
    assert "1 lie wholly in the clip of another utterance; 27 are not listed" in note
    assert dev.sha256 != plain.sha256


def test_the_real_corrected_times(shared: Path) -> None:
    folder = shared / "data" / "meld"
    dev = open_meld(folder, realignment=folder / "MELD_video_realignment_timestamps.csv").read("dev")
    moved = dev.conversations[0].utterances[0]
    assert (moved.start, moved.end) == pytest.approx((1257.2961, 1259.8875), abs=1e-3)
    assert sum(n.code == "realigned" for n in dev.warnings) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("nowhere,0,0,0,0,0.0,1.0", "row 1 is no span"),
        ("dev,0,0,0,0,2.0,1.0", "row 1 is no span"),
        ("dev,0,0,0,0,one,2.0", "Start Time is 'one', no number"),
        ("dev,0,0,0,0,1.0", "row 1 is cut short"),
    ],
)
def test_a_damaged_table_of_times(meld: Path, tmp_path: Path, rows: str, said: str) -> None:
    table = tmp_path / "times.csv"
    table.write_text(f"{HEAD}\n{rows}\n")
    with pytest.raises(UsageError, match=said):
        open_meld(meld, realignment=table)


def test_a_folder_without_clips_is_refused(meld: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train_splits, dev_splits_complete, output_repeated_splits_test"):
        open_meld(meld, clips=tmp_path)


def test_an_unknown_label_is_told_with_its_row_and_the_nearest(meld: Path) -> None:
    table = meld / "dev_sent_emo.csv"
    lines = table.read_text().splitlines()
    lines[3] = lines[3].replace("joy", "joi").replace("anger", "angre").replace("sadness", "sadnes")
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        UsageError, match=r"row 3: unknown emotion '\w+'\. Did you mean '(joy|anger|sadness)'"
    ):
        open_meld(meld).read("dev")


def test_another_version_is_noticed(meld: Path) -> None:
    notes = [n.message for n in open_meld(meld).read("dev").warnings if n.code == "another_version"]
    assert notes == ["30 utterances, the published version has 1109: this is another version, or not whole"]


def test_there_is_no_other_split(meld: Path) -> None:
    with pytest.raises(UsageError, match="no split 'valid'"):
        open_meld(meld).read("valid")
