"""Formats, columns and speakers' names on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Erc, needs
from formatkit import DATA, SAID, saved, written
from mediakit import Audio, sweep, write

from erc_cli.errors import UsageError
from erc_cli.prediction import find_transcript, open_recording
from erc_cli.registry import load_registry

SCRIPT = ROOT / "examples" / "conversation.srt"
TABLE = "Begin,Stop,Words,Who\n0.5,2,I am so happy!,S1\n2,4,Oh no.,S2\n"


def test_a_table_with_its_own_names_becomes_subtitles_and_tiers(erc: Erc, tmp_path: Path) -> None:
    table = saved(tmp_path, "-t'able x.csv", TABLE)
    names = saved(tmp_path, "names.yaml", "S1: Monica\nS3: Ross\n")
    done = erc(
        *("predict", "--transcript", table, "--keep", "text", "--json", "--speakers", names),
        *("--columns", "start=Begin,end=Stop,text=Words", "--columns", "speaker=Who"),
        *("-o", tmp_path / "a.eaf", "-o", tmp_path / "a.TextGrid", "-o", tmp_path / "a.rttm"),
    )
    assert done.returncode == 0, done.stderr
    assert [u["speaker"] for u in json.loads(done.stdout)["utterances"]] == ["Monica", "S2"]
    assert "names.yaml renames 'S3', who does not speak here. Did you mean 'S2'?" in done.stderr
    assert "a.rttm (left out: words" in done.stderr
    back = open_recording(None, tmp_path / "a.eaf", load_registry())
    assert [(u.speaker, u.text) for u in back.transcript.utterances] == [
        ("Monica", "I am so happy!"),
        ("S2", "Oh no."),
    ]


def test_a_format_by_name(erc: Erc, tmp_path: Path) -> None:
    out = tmp_path / "talk.subs"
    done = erc("predict", "-t", SCRIPT, "--keep", "text", "-q", "-o", out, "--format", "vtt")
    assert done.returncode == 0, done.stderr
    assert out.read_text(encoding="utf-8").startswith("WEBVTT\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "x.sub"), "--format NAME"),
        (("-o", "x"), "--format NAME"),
        (("-o", "x.sub", "--format", "vt"), "Did you mean 'vtt'?"),
        (("--format", "vtt"), "--format is for -o"),
        (("--columns", "begin=x"), "--columns has no 'begin'"),
        (("--columns", "start=x"), "has no columns to name"),
        (("--speakers", "none.yaml"), "There is no map of speakers none.yaml"),
        (("--speakers", str(SCRIPT)), "is not YAML"),
        (("--speakers", "m.yaml", "-o", "m.yaml", "--format", "csv", "--force"), "is the input m.yaml"),
    ],
)
def test_what_is_refused(erc: Erc, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = erc("predict", "--transcript", SCRIPT, "--keep", "text", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_video_of_what_has_no_pictures_is_refused_before_the_work(
    erc: Erc, tmp_path: Path, command: str
) -> None:
    needs("PIL", "matplotlib")
    hum = write(tmp_path / "talk.wav", audio=Audio(sweep(6), codec="pcm_s16le"))
    for medium, said, hint in (
        ((), "words only", "erc predict VIDEO"),
        ((hum,), "sound only", "-o out.html"),
    ):
        done = erc(command, *medium, "-t", SCRIPT, "-o", tmp_path / "a.json", "-o", tmp_path / "a.mp4")
        assert done.returncode == 2
        assert done.stdout == ""
        assert said in done.stderr
        assert hint in done.stderr
        assert "fusion:" not in done.stderr, "the model was loaded"
    assert not list(tmp_path.glob("a.*"))


def test_ablate_reads_what_predict_reads(erc: Erc, tmp_path: Path) -> None:
    table = saved(tmp_path, "talk.csv", TABLE)
    names = saved(tmp_path, "names.yaml", "S1: Monica\nS2: Ross\n")
    columns = "start=Begin,end=Stop,text=Words,speaker=Who"
    done = erc(
        *("ablate", "--transcript", table, "--columns", columns, "--speakers", names),
        *("--drop", "audio", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert [u["speaker"] for u in json.loads(done.stdout)["utterances"]] == ["Monica", "Ross"]
    refused = erc("ablate", "default", "--data", "meld:x", "--speakers", names)
    assert refused.returncode == 2
    assert "--speakers belongs to a recording" in refused.stderr


def test_transcripts_beside_a_medium_by_their_ending(tmp_path: Path) -> None:
    registry = load_registry()
    medium = saved(tmp_path, "talk.mp4", "x")
    shutil.copy(written(tmp_path, "rttm", *SAID), tmp_path / "talk.rttm")
    with pytest.raises(UsageError, match="No transcript given"):
        find_transcript(medium, registry)  # what we wrote ourselves has no words
    shutil.copy(DATA / "turns.rttm", tmp_path / "talk.rttm")
    assert find_transcript(medium, registry).name == "talk.rttm"
    shutil.copy(DATA / "long.TextGrid", tmp_path / "talk.TextGrid")
    assert find_transcript(medium, registry).name == "talk.TextGrid"
    shutil.copy(DATA / "workshop.eaf", tmp_path / "talk.eaf")
    assert find_transcript(medium, registry).name == "talk.eaf"
    shutil.copy(SCRIPT, tmp_path / "talk.srt")
    assert find_transcript(medium, registry).name == "talk.srt"


def test_turns_without_words_are_heard_and_seen(erc: Erc, tmp_path: Path) -> None:
    turns = saved(tmp_path, "t.rttm", "SPEAKER x 1 0.45 3.2 <NA> <NA> ANNA <NA> <NA>\n")
    done = erc("predict", ROOT / "examples" / "conversation.mp4", "-t", turns, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["utterances"][0]
    assert {name: part["status"] for name, part in found["modalities"].items()} == {
        "text": "no_text",
        "audio": "ok",
        "visual": "ok",
    }
