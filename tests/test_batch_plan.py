"""The manifest, and what a second run does again: lines, reasons, what is never overwritten."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from erc_cli.batch import Place, Plan, check_place, make_plan, place_for, stat_of, why
from erc_cli.batch_find import Task
from erc_cli.batch_run import open_journal, sweep
from erc_cli.errors import ErcError, UsageError
from erc_cli.features import sha256_of
from erc_cli.files import LOCK, own
from erc_cli.manifest import MANIFEST, Basis, Entry, Journal, is_manifest, line_of, read_manifest
from erc_cli.prediction import Inputs
from erc_cli.registry import load_registry

BASIS = Basis("default", "p1", "m1", {"set": ["text.past=1"]}, "0.1.0")
ODD = os.fsdecode(b"caf\xe9 \x80.mp4")


def entry(name: str = "a.mp4", **more: Any) -> Entry:
    return Entry(name, f"/media/{name}", "done", f"/media/{name}.srt", basis=BASIS, **more)


# --- the manifest ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.mp4", 'it\'s "b".mp4', "new\nline.mp4", "-dash.mp4", "日本.mp4", "a\\b.mp4", ODD, "%41.mp4"]
)
def test_a_line_holds_any_name(tmp_path: Path, name: str) -> None:
    one = entry(name, outputs=(f"{name}.json", "b.srt"), media_stat=(5, 7), utterances=3, warnings=("x",))
    line = line_of(one)
    assert "\n" not in line
    parsed = json.loads(line.encode("utf-8"))  # valid UTF-8, and no half of a character inside
    assert json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    (tmp_path / MANIFEST).write_text(line + "\n", encoding="utf-8")
    found, torn = read_manifest(tmp_path / MANIFEST)
    assert (found, torn) == ({name: one}, 0)
    assert ("raw" in parsed) is (name == ODD)


def test_a_name_that_is_not_utf8_is_shown_and_kept() -> None:
    parsed = json.loads(line_of(entry(ODD)))
    assert parsed["name"] == "caf\ufffd \ufffd.mp4"
    assert parsed["raw"]["name"] == "caf%E9 %80.mp4"


@pytest.mark.parametrize("cut", [1, 5, 20, 60, -2, -1])
def test_a_torn_line_is_survived(tmp_path: Path, cut: int) -> None:
    path = tmp_path / MANIFEST
    whole, last = line_of(entry("a.mp4")) + "\n", line_of(entry("b.mp4")) + "\n"
    path.write_text(whole + last[:cut])
    found, torn = read_manifest(path)
    assert "a.mp4" in found
    assert (len(found), torn) == ((2, 0) if cut == -1 else (1, 1))
    journal = open_journal(tmp_path)
    journal.add(entry("c.mp4"))  # on a line of its own
    assert set(read_manifest(path)[0]) == {*found, "c.mp4"}
    path.write_text(last[:cut])  # the very first line was torn
    assert read_manifest(path)[1] == (cut != -1)
    path.write_bytes(whole.encode() + b"\0" * 40)  # what a power cut may leave
    assert (len(read_manifest(path)[0]), read_manifest(path)[1]) == (1, 1)


def test_the_later_line_holds_and_a_run_leaves_one_of_each(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for one in (entry("b.mp4"), replace(entry("a.mp4"), state="started"), entry("a.mp4", seconds=2.0)):
        journal.add(one)
    found, _ = read_manifest(tmp_path / MANIFEST)
    assert found["a.mp4"] == entry("a.mp4", seconds=2.0)
    journal.rewrite()
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a.mp4", "b.mp4"]
    assert is_manifest(tmp_path / MANIFEST)


@pytest.mark.parametrize("text", ['{"text": "mine"}\n', "hello\n", '["a"]\n', '{"schema": "erc.result/1"}\n'])
def test_a_manifest_of_somebody_else_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match="is kept as it is"):
        Journal(tmp_path)
    assert (tmp_path / MANIFEST).read_text() == text
    (tmp_path / MANIFEST).unlink()
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(UsageError, match="no regular file"):
        Journal(tmp_path)


def test_drafts_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    drafts = [tmp_path / "sub" / ".talk.0123abcd.json", tmp_path / f".manifest.{'0' * 8}.jsonl"]
    kept = [
        tmp_path / "sub" / name for name in (".talk.json", "talk.json", ".talk.0123abcd.srt", ".x.0.json")
    ]
    for path in (*drafts, *kept):
        path.touch()
    journal = Journal(tmp_path)
    journal.add(replace(entry("sub/talk.mp4", outputs=("sub/talk.json",)), state="started"))
    open_journal(tmp_path)
    assert [path.exists() for path in (*drafts, *kept)] == [False] * 2 + [True] * 4
    sweep([tmp_path / "no" / "folder.json"])


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    with own(tmp_path / "new" / "out"):
        assert (tmp_path / "new" / "out" / LOCK).is_file()
        with pytest.raises(UsageError, match="Another erc is at work"), own(tmp_path / "new" / "out"):
            pass
    with own(tmp_path / "new" / "out"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"), own(tmp_path / "file" / "out"):
        pass


# --- what is done again ----------------------------------------------------------------------


@pytest.fixture
def done(tmp_path: Path) -> tuple[Task, Entry, Place]:
    """A recording with its result and its line."""
    media, script, out = tmp_path / "a.mp4", tmp_path / "a.srt", tmp_path / "out"
    media.write_bytes(b"film")
    script.write_text("words")
    out.mkdir()
    (out / "a.json").write_text("{}")
    os.utime(media, (1e9, 1e9))
    line = Entry(
        "a.mp4",
        str(media),
        "done",
        str(script),
        outputs=("a.json",),
        media_sha256=sha256_of(media),
        media_stat=stat_of(media),
        transcript_sha256=sha256_of(script),
        basis=BASIS,
    )
    return Task("a.mp4", media, script), line, Place(out, {"json": ".json"})


def reason(done: tuple[Task, Entry, Place], basis: Basis = BASIS) -> str:
    return why(*done, basis, force=False)


def test_what_has_not_changed_is_not_done_again(done: tuple[Task, Entry, Place]) -> None:
    task, line, place = done
    assert line.media_stat == (4, 10**18)
    assert reason(done) == ""
    assert task.media is not None
    os.utime(task.media)  # touched, but the same
    assert reason(done) == ""
    assert why(task, line, place, BASIS, force=True) == "--force"
    assert why(task, None, place, BASIS, force=False) == "new"


def test_why_it_is_done_again(done: tuple[Task, Entry, Place], tmp_path: Path) -> None:
    task, line, place = done
    assert "there is no a.srt" in reason((task, line, Place(place.folder, {"json": ".json", "srt": ".srt"})))
    for state, said in (("failed", "failed last time"), ("started", "was cut off"), ("skipped", "left out")):
        assert said in reason((task, replace(line, state=state), place))
    assert reason(done, replace(BASIS, erc="0.2.0")) == "done by erc 0.1.0, this is 0.2.0"
    assert reason(done, replace(BASIS, preset="other")) == "another preset: default before"
    assert reason(done, replace(BASIS, preset_sha256="p2")) == "the preset has changed"
    assert reason(done, replace(BASIS, model_sha256="m2")) == "the preset has changed"
    assert reason(done, replace(BASIS, settings={})) == "other settings (set)"
    (tmp_path / "a.vtt").write_text("words")
    assert reason((replace(task, transcript=tmp_path / "a.vtt"), line, place)) == "another transcript: a.vtt"
    (tmp_path / "a.srt").write_text("other words")
    assert reason(done) == "the transcript has changed"
    (tmp_path / "a.srt").write_text("words")
    (tmp_path / "a.mp4").write_bytes(b"FILM")
    assert reason(done) == "the medium has changed"
    (tmp_path / "a.mp4").write_bytes(b"film")
    (place.folder / "a.json").unlink()
    assert reason(done) == "there is no a.json"


def test_a_stamp_of_just_now_proves_nothing(tmp_path: Path) -> None:
    """A file that was changed within the same tick of the clock has the same stamp."""
    (tmp_path / "new.mp4").write_bytes(b"film")
    assert stat_of(tmp_path / "new.mp4") is None


def planned(done: tuple[Task, Entry, Place], known: dict[str, Entry], *, force: bool = False) -> Plan:
    task, _, place = done
    return make_plan([task], known, place, BASIS, lambda one: Inputs(one.media, one.transcript), force=force)


def test_files_of_others_are_not_overwritten(done: tuple[Task, Entry, Place]) -> None:
    plan = planned(done, {})  # the result is there, and no line says that it is ours
    assert plan.jobs == ()
    assert "exists already and is kept" in (plan.entries[0].error or {})["message"]
    assert "--force" in (plan.entries[0].error or {})["hint"]
    assert [job.reason for job in planned(done, {}, force=True).jobs] == ["--force"]


def test_results_of_another_recording_of_that_name_are_kept(
    done: tuple[Task, Entry, Place], tmp_path: Path
) -> None:
    task, line, place = done
    other = tmp_path / "other" / "a.mp4"
    other.parent.mkdir()
    other.write_bytes(b"another film")
    plan = planned((replace(task, media=other), line, place), {"a.mp4": line})
    assert "holds the results of another a.mp4" in (plan.entries[0].error or {})["message"]
    assert plan.entries[0].outputs == ("a.json",)
    # the same film in another place is the same recording; one that has gone is replaced
    other.write_bytes(b"film")
    assert planned((replace(task, media=other), line, place), {"a.mp4": line}).unchanged == ("a.mp4",)
    other.write_bytes(b"another film")
    (tmp_path / "a.mp4").unlink()
    plan = planned((replace(task, media=other), line, place), {"a.mp4": line})
    assert [job.reason for job in plan.jobs] == ["the medium has changed"]


def test_results_are_never_inputs(tmp_path: Path) -> None:
    registry = load_registry()
    task = Task("a.mp4", tmp_path / "a.mp4", tmp_path / "a.vtt")
    json_only = place_for(tmp_path, [registry.writer("json")])
    check_place(json_only, [task], [], registry)
    with pytest.raises(UsageError, match="overwrite an input"):
        check_place(json_only, [task], [tmp_path / "a.json"], registry)
    for format in ("srt", "textgrid"):
        place = place_for(tmp_path, [registry.writer(format)])
        with pytest.raises(UsageError, match="taken for a transcript"):
            check_place(place, [task], [], registry)
        check_place(replace(place, folder=tmp_path / "out"), [task], [], registry)
    assert place_for(tmp_path, [registry.writer("textgrid")]).outputs("x/a.b.mp4") == ("x/a.b.TextGrid",)
    assert issubclass(UsageError, ErcError)
