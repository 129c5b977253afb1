"""`--min-confidence` in use: folders, lines that come one by one, what is refused; and its parts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from batchkit import entries, script, tiny_preset
from certaintykit import MEDIA, SAID, SCRIPT, check
from conftest import Erc
from test_format_colours import SEEN, lab

from erc_cli import UsageError, certainty, load_preset, read_result
from erc_cli.emotion_colours import GREY, PALETTE, colour_of
from erc_cli.prediction import Wanted, choose
from erc_cli.registry import load_registry
from erc_cli.types import UNCERTAIN, Prediction


def test_lines_that_come_one_by_one(erc: Erc) -> None:
    text = load_preset("default", keep="text", device="cpu").predict(transcript=SCRIPT)
    middle = float(np.median([found.confidence for found in text.predictions]))
    done = erc(
        *("predict", "-t", SCRIPT, "--keep", "text", "--device", "cpu", "-q"),
        *("--min-confidence", middle, "--jsonl", "-"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [UNCERTAIN if p.confidence < middle else text.labels[p.best] for p in text.predictions]
    assert [row["label"] for row in rows] == labels
    assert labels.count(UNCERTAIN) == 4
    assert [row.get("most_probable", row["label"]) for row in rows] == [
        text.labels[p.best] for p in text.predictions
    ]


# --- folders ---------------------------------------------------------------------------------


def test_a_folder(erc: Erc, tiny_bert: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path / "preset", tiny_bert)
    for name in ("a", "b"):
        script(tmp_path / "in" / f"{name}.srt", cues=4)
    typed = ("predict", tmp_path / "in", "-o", tmp_path / "out", "--preset", preset, "--device", "cpu")
    done = erc(*typed)
    assert done.returncode == 0, done.stderr
    assert "uncertain" not in done.stderr
    assert {one["uncertain"] for one in entries(tmp_path / "out").values()} == {None}
    before = read_result(tmp_path / "out" / "a.json")
    middle = float(np.median([found.confidence for found in before.predictions]))
    done = erc(*typed, "--min-confidence", middle)
    assert done.returncode == 0, done.stderr
    assert "To do: 2 (2 other settings (min_confidence))" in done.stderr
    assert "4 of 8 utterances are uncertain" in done.stderr
    for name in ("a", "b"):
        document = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
        check(document)
        assert [row["label"] == UNCERTAIN for row in document["utterances"]] == [
            found.confidence < middle for found in before.predictions
        ]
        entry = entries(tmp_path / "out")[f"{name}.srt"]
        assert (entry["uncertain"], entry["settings"]["min_confidence"]) == (2, middle)
    again = erc(*typed, "--min-confidence", middle)
    assert "Nothing to do: 2 unchanged." in again.stderr
    assert "4 of 8 utterances are uncertain" in again.stderr
    assert erc(*typed, "--min-confidence", middle, "-q").stderr == ""


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "abc", "60%"])
def test_what_is_no_probability_is_refused(erc: Erc, value: str) -> None:
    done = erc("predict", MEDIA, "--min-confidence", value)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"Invalid value for '--min-confidence': '{value}' is no probability: a number from 0 to 1"
    assert said in done.stderr


def test_a_preset_whose_emotion_is_called_so(tiny_bert: Path, tmp_path: Path) -> None:
    path = tiny_preset(tmp_path, tiny_bert)
    path.write_text(path.read_text().replace("anger]", "Uncertain]"))
    registry = load_registry()
    assert choose(Wanted(str(path)), registry).preset.labels[-1] == "Uncertain"
    with pytest.raises(UsageError, match="'Uncertain' is an emotion of this preset"):
        choose(Wanted(str(path), min_confidence=0.5), registry)
    with pytest.raises(UsageError, match="'Uncertain' is an emotion of this preset"):
        load_preset(path, device="cpu").predict(None, SAID, min_confidence=0.5)


# --- its parts -------------------------------------------------------------------------------


def test_how_many_are_uncertain() -> None:
    assert certainty.told(0, 8, 0.6) == ""
    assert certainty.told(1, 8, 0.6).startswith("1 of 8 utterances is uncertain: ")
    assert certainty.told(8, 8, 0.99).startswith("8 of 8 utterances are uncertain: ")
    assert "0.99 or more" in certainty.told(8, 8, 0.99)


def test_a_label_by_hand() -> None:
    found = Prediction((0.3, 0.6, 0.1), {})
    assert found.label(("a", "b", "c")) == found.label(("a", "b", "c"), 0.6) == "b"
    assert found.label(("a", "b", "c"), 0.61) == UNCERTAIN
    assert not found.below(0.0)


@pytest.mark.parametrize("eye", SEEN)
def test_the_grey_is_apart_from_every_emotion_for_every_eye(eye: str) -> None:
    grey = lab(GREY, SEEN[eye])
    for name, colour in PALETTE.items():
        apart = sum((p - q) ** 2 for p, q in zip(grey, lab(colour, SEEN[eye]), strict=True)) ** 0.5
        assert apart >= 20, name
    assert colour_of(UNCERTAIN, ("neutral", "joy")) == GREY
    odd = [f"label {i}" for i in range(40)]
    assert GREY not in {colour_of(label, odd) for label in odd}
