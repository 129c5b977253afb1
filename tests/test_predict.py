"""`erc predict` and `erc ablate` as a user runs them: the shipped preset, real media."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from batchkit import script, sound
from conftest import EMOTIONS, ROOT, Erc
from mediakit import Video, write

MEDIA = ROOT / "examples" / "conversation.mp4"
SCRIPT = ROOT / "examples" / "conversation.srt"
PRESET = ROOT / "presets" / "default"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, erc: Erc) -> tuple[Path, str]:
    """A folder with every output of one run, and what the run said on stdout."""
    folder = tmp_path_factory.mktemp("outputs")
    named = [arg for ending in ("json", "jsonl", "csv", "srt") for arg in ("-o", folder / f"out.{ending}")]
    done = erc("predict", MEDIA, "--transcript", SCRIPT, *named)
    assert done.returncode == 0, done.stderr
    assert "Written:" in done.stderr
    return folder, done.stdout


def test_the_example_is_understood(outputs: tuple[Path, str]) -> None:
    """Plain words of joy, surprise and a matter of fact are read as such."""
    utterances = json.loads((outputs[0] / "out.json").read_text())["utterances"]
    assert len(utterances) == 8
    labels = [u["label"] for u in utterances]
    assert labels[:3] == ["joy", "surprise", "neutral"]
    assert [u["speaker"] for u in utterances[:2]] == ["ANNA", "BEN"]


def test_silence_and_missing_faces_are_told(outputs: tuple[Path, str]) -> None:
    utterances = json.loads((outputs[0] / "out.json").read_text())["utterances"]
    statuses = [{m: v["status"] for m, v in u["modalities"].items()} for u in utterances]
    assert [s["visual"] for s in statuses] == ["ok", "ok", "no_face", "no_face", "ok", "ok", "ok", "no_face"]
    assert [s["audio"] for s in statuses] == ["ok"] * 6 + ["silent", "ok"]
    silent = utterances[6]["modalities"]["audio"]
    assert silent["contribution"] == 0
    assert "probabilities" not in silent


def test_the_document_keeps_the_contract(outputs: tuple[Path, str]) -> None:
    found = json.loads((outputs[0] / "out.json").read_text())
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found["schema"] == "erc.result/1"
    assert tuple(found["labels"]) == EMOTIONS
    assert found["meta"]["preset"] == "default"
    assert found["meta"]["plugins"]["text"].startswith("minilm ")
    assert found["media"]["duration"] == pytest.approx(28.56, abs=0.1)
    for utterance in found["utterances"]:
        assert sum(utterance["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert utterance["confidence"] == max(utterance["probabilities"].values())
    assert sum(s["utterances"] for s in found["speakers"]) == 8


def test_all_formats_say_the_same(outputs: tuple[Path, str]) -> None:
    folder, table = outputs
    labels = [u["label"] for u in json.loads((folder / "out.json").read_text())["utterances"]]
    lines = (folder / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == labels
    with (folder / "out.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["label"] for row in csv.DictReader(stream)] == labels
    subtitles = (folder / "out.srt").read_text(encoding="utf-8")
    assert all(f"[{label} " in subtitles for label in labels)
    for word in (*labels, "ANNA", "BEN", "no face", "silent", "said"):
        assert word in table


def test_json_on_stdout_and_nothing_else(erc: Erc, outputs: tuple[Path, str]) -> None:
    done = erc("predict", MEDIA, "-t", SCRIPT, "--json", "--drop", "visual")
    found = json.loads(done.stdout)
    assert {u["modalities"]["visual"]["status"] for u in found["utterances"]} == {"dropped"}
    assert "█" not in done.stdout
    # what is dropped changes nothing for the others
    before = json.loads((outputs[0] / "out.json").read_text())["utterances"]
    for a, b in zip(before, found["utterances"], strict=True):
        text = a["modalities"]["text"]["probabilities"]
        assert text == pytest.approx(b["modalities"]["text"]["probabilities"])


def test_text_alone_needs_no_medium(erc: Erc) -> None:
    done = erc("predict", "--transcript", SCRIPT, "--keep", "text", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["media"] is None
    assert found["meta"]["biometric"] is False
    done = erc("predict", "--transcript", SCRIPT, "--json")
    modalities = json.loads(done.stdout)["utterances"][0]["modalities"]
    assert modalities["audio"]["status"] == "no_audio_track"
    assert modalities["visual"]["status"] == "no_video"


def test_sound_alone_is_enough(erc: Erc, tmp_path: Path) -> None:
    sound(tmp_path / "talk.wav", seconds=4.0)
    script(tmp_path / "t.srt")
    done = erc("predict", tmp_path / "talk.wav", "--transcript", tmp_path / "t.srt", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["media"]["audio"], found["media"]["video"]) == (True, False)
    statuses = [{m: v["status"] for m, v in u["modalities"].items()} for u in found["utterances"]]
    assert statuses == [{"text": "ok", "audio": "ok", "visual": "no_video"}] * 3


def test_a_film_without_sound_is_enough(erc: Erc, tmp_path: Path) -> None:
    """And its transcript is found beside it."""
    write(tmp_path / "clip.mp4", video=Video([i / 5 for i in range(20)]))
    script(tmp_path / "clip.srt")
    done = erc("predict", tmp_path / "clip.mp4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["media"]["audio"], found["media"]["video"]) == (False, True)
    statuses = [{m: v["status"] for m, v in u["modalities"].items()} for u in found["utterances"]]
    assert statuses == [{"text": "ok", "audio": "no_audio_track", "visual": "no_face"}] * 3
    assert "clip.srt (found beside the medium)" in done.stderr


def test_different_recordings_are_told_so(erc: Erc, tmp_path: Path) -> None:
    """No moment in common: with words a warning, without them nothing is left to judge by."""
    sound(tmp_path / "talk.wav")
    late = script(tmp_path / "other.srt", begin=100.0)
    done = erc("predict", tmp_path / "talk.wav", "-t", late, "--keep", "audio")
    assert done.returncode == 2
    assert "other.srt and talk.wav look like different recordings" in done.stderr
    assert "begins at 100.0 s, and talk.wav ends at 3.0 s" in done.stderr
    assert "nothing to judge by" not in done.stderr
    assert "Warning" not in done.stderr
    assert "--transcript FILE" in done.stderr
    done = erc("predict", tmp_path / "talk.wav", "-t", late, "--drop", "visual", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("look like different recordings") == 1
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["code"] == "outside_media"
    assert "Only the words are judged." in warning["message"]


def test_a_transcript_beside_the_medium_is_found(erc: Erc, tmp_path: Path) -> None:
    shutil.copy(MEDIA, tmp_path / "talk show.mp4")
    shutil.copy(SCRIPT, tmp_path / "talk show.srt")
    done = erc("predict", tmp_path / "talk show.mp4", "--keep", "text", "--json")
    assert json.loads(done.stdout)["transcript"]["path"].endswith("talk show.srt")


def test_the_transcript_beside_the_medium_is_never_an_output_or_a_result(
    erc: Erc, tmp_path: Path, outputs: tuple[Path, str]
) -> None:
    media = tmp_path / "talk.mp4"
    shutil.copy(MEDIA, media)
    for ending in ("json", "csv", "jsonl"):
        shutil.copy(outputs[0] / f"out.{ending}", tmp_path / f"talk.{ending}")
    done = erc("predict", media)
    assert done.returncode == 2
    assert "No transcript given" in done.stderr
    shutil.copy(SCRIPT, tmp_path / "talk.srt")
    done = erc("predict", media, "-o", tmp_path / "talk.srt", "--force")
    assert done.returncode == 2
    assert "is the input" in done.stderr
    assert (tmp_path / "talk.srt").read_bytes() == SCRIPT.read_bytes()


def test_subtitles_beside_the_medium_come_first(tmp_path: Path) -> None:
    from erc_cli.prediction import find_transcript
    from erc_cli.registry import load_registry

    registry = load_registry()
    media = tmp_path / "talk.mp4"
    media.touch()
    found = []
    for ending in ("tsv", "json", "ass", "vtt", "SRT"):
        (tmp_path / f"talk.{ending}").write_text('{"segments": []}')
        found.append(find_transcript(media, registry).suffix)
    assert found[:2] == [".tsv", ".json"]
    assert found[2:] == [".ass", ".vtt", ".SRT"]


def test_a_full_stdout_loses_no_file(erc: Erc, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    shutil.copy(MEDIA, tmp_path / "talk.mp4")
    shutil.copy(SCRIPT, tmp_path / "talk.srt")
    arguments = ["predict", "talk.mp4", "-o", "out.json", "--keep", "text", "--set", "text.past=2"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "erc_cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Transcript: talk.srt (found beside the medium)" in done.stderr
    assert "could not be written to stdout" in done.stderr
    meta = json.loads((tmp_path / "out.json").read_text())["meta"]
    assert meta["settings"] == ["text.past=2"]
    assert meta["dropped"] == ["audio", "visual"]
    assert meta["preset_sha256"] == hashlib.sha256((PRESET / "preset.yaml").read_bytes()).hexdigest()


def test_nothing_to_judge_by_is_told(erc: Erc, tmp_path: Path) -> None:
    """Without a medium there is no voice: neither is one made up for a single utterance nor for all."""
    done = erc("predict", "-t", SCRIPT, "--keep", "audio")
    assert done.returncode == 2
    assert "nothing to judge by" in done.stderr
    late = tmp_path / "late.srt"
    late.write_text(SCRIPT.read_text() + "\n9\n00:05:00,000 --> 00:05:02,000\nANNA: Are you still there?\n")
    done = erc("predict", MEDIA, "-t", late, "--keep", "audio", "-o", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    assert "they have no sound or picture" in done.stderr
    assert "2 utterances have no voice to judge by" in done.stderr  # one is silent
    assert done.stdout.count("(prior)") == 2
    codes = [w["code"] for w in json.loads((tmp_path / "out.json").read_text())["warnings"]]
    assert "nothing_present" in codes


def test_utterances_after_the_end_keep_their_text(erc: Erc, tmp_path: Path) -> None:
    late = tmp_path / "late.srt"
    late.write_text(SCRIPT.read_text() + "\n9\n00:05:00,000 --> 00:05:02,000\nANNA: Are you still there?\n")
    done = erc("predict", MEDIA, "--transcript", late, "--json")
    assert done.returncode == 0
    last = json.loads(done.stdout)["utterances"][-1]
    assert last["modalities"]["audio"]["status"] == "outside_media"
    assert last["modalities"]["visual"]["status"] == "outside_media"
    assert last["modalities"]["text"]["status"] == "ok"
    assert "1 of 9 utterances begin after the end" in done.stderr


def test_a_film_cut_off_in_the_middle_gives_what_is_there(erc: Erc, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(MEDIA.read_bytes()[:200_000])
    done = erc("predict", tmp_path / "cut.mp4", "-t", SCRIPT, "--json")
    assert done.returncode == 0, done.stderr
    modalities = [u["modalities"] for u in json.loads(done.stdout)["utterances"]]
    assert modalities[0]["audio"]["status"] == modalities[0]["visual"]["status"] == "ok"
    assert modalities[-1]["audio"]["status"] == modalities[-1]["visual"]["status"] == "unreadable"
    assert {m["text"]["status"] for m in modalities} == {"ok"}
    assert "Warning" in done.stderr


def test_ablate_shows_what_changes(erc: Erc) -> None:
    done = erc("ablate", "--drop", "visual")
    assert done.returncode == 0, done.stderr
    assert "without visual" in done.stdout
    assert "of 8 labels change" in done.stdout
    assert "Using the example: " in done.stderr
    assert "Emotion as expressed, not felt" in done.stderr


def test_ablate_as_json_agrees_with_predict(erc: Erc) -> None:
    done = erc("ablate", MEDIA, "--transcript", SCRIPT, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "erc.ablation/1"
    assert found["warnings"] == []
    assert [w["dropped"] for w in found["without"]] == [["text"], ["audio"], ["visual"]]
    predicted = json.loads(erc("predict", MEDIA, "-t", SCRIPT, "--json", "--drop", "visual").stdout)
    without = found["without"][2]
    assert [u["label"] for u in without["utterances"]] == [u["label"] for u in predicted["utterances"]]
    for a, b in zip(without["utterances"], predicted["utterances"], strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-6)
    changed = [
        i
        for i, (a, b) in enumerate(zip(found["utterances"], without["utterances"], strict=True))
        if a["label"] != b["label"]
    ]
    assert without["changed"] == changed


def test_ablate_refuses_to_drop_everything(erc: Erc) -> None:
    done = erc("ablate", "--drop", "text", "--drop", "audio", "--drop", "visual")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
