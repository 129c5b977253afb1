"""IEMOCAP: the released folder (a small one made here), and the table of sessions 1 to 4."""

from __future__ import annotations

import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import UsageError
from erc_data_iemocap import open_iemocap
from erc_data_iemocap.turns import DEV, held_out, split_dialogues

LABELS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
JUDGED = (
    ("F000", 6.2901, 8.2357, "neu", "Excuse me."),
    ("M000", 10.01, 11.3925, "fru", "Do you have your forms?"),
    ("F001", 9.925, 12.6, "xxx", "Yeah."),  # is written last, starts before M000
    ("M001", 14.0, 15.5, "hap", "caf\xe9"),
)


def write_dialogue(root: Path, name: str, *, sound: bool = True) -> None:
    """One dialogue in the release's own format."""
    dialog = root / f"Session{name[4]}" / "dialog"
    for inner in ("transcriptions", "EmoEvaluation", "wav", "avi/DivX"):
        (dialog / inner).mkdir(parents=True, exist_ok=True)
    said, judged = [], ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn, start, end, emotion, text in JUDGED:
        said.append(f"{name}_{turn} [{start:08.4f}-{end:08.4f}]: {text}")
        judged.append(f"[{start:.4f} - {end:.4f}]\t{name}_{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]")
        judged.append(f"C-E2:\t{emotion.title()};\t()")
        judged.append("A-E3:\tval 3; act 2; dom  2;\t()")
        judged.append("")
    said.append(f"{name}_MXX0 [016.0000-016.5000]: Hm.")
    said.append("M: a line that names no turn")
    (dialog / "transcriptions" / f"{name}.txt").write_bytes("\n".join(said).encode("cp1252"))
    (dialog / "transcriptions" / f"._{name}.txt").write_bytes(b"\0\5\x16\7")
    (dialog / "EmoEvaluation" / f"{name}.txt").write_text("\n".join(judged))
    if sound:
        with wave.open(str(dialog / "wav" / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(np.zeros(1600, "<i2").tobytes())


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "IEMOCAP_full_release"
    names = [f"Ses0{n}{who}_{kind}" for n in (1, 2, 3) for who in "FM" for kind in ("impro01", "script01_1")]
    for name in (*names, "Ses04F_impro01", "Ses04M_impro01", "Ses05F_impro01"):
        write_dialogue(root, name)
    return root


def test_the_released_folder(release: Path) -> None:
    data = open_iemocap(release)
    assert data.splits == ("train", "dev", "test")
    train = data.read("train")
    assert train.labels == LABELS
    talk = train.conversations[0]
    assert talk.id == "Ses01F_impro01"
    assert [(u.start, u.speaker, u.text) for u in talk.utterances] == [
        (6.2901, "F", "Excuse me."),
        (9.925, "F", "Yeah."),
        (10.01, "M", "Do you have your forms?"),
        (14.0, "M", "caf\xe9"),
        (16.0, "M", "Hm."),
    ]
    assert train.targets[0] == (2, -1, 5, 0, -1)
    source = train.sources[0][2]
    assert source is not None
    assert source.path == release / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav"
    assert (source.start, source.end) == (10.01, 11.3925)
    assert [c.id for c in data.read("dev").conversations] == ["Ses04M_impro01"]
    assert [c.id for c in data.read("test").conversations] == ["Ses05F_impro01"]
    assert "Ses04F_impro01" in {c.id for c in train.conversations}
    codes = Counter(n.code for n in train.warnings)
    assert codes == {"another_version": 1, "odd_lines": 1}


def test_other_sources_and_unlabelled_left_out(release: Path) -> None:
    clip = release / "Session1" / "dialog" / "avi" / "DivX" / "Ses01F_impro01.avi"
    clip.write_bytes(b"RIFF")
    train = open_iemocap(release, media="avi", unlabelled="drop").read("train")
    assert train.targets[0] == (2, 5, 0)
    assert train.sources[0][0] is not None
    assert train.sources[0][0].path == clip
    assert train.sources[1] == (None, None, None)
    note = next(n.message for n in train.warnings if n.code == "missing_media")
    assert note.startswith("36 of 39 utterances")


def test_session_4_as_the_test_split_needs_no_session_5(release: Path) -> None:
    data = open_iemocap(release, test="session4")
    assert [c.id for c in data.read("test").conversations] == ["Ses04F_impro01", "Ses04M_impro01"]
    dev = {c.id for c in data.read("dev").conversations}
    # each session, half and kind has one dialogue here, so all of them are held out
    assert len(dev) == 12
    assert "train" not in data.splits


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda r: (r / "Session3").rename(r / "gone"), "Session3 with dialog/transcriptions not found"),
        (
            lambda r: (r / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt").unlink(),
            "no such file, though Ses02F_impro01.txt is transcribed",
        ),
        (
            lambda r: (r / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").write_text(
                "[6.2901 - 8.2357]\tSes01F_impro01_F000\tnuu\t[2.5, 2.5, 2.5]"
            ),
            r"line 1: unknown emotion 'nuu'\. Did you mean 'neu'",
        ),
        (
            lambda r: (r / "Session1/dialog/transcriptions/Ses01F_impro01.txt").write_text("Ses01F_im"),
            "no line such as",
        ),
    ],
)
def test_half_a_download(release: Path, break_it: object, said: str) -> None:
    break_it(release)  # type: ignore[operator]
    with pytest.raises(UsageError, match=said) as caught:
        open_iemocap(release)
    assert caught.value.hint


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither IEMOCAP's released folder nor a table"):
        open_iemocap(tmp_path)


