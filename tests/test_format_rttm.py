"""RTTM: turns without words in, turns with emotions out."""

from __future__ import annotations

from pathlib import Path

import pytest
from formatkit import AWKWARD, DATA, LABELS, SAID, codes, read, saved, turns, written

from erc_cli.errors import UsageError
from erc_cli.specs import Reading
from erc_cli.types import Utterance

SEVERAL = "".join(
    f"SPEAKER {name} 1 {start} 1.0 <NA> <NA> {who} <NA> <NA>\n"
    for name, start, who in [
        ("talk-1", 1.0, "a"),
        ("Talk 2".replace(" ", "_"), 2.0, "b"),
        ("talk-1", 3.0, "c"),
    ]
)


def test_turns_are_utterances_without_words() -> None:
    found = read(DATA / "turns.rttm")
    assert found.format == "rttm"
    assert turns(found) == [
        (1.0, 2.5, "Monica", ""),
        (2.25, 4.25, "SPEAKER_01", ""),
        (5.0, 5.75, None, ""),
    ]
    assert [(n.code, n.line) for n in found.warnings] == [("cue_times", 5)]


def test_of_several_recordings_the_mediums_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, "all.rttm", SEVERAL)
    assert [u.speaker for u in read(path, Reading(Path("in/Talk-1.mp4"))).utterances] == ["a", "c"]
    assert [u.speaker for u in read(path, Reading(Path("talk 2.wav"))).utterances] == ["b"]
    assert [u.speaker for u in read(saved(tmp_path, "talk_2.rttm", SEVERAL)).utterances] == ["b"]


def test_several_recordings_and_none_that_fits(tmp_path: Path) -> None:
    path = saved(tmp_path, "it's all.rttm", SEVERAL)
    for reading in (None, Reading(Path("other.mp4"))):
        with pytest.raises(UsageError, match=r"2 recordings, none .*: talk-1, Talk_2") as caught:
            read(path, reading)
        assert "grep -F ' talk-1 '" in (caught.value.hint or "")


def test_one_recording_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.rttm", SEVERAL.replace("Talk_2", "talk-1"))
    assert len(read(path, Reading(Path("other.mp4"))).utterances) == 3


@pytest.mark.parametrize(
    "text", ["SPEAKER a 1 1.0", "SPEAKER\nSPEAKER", "SPEAKER a 1 nan inf <NA> <NA> x", "x"]
)
def test_damaged_lines_are_a_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="rttm cue") as caught:
        read(saved(tmp_path, "t.rttm", text), format="rttm")
    assert "SPEAKER video 1" in (caught.value.hint or "")


def test_each_turn_has_a_line_for_its_emotion(tmp_path: Path) -> None:
    path = written(tmp_path, "rttm", *SAID[2:])
    assert path.read_text(encoding="utf-8").splitlines() == [
        "SPEAKER v 1 2.750 1.250 <NA> <NA> Monica <NA> <NA>",
        "NON-LEX v 1 2.750 1.250 anger other Monica 0.61 <NA>",
        "SPEAKER v 1 3600.000 61.123 <NA> <NA> Phoebe_Buffay <NA> <NA>",
        "NON-LEX v 1 3600.000 61.123 anger other Phoebe_Buffay 0.61 <NA>",
        "SPEAKER v 1 3662.000 1.000 <NA> <NA> <NA> <NA> <NA>",
        "NON-LEX v 1 3662.000 1.000 anger other <NA> 0.61 <NA>",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pyannote_reads_the_turns(tmp_path: Path) -> None:
    util = pytest.importorskip("pyannote.database.util", reason="needs pyannote.database")
    found = util.load_rttm(str(written(tmp_path, "rttm", *SAID[:4])))["v"]
    rows = [(round(s.start, 3), round(s.end, 3), who) for s, _, who in found.itertracks(yield_label=True)]
    assert rows == [(u.start, u.end, (u.speaker or "").replace(" ", "_")) for u in SAID[:4]]


def test_every_line_has_ten_fields_and_speakers_stay_apart(tmp_path: Path) -> None:
    said = (*AWKWARD, Utterance(8, 8, "", "A B"), Utterance(8, 9, "", "A_B"), Utterance(8, 9, "", "\x00 \n"))
    path = written(tmp_path, "rttm", *said, labels=(*LABELS[:2], "very angry"))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert {len(line.split(" ")) for line in lines} == {10}
    names = {line.split()[7] for line in lines if line.startswith("SPEAKER")}
    assert len(names) == len({u.speaker for u in said})
    assert {"A_B", "A_B_2"} <= names
    assert "very_angry" in lines[1]
    assert all(float(line.split()[4]) > 0 for line in lines)


def test_we_read_back_the_turns_we_write(tmp_path: Path) -> None:
    found = read(written(tmp_path, "rttm", *SAID))
    assert [(u.start, u.end) for u in found.utterances] == [(u.start, u.end) for u in SAID]
    assert [u.speaker for u in found.utterances][-2:] == ["Phoebe_Buffay", None]
    assert "cue_empty" not in codes(found)
