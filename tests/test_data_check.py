"""`erc data check`: counts that can be made by hand, and everything that would spoil training."""

from __future__ import annotations

import csv
import json
import re
import struct
import time
import wave
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Erc

from erc_cli.datacheck import Checked, Media, Ready, check_dataset
from erc_cli.dataset import open_datasets
from erc_cli.errors import UsageError
from erc_cli.learning import Source, Split
from erc_cli.mediacheck import damage
from erc_cli.options import NOTHING, schema
from erc_cli.preset import find_preset
from erc_cli.registry import load_registry
from erc_cli.specs import DatasetSpec
from erc_cli.types import Conversation, Encoded, Notice, Utterance


def talk(name: str, *texts: str, speaker: str | None = "Ann") -> Conversation:
    return Conversation(tuple(Utterance(i, i + 1, t, speaker) for i, t in enumerate(texts)), id=name)


def split(name: str, *talks: Conversation, **more: Any) -> Split:
    """Labels a and b by turns."""
    targets = tuple(tuple(i % 2 for i in range(len(t.utterances))) for t in talks)
    return Split(name, ("a", "b"), "0" * 64, talks, **{"targets": targets, **more})


@dataclass(frozen=True)
class Held:
    """A data set in memory."""

    parts: dict[str, Split] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.parts)

    def read(self, name: str) -> Split:
        if name == "broken":
            raise UsageError("row 3 is cut short.", hint="Get it anew.")
        return self.parts[name]


def held(**changes: Split) -> Held:
    parts = {
        "train": split("train", talk("t1", "one", "two", "three"), talk("t2", "four", "five")),
        "dev": split("dev", talk("d1", "six", "seven")),
        "test": split("test", talk("e1", "eight", "nine")),
    }
    return Held({**parts, **changes})


def said(checked: Checked, level: str = "") -> list[tuple[str, str]]:
    return [(f.split, f.code) for f in checked.findings if level in ("", f.level)]


def test_counts_by_hand() -> None:
    checked = check_dataset(held())
    assert checked.ok
    assert said(checked) == []
    train = checked.splits["train"]
    assert (train.dialogues, train.utterances, train.longest, train.single, train.speakers) == (2, 5, 3, 0, 1)
    assert train.classes == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (split("train"), ("train", "empty_split")),
        (split("train", talk("t", "x", "y"), targets=((-1, -1),)), ("train", "unlabelled")),
        (split("train", talk("t", "x", "y"), targets=((0, 0),)), ("train", "no_example")),
        (split("train", talk("t", "x", "y", "z"), targets=((0, 1, 2),)), ("train", "unknown_label")),
        (split("train", talk("t", "Six ", "SEVEN")), ("train, dev", "leak")),
        (split("train", talk("t", "eight", "nine")), ("train, test", "leak")),
        (
            split("train", talk("t", "x", "y"), shares=np.array([[1, 0], [np.nan, 1]], np.float32)),
            ("train", "shares"),
        ),
        (
            split("train", talk("t", "x", "y"), ready={"mel": ((None, None),)}),
            ("train", "no_features"),
        ),
        (
            split("train", talk("t", "x", "y"), sources=((Source(Path("gone.wav")), None),)),
            ("train", "no_media"),
        ),
    ],
)
def test_what_spoils_training_is_an_error(change: Split, found: tuple[str, str]) -> None:
    checked = check_dataset(held(train=change))
    assert not checked.ok
    assert found in said(checked, "error")


def test_what_is_only_odd_is_a_warning() -> None:
    backwards = Conversation((Utterance(2, 1, "x", "A"), Utterance(3, 4, " ", "A")), id="w")
    nan = Encoded(np.array([np.nan], np.float32))
    train = split(
        "train",
        backwards,
        talk("s", "alone"),
        talk("l", *map(str, range(201))),
        ready={"prosody": ((nan, None), (nan,), (nan,) * 201)},
        warnings=(Notice("another_version", "1 utterance"),),
    )
    checked = check_dataset(held(train=train))
    assert checked.ok
    codes = {"times", "no_text", "single_utterance", "long_dialogue", "not_finite", "another_version"}
    assert {code for _, code in said(checked, "warning")} == codes
    assert checked.splits["train"].ready["prosody"] == Ready(rows=203, missing=1, not_finite=203)


