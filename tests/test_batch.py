"""`erc predict` of folders as a user runs it: bad files, changes, several processes, odd names, wrong use."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import batchkit
import pytest
from batchkit import entries, recording, script, sound, without_times
from conftest import Erc, needs

needs("text", "transformers", "tokenizers")

QUOTED, DASH, LINES = 'it\'s "x" [red]é.wav', "-dash.wav", "new\nline.wav"
ODD = os.fsdecode(b"caf\xe9.wav")
preset = batchkit.preset  # a fixture


def odd_names(folder: Path) -> list[str]:
    """Names that the file system takes, and a plain one below."""
    names = [QUOTED, DASH, LINES, ODD, "sub/a b.wav"]
    for i, name in enumerate(names):
        path = folder / name
        recording(path.with_suffix(""), pitch=120 + 20 * i)
    return names


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, erc: Erc, preset: Path) -> dict[str, Any]:
    """A folder with good and bad recordings, done twice."""
    home = tmp_path_factory.mktemp("batch")
    media, out = home / "media", home / "out"
    names = odd_names(media)
    (media / "bad.mp4").write_text("no film\n" * 50)
    script(media / "bad.srt")
    sound(media / "alone.wav")
    recording(media / "twice", ending=".flac")
    sound(media / "twice.wav")
    command = ["predict", media, "-p", preset, "-o", out, "--format", "json", "--format", "srt"]
    first = erc(*command)
    before = entries(out)
    again = erc(*command, "--json")
    return {
        "home": home,
        "media": media,
        "out": out,
        "names": names,
        "command": command,
        "first": first,
        "before": before,
        "again": again,
    }


def shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def test_a_bad_file_stops_no_other(batch: dict[str, Any]) -> None:
    assert batch["first"].returncode == 3, batch["first"].stderr
    found = batch["before"]
    good = {*map(shown, batch["names"]), "twice.flac"} - {"twice.flac"}
    assert {name for name, one in found.items() if one["state"] == "done"} == {*good, "twice.wav"}
    assert {name for name, one in found.items() if one["state"] == "failed"} == {"bad.mp4", "alone.wav"}
    assert found["twice.flac"]["state"] == "skipped"
    assert "twice.wav" in found["twice.flac"]["reason"]
    assert "text file" in found["bad.mp4"]["error"]["message"]
    assert found["bad.mp4"]["error"]["hint"]
    assert "Traceback" not in batch["first"].stderr


def test_every_result_is_there_and_whole(batch: dict[str, Any]) -> None:
    for name in batch["names"]:
        path = (batch["out"] / name).with_suffix(".json")
        assert len(json.loads(path.read_text(encoding="utf-8"))["utterances"]) == 3
        assert "-->" in path.with_suffix(".srt").read_text(encoding="utf-8")
    one = batch["before"]["sub/a b.wav"]
    assert one["outputs"] == ["sub/a b.json", "sub/a b.srt"]
    assert one["utterances"] == 3
    assert one["seconds"] > 0
    assert re.fullmatch("[0-9a-f]{64}", one["media_sha256"])
    assert re.fullmatch("[0-9a-f]{64}", one["transcript_sha256"])
    assert (one["preset"], one["settings"], one["reason"]) == ("tiny", {}, "new")
    assert re.fullmatch("[0-9a-f]{64}", one["preset_sha256"])
    assert Path(one["path"]) == batch["media"] / "sub" / "a b.wav"


def test_the_summary_is_on_stderr(batch: dict[str, Any]) -> None:
    said = batch["first"].stderr
    assert batch["first"].stdout == ""
    assert re.search(r"done +6 ", said)
    assert re.search(r"failed +2 ", said)
    assert re.search(r"skipped +1 ", said)
    assert "Failed: bad.mp4:" in said
    assert "Failed: alone.wav: There is no transcript beside it." in said
    assert "2 of 9 recordings failed: see" in said
    assert "new\\x0aline.wav" in said
    assert "[red]" in said  # no markup


def test_a_second_run_does_only_what_failed(batch: dict[str, Any]) -> None:
    again = batch["again"]
    assert again.returncode == 3
    assert "To do: 1 (1 failed last time); 6 unchanged." in again.stderr
    document = json.loads(again.stdout)
    assert document["counts"] == {"done": 0, "unchanged": 6, "failed": 2, "skipped": 1}
    assert document["schema"] == "erc.batch/1"
    found = {one["name"]: one for one in document["files"]}
    assert list(found) == sorted(found)
    for name, one in batch["before"].items():
        if one["state"] == "done":
            assert found[name] == one
    assert without_times(batch["out"]).keys() == batch["before"].keys()


def test_what_has_changed_is_done_again_with_its_reason(
    batch: dict[str, Any], erc: Erc, preset: Path, tmp_path: Path
) -> None:
    """Each kind of change, in several processes; then the results are those of one process."""
    media, out = tmp_path / "media", tmp_path / "out"
    for stem in ("a", "b", "c", "d"):
        recording(media / stem)
    command = ["predict", media, "-p", preset, "-o", out]
    assert erc(*command, "--jobs", "3").returncode == 0
    results = {path.name: path.read_bytes() for path in out.glob("*.json")}
    script(media / "a.srt", cues=2)
    (media / "c.srt").rename(media / "c.vtt")
    (media / "c.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    (out / "d.json").unlink()
    done = erc(*command, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    reasons = {name: one["reason"] for name, one in entries(out).items()}
    assert reasons == {
        "a.wav": "the transcript has changed",
        "b.wav": "new",
        "c.wav": "another transcript: c.vtt",
        "d.wav": "there is no d.json",
    }
    assert "; 1 unchanged." in done.stderr
    assert (out / "b.json").read_bytes() == results["b.json"]
    assert entries(out)["a.wav"]["utterances"] == 2
    # one process says the same as three
    shutil.copytree(media, tmp_path / "again" / "media")
    one = erc("predict", media, "-p", preset, "-o", tmp_path / "one", "--jobs", "1")
    assert one.returncode == 0, one.stderr
    alone, several = without_times(tmp_path / "one"), without_times(out)
    for found in (alone, several):
        for line in found.values():
            del line["reason"]
    assert alone == several
    for path in sorted(out.glob("*.json")):
        here, there = (json.loads(p.read_text()) for p in (path, tmp_path / "one" / path.name))
        for document in (here, there):
            del document["meta"]["created"]
        assert here == there


def test_fail_fast_stops_and_says_what_is_left(erc: Erc, preset: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    for stem in ("a", "b", "c"):
        recording(media / stem)
    (media / "a.srt").write_text("no cue\n")
    done = erc("predict", media, "-p", preset, "-o", tmp_path / "out", "--fail-fast")
    assert done.returncode == 3
    assert entries(tmp_path / "out").keys() == {"a.wav"}
    assert re.search(r"not begun +2", done.stderr)


def test_what_a_format_cannot_hold_costs_no_other_format(erc: Erc, preset: Path, tmp_path: Path) -> None:
    needs("PIL", "matplotlib")
    media, out = tmp_path / "media", tmp_path / "out"
    recording(media / "talk")
    both = erc("predict", media, "-p", preset, "-o", out, "--format", "video", "--format", "json")
    assert both.returncode == 3
    assert "talk.wav has sound only" in both.stderr
    assert entries(out)["talk.wav"]["outputs"] == ["talk.json"]
    alone = erc("predict", media, "-p", preset, "-o", tmp_path / "films", "--format", "video")
    assert alone.returncode == 3
    assert "fusion:" not in alone.stderr, "the model was loaded"
    assert "talk.wav has sound only" in alone.stderr


# --- wrong use -------------------------------------------------------------------------------


def wrong(tmp_path: Path) -> dict[str, tuple[list[object], str, str]]:
    """Name -> arguments, what the message says, what it tells to do."""
    media = tmp_path / "media"
    for stem in ("a", "b"):
        recording(media / stem)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text("precious")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "manifest.jsonl").write_text('{"mine": 1}\n')
    out = tmp_path / "out"
    return {
        "no folder for results": ([media], "media", "-o results/"),
        "a file for results": ([media, "-o", tmp_path / "file.json"], "file.json", "--format json"),
        "a name like a file's": ([media, "-o", tmp_path / "new.csv"], "new.csv", "--format csv"),
        "nothing in it": ([tmp_path / "empty", "-o", out], "no recording", ".mp4"),
        "nothing matches": ([f"{media}/*.mkv", "-o", out], "*.mkv", "quotes"),
        "one is not there": ([media / "a.wav", media / "z.wav", "-o", out], "z.wav", "ls"),
        "one transcript": ([media, "-t", media / "a.srt", "-o", out], "2 recordings", "--transcript DIR"),
        "an unknown format": ([media, "-o", out, "--format", "jsn"], "jsn", "json"),
        "lines": ([media, "-o", out, "--jsonl", "-"], "--jsonl", "--format jsonl"),
        "a manifest of others": ([media, "-o", foreign], "manifest.jsonl", "another folder"),
        "srt beside the media": (
            [media, "-o", media, "--format", "srt"],
            "overwrite an input",
            "another folder",
        ),
        "an address": (["https://example.org/a.mp4", media, "-o", out], "local files", "Download"),
        "two folders": ([media, "-o", out, "-o", tmp_path / "out2"], "-o", "one folder"),
    }


NAMES = [
    "no folder for results",
    "a file for results",
    "a name like a file's",
    "nothing in it",
    "nothing matches",
    "one is not there",
    "one transcript",
    "an unknown format",
    "lines",
    "a manifest of others",
    "srt beside the media",
    "an address",
    "two folders",
]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_told_plainly(erc: Erc, tmp_path: Path, name: str) -> None:
    cases = wrong(tmp_path)
    assert set(cases) == set(NAMES)
    arguments, what, next_step = cases[name]
    done = erc("predict", "--preset", "text-only", *arguments)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert what in done.stderr
    assert next_step in done.stderr
    assert not list(tmp_path.rglob("a.json"))
    assert (tmp_path / "file.json").read_text() == "precious"