def test_the_table_has_the_published_counts(shared: Path) -> None:
    data = open_iemocap(shared / "data" / "iemocap", unlabelled="drop")
    assert data.splits == ("train", "dev")  # session 5 is not there
    sizes = {n: (len(s.conversations), sum(map(len, s.targets))) for n in data.splits for s in [data.read(n)]}
    assert sizes == {"train": (100, 4778), "dev": (20, 980)}
    with pytest.raises(UsageError, match="no split 'test'"):
        data.read("test")


def test_the_table_tested_on_session_4(shared: Path) -> None:
    data = open_iemocap(shared / "data" / "iemocap" / "sessions_1_to_4.csv", test="session4")
    splits = {name: data.read(name) for name in data.splits}
    assert {n: len(s.conversations) for n, s in splits.items()} == {"train": 78, "dev": 12, "test": 30}
    assert {c.id[:5] for c in splits["test"].conversations} == {"Ses04"}
    dev = [c.id for c in splits["dev"].conversations]
    assert Counter(name[:6] for name in dev) == dict.fromkeys(
        ("Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F", "Ses03M"), 2
    )
    assert min(Counter(t for row in splits["dev"].targets for t in row).values()) > 10  # every class
    for split in splits.values():
        starts = [[u.start for u in c.utterances] for c in split.conversations]
        assert all(row == sorted(row) for row in starts)
        rows = [r.values for talk in split.ready["columns-audio"] for r in talk if r is not None]
        assert all(row is not None and row.shape == (16,) and np.isfinite(row).all() for row in rows)
        some = next(r for talk in split.ready["prosody"] for r in talk)
        assert some is not None
        assert some.values is not None
        assert some.values.shape == (8,)


def test_any_session_may_be_left_out(shared: Path) -> None:
    table = shared / "data" / "iemocap" / "sessions_1_to_4.csv"
    data = open_iemocap(table, test="session2", unused=("session4", "session5"))
    seen = {name: Counter(c.id[:5] for c in data.read(name).conversations) for name in data.splits}
    assert seen == {
        "train": {"Ses01": 24, "Ses03": 28},
        "dev": {"Ses01": 4, "Ses03": 4},
        "test": {"Ses02": 30},
    }


def test_five_sessions_in_turn(release: Path) -> None:
    data = open_iemocap(release, test="session1", unused=())
    assert {c.id[:5] for c in data.read("test").conversations} == {"Ses01"}
    assert {c.id[:5] for c in data.read("dev").conversations} == {"Ses02", "Ses03", "Ses04", "Ses05"}


def test_a_session_is_not_tested_on_and_left_aside(release: Path) -> None:
    with pytest.raises(UsageError, match="session4 is the test split, and unused") as caught:
        open_iemocap(release, test="session4", unused=("session4", "session5"))
    assert "unused=[session5]" in caught.value.hint


def test_the_held_out_dialogues_are_always_the_same() -> None:
    names = [f"Ses01{who}_{kind}" for who in "FM" for kind in ("impro01", "impro02", "script01", "script02")]
    assert held_out(names) == held_out(reversed(names))
    # by hand, printf NAME | sha256sum: 1b15 f0af | 3cd2 1e85 and c9b5 c9c4 | ee96 da28
    assert held_out(names) == {"Ses01F_impro01", "Ses01F_script02", "Ses01M_impro01", "Ses01M_script02"}
    assert len(DEV) == 20
    assert split_dialogues(["Ses05F_impro01"], "session5") == {"test": ("Ses05F_impro01",)}