def test_a_missing_class_or_features_in_the_test_split_spoil_nothing() -> None:
    checked = check_dataset(held(test=split("test", talk("e", "x", "y"), targets=((0, 0),))))
    assert checked.ok
    assert said(checked) == [("test", "no_example")]


def test_short_sentences_may_be_said_twice_but_not_media() -> None:
    train = split("train", talk("a", "Thank you.", speaker=None), targets=((0,),))
    dev = split("dev", talk("b", "thank you. ", speaker=None), targets=((1,),))
    checked = check_dataset(held(train=train, dev=dev))
    assert ("train, dev", "duplicates") in said(checked, "warning")
    assert ("train, dev", "leak") not in said(checked)
    clip = ((Source(ROOT / "examples" / "conversation.mp4", 0.0, 2.0),),)
    checked = check_dataset(held(train=replace(train, sources=clip), dev=replace(dev, sources=clip)))
    assert ("train, dev", "leak") in said(checked, "error")


def test_a_split_that_cannot_be_read_or_is_not_there() -> None:
    whole = held(broken=split("broken"))
    checked = check_dataset(whole)
    assert [(f.split, f.message, f.hint) for f in checked.findings] == [
        ("broken", "row 3 is cut short.", "Get it anew.")
    ]
    assert list(checked.splits) == ["train", "dev", "test"]
    only = check_dataset(Held({"train": whole.parts["train"]}))
    assert said(only, "error") == [("dev", "no_split")]
    assert said(only, "warning") == [("test", "no_split")]


def test_media_found_missing_and_corrupt(tmp_path: Path) -> None:
    good = ROOT / "examples" / "conversation.mp4"
    half = tmp_path / "half.mp4"
    half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    sources = ((Source(good), Source(half), None), (Source(tmp_path / "gone.wav"), None))
    known = (Notice("corrupt_media", "dia1_utt1.mp4 is known to be corrupt"),)
    train = split("train", *held().parts["train"].conversations, sources=sources, warnings=known)
    checked = check_dataset(held(train=train))
    assert checked.splits["train"].media == Media(found=1, missing=2, corrupt=2)
    found = [f.message for f in checked.findings if f.level == "error"]
    assert found == [f"{half} is cut short"]


def test_damage_is_told_without_decoding(tmp_path: Path) -> None:
    good = (ROOT / "examples" / "conversation.mp4").read_bytes()
    riff = b"RIFF" + struct.pack("<I", 100) + b"WAVE"
    cases = {
        "good.mp4": (good, ""),
        "half.mp4": (good[: len(good) // 2], "is cut short"),
        "noindex.mp4": (struct.pack(">I4s", 16, b"ftyp") + b"isom" * 2, "is cut short: it has no index"),
        "empty.wav": (b"", "is empty"),
        "short.wav": (riff, "is cut short"),
        "pointer.mp4": (b"version https://git-lfs.github.com/spec/v1\n", "is text, no sound or video"),
        "page.wav": (b"<!DOCTYPE html><html>", "is text, no sound or video"),
        "some.ogg": (b"OggS\0\2" + bytes(20), ""),
    }
    for name, (content, expected) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert damage(tmp_path / name) == expected, name
    assert damage(tmp_path / "gone.mp4") == "No such file or directory"
    with wave.open(str(tmp_path / "real.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(3201))
    assert damage(tmp_path / "real.wav") == ""


def test_a_preset_beside_the_data() -> None:
    preset = find_preset("default", load_registry(), recipe=True)
    checked = check_dataset(held(), preset)
    assert checked.branches["text"] == {"train": "words", "dev": "words", "test": "words"}
    assert set(checked.branches["audio"].values()) == {"nothing"}
    assert [f.code for f in checked.findings] == ["labels"]
    pictures = Split("train", preset.labels, "0", pictures=np.zeros((7, 2, 2), np.uint8))
    pictures = replace(pictures, picture_targets=np.arange(7))
    other = replace(pictures, name="dev", pictures=np.ones((7, 2, 2), np.uint8))
    checked = check_dataset(Held({"train": pictures, "dev": other}), preset)
    assert checked.branches["visual"] == {"train": "pictures", "dev": "pictures"}
    same = check_dataset(Held({"train": pictures, "dev": replace(pictures, name="dev")}), preset)
    assert ("train, dev", "duplicates") in said(same, "warning")
    without = replace(preset, extractors={m: u for m, u in preset.extractors.items() if m == "audio"})
    assert ("", "no_branch") in said(check_dataset(held(), without), "error")


# --- the command ---------------------------------------------------------------------------


def write_table(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        head = ["split", "dialogue", "turn", "speaker", "text", "label"]
        csv.writer(stream).writerows([head, *rows])
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        [name, f"{name}1", turn, "Ann", f"{name} {turn}", ("joy", "anger")[turn % 2]]
        for name in ("train", "dev", "test")
        for turn in range(4)
    ]
    return write_table(tmp_path / "table.csv", rows)


def test_json_is_one_document(erc: Erc, table: Path) -> None:
    done = erc("data", "check", f"manifest:{table}", "--set", "data.manifest.columns.emotion=label", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["schema"] == "erc.data/1"
    assert (found["name"], found["path"], found["ok"]) == ("manifest", str(table), True)
    assert found["options"] == {"columns": {"emotion": "label"}}
    assert found["labels"] == ["joy", "anger"]
    assert found["splits"]["dev"]["classes"] == {"joy": 2, "anger": 2}
    assert found["splits"]["dev"]["media"] is None


def test_the_table_for_people_and_the_exit_code(erc: Erc, table: Path) -> None:
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    write_table(table, [*rows, *[["dev", "again", *row[2:]] for row in rows[:4]]])
    settings = ["--set", "data.manifest.columns.emotion=label"]
    done = erc("data", "check", f"manifest:{table}", *settings, "--preset", "default")
    assert done.returncode == 1
    assert re.search(r"train +1 +4 +0 +1 +4 +0 +[0-9a-f]{12}", done.stdout)
    assert re.search(r"anger +2 \(50.0 %\) +4 \(50.0 %\)", done.stdout)
    assert "error  train, dev: 1 dialogues are in both, for instance train1" in done.stdout
    assert "text: train words, dev words, test words" in done.stdout
    assert "the preset's alone: neutral" in done.stdout


def test_an_option_may_be_called_labels(erc: Erc, table: Path) -> None:
    """What erc itself gives to a `build` under that name is an option of a manifest."""
    settings = ["--set", "data.manifest.columns.emotion=label", "--set", "data.manifest.labels={joy: bliss}"]
    done = erc("data", "check", f"manifest:{table}", *settings, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"] == ["anger", "bliss"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["manifest:{table}"], "no column 'emotion'"),
        (["manifest:{table}", "--set", "data.manifest.column.x=y"], "Did you mean 'columns'"),
        (
            ["manifest:{table}", "--set", "text.past=1"],
            "without --preset there are only options of the data set",
        ),
        (["manifest"], "expected NAME:PATH"),
        (["manifests:{table}"], "Did you mean 'manifest'"),
        (["manifest:{table}x"], "Did you mean 'table.csv'"),
    ],
)
def test_what_cannot_be_opened(erc: Erc, table: Path, arguments: list[str], expected: str) -> None:
    done = erc("data", "check", *(a.format(table=table) for a in arguments))
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_real_data_in_seconds(shared: Path) -> None:
    """Every data set at hand is fit for training, and is looked at in seconds."""
    registry = load_registry()
    for name in ("meld", "iemocap", "emorynlp", "goemotions", "ravdess", "emodb", "fer2013"):
        begin = time.perf_counter()
        data = open_datasets([f"{name}:{shared / 'data' / name}"], registry)[name]
        checked = check_dataset(data)
        assert checked.ok, (name, checked.findings)
        assert not any(f.code == "another_version" for f in checked.findings), name
        assert time.perf_counter() - begin < 30  # about 1 s each on two free cores


def test_every_data_set_and_option_is_documented() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    specs = [e.spec for e in load_registry().entries if e.owner.package == "erc-cli"]
    ours = [spec for spec in specs if isinstance(spec, DatasetSpec)]
    assert len(ours) == 8
    lacking = [s.name for s in ours if s.name not in sections]
    lacking += [
        f"{s.name}.{o}"
        for s in ours
        for o in schema(s.open, NOTHING)
        if f"`{o}`" not in sections.get(s.name, "")
    ]
    assert lacking == []
    assert all(spec.licence for spec in ours if spec.name != "manifest")


def test_every_finding_is_documented() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    code = (ROOT / "erc_cli" / "datacheck.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'Finding\(\s*\S+, "([a-z_]+)"', code))
    assert len(codes) > 15
    assert [c for c in sorted(codes) if f"`{c}`" not in page] == []
