"""From what was typed to recordings: folders, patterns, lists, and whose transcript is whose."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from erc_cli.batch_find import Task, find_tasks, stands_for_several
from erc_cli.errors import UsageError
from erc_cli.manifest import MANIFEST, Entry, line_of
from erc_cli.registry import Registry, load_registry

OUT = Path("/nowhere/out")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def made(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(
    registry: Registry, *named: Path, scripts: Path | None = None, out: Path = OUT
) -> tuple[dict[str, Task], list[str]]:
    tasks, notes = find_tasks(named, scripts, registry, out)
    assert [task.name for task in tasks] == sorted(task.name for task in tasks)
    return {task.name: task for task in tasks}, notes


def pairs(tasks: Iterable[Task]) -> dict[str, str | None]:
    return {task.name: task.transcript.name if task.transcript else None for task in tasks}


def test_a_folder_and_all_below_without_what_is_hidden(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "b.mp4", "b.srt", "a/c.WAV", "a/c.vtt", "a/.hidden.mp4", ".git/x.mp4", "readme.md", "x.py")
    tasks, notes = found(registry, tmp_path)
    assert pairs(tasks.values()) == {"a/c.WAV": "c.vtt", "b.mp4": "b.srt"}
    assert notes == []
    assert tasks["a/c.WAV"].media == tmp_path / "a" / "c.WAV"
    assert tasks["a/c.WAV"].error is None


def test_results_are_no_recordings(registry: Registry, tmp_path: Path) -> None:
    """Neither those of this run nor those of others: an annotated film is a film."""
    made(tmp_path, "a.mp4", "a.srt", "out/a.mp4", "other/a.mp4", "mine/a.mp4")
    (tmp_path / "other" / MANIFEST).write_text(line_of(Entry("a.mp4", "/a.mp4", "done")) + "\n")
    (tmp_path / "mine" / MANIFEST).write_text('{"my": "own"}\n')
    tasks, _ = found(registry, tmp_path, out=tmp_path / "out")
    assert list(tasks) == ["a.mp4", "mine/a.mp4"]
    # where results and recordings are in one folder, that folder is not left out
    (tmp_path / MANIFEST).write_text(line_of(Entry("a.mp4", "/a.mp4", "done")) + "\n")
    assert "a.mp4" in found(registry, tmp_path, out=tmp_path)[0]


def test_two_media_of_one_name(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "talk.wav", "talk.mp4", "talk.mkv", "talk.srt", "talk.vtt")
    tasks, _ = found(registry, tmp_path)
    assert tasks["talk.mp4"].left_out == ""
    assert tasks["talk.mp4"].transcript == tmp_path / "talk.srt"
    for other in ("talk.wav", "talk.mkv"):
        assert tasks[other].left_out == "talk.mp4 of the same name is taken"


def test_a_medium_without_a_transcript(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "a.mp4", "b.mp4", "b.srt")
    tasks, _ = found(registry, tmp_path)
    assert tasks["b.mp4"].error is None
    message, hint = tasks["a.mp4"].error or ("", "")
    assert "no transcript beside it" in message
    assert "--transcript DIR" in hint
    listed, _ = find_tasks([tmp_path], None, registry, OUT, transcribed=True)
    assert [task.error for task in listed] == [None, None]


def test_a_folder_of_transcripts(registry: Registry, tmp_path: Path) -> None:
    """Ordered like the recordings or flat; what is not there is sought beside the medium."""
    media = made(tmp_path / "m", "a.mp4", "sub/b.mp4", "sub/c.mp4", "d.mp4", "d.srt", "a.srt")
    scripts = made(tmp_path / "t", "a.vtt", "sub/b.srt", "c.ass")
    tasks, _ = found(registry, media, scripts=scripts)
    assert {name: task.transcript for name, task in tasks.items()} == {
        "a.mp4": scripts / "a.vtt",
        "sub/b.mp4": scripts / "sub" / "b.srt",
        "sub/c.mp4": scripts / "c.ass",
        "d.mp4": media / "d.srt",
    }


def test_two_media_for_one_transcript(registry: Registry, tmp_path: Path) -> None:
    media = made(tmp_path / "m", "x/talk.mp4", "y/talk.mp4")
    scripts = made(tmp_path / "t", "talk.srt")
    tasks, _ = found(registry, media, scripts=scripts)
    assert tasks["x/talk.mp4"].left_out == ""
    assert "talk.srt is the transcript of " in tasks["y/talk.mp4"].left_out
    with pytest.raises(UsageError, match="one transcript for 2 recordings"):
        found(registry, media, scripts=scripts / "talk.srt")
    one, _ = found(registry, media / "x", scripts=scripts / "talk.srt")
    assert one["talk.mp4"].transcript == scripts / "talk.srt"
    with pytest.raises(UsageError, match="There is no "):
        found(registry, media, scripts=tmp_path / "no")


def test_transcripts_alone(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path / "t", "a.srt", "a.vtt", "b.eaf", "data.json", "table.csv", "notes.txt")
    tasks, notes = found(registry, tmp_path / "t")
    assert {name: (task.media, task.left_out) for name, task in tasks.items()} == {
        "a.srt": (None, ""),
        "a.vtt": (None, "another of the same name is taken"),
        "b.eaf": (None, ""),
    }
    assert tasks["a.srt"].path == tmp_path / "t" / "a.srt"
    assert "3 transcripts are read alone" in notes[0]
    named, _ = found(registry, tmp_path / "t" / "table.csv", tmp_path / "t" / "a.srt")
    assert list(named) == ["a.srt", "table.csv"]


def test_a_pattern(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "x/a.mp4", "x/a.srt", "x/deep/b.mp4", "x/b.wav", "y/c.mp4", "x/.d.mp4", "x/[e].mp4")
    tasks, _ = found(registry, tmp_path / "x" / "*.mp4")
    assert list(tasks) == ["[e].mp4", "a.mp4"]
    tasks, _ = found(registry, tmp_path / "**" / "*.mp4")
    assert list(tasks) == ["x/[e].mp4", "x/a.mp4", "x/deep/b.mp4", "y/c.mp4"]
    tasks, _ = found(registry, tmp_path / "x" / "a.*")  # a medium with its transcript, not twice
    assert pairs(tasks.values()) == {"a.mp4": "a.srt"}
    with pytest.raises(UsageError, match="No recording matches"):
        found(registry, tmp_path / "x" / "*.avi")
    assert stands_for_several(tmp_path / "x" / "*.mp4")
    assert not stands_for_several(tmp_path / "x" / "[e].mp4")


def test_a_list(registry: Registry, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    made(tmp_path, "l/in/a b.mp4", "l/in/a b.srt", "l/-c.mp4", "l/#d.mp4", "out/e.mp4", f"l/{odd}", "l/x.srt")
    text = b"\xef\xbb\xbf# comment\r\n\r\n  in/a b.mp4  \r\n-c.mp4\n./#d.mp4\n\n../out/e.mp4\ngone.mp4\n"
    path = tmp_path / "l" / "list.txt"
    path.write_bytes(text + b"caf\xe9.mp4\n-c.mp4\nx.srt")
    tasks, _ = found(registry, path)
    assert set(tasks) == {
        "l/#d.mp4",
        "l/-c.mp4",
        f"l/{odd}",
        "l/gone.mp4",
        "l/in/a b.mp4",
        "l/x.srt",
        "out/e.mp4",
    }
    assert tasks["l/in/a b.mp4"].transcript == tmp_path / "l" / "in" / "a b.srt"
    assert "There is no file" in (tasks["l/gone.mp4"].error or ("", ""))[0]
    assert tasks["l/x.srt"].media is None
    assert stands_for_several(path)
    path.write_text("# nothing\n\n")
    with pytest.raises(UsageError, match="lists nothing"):
        found(registry, path)
    path.write_bytes(b"\0\1\2")
    with pytest.raises(UsageError, match="no list of paths"):
        found(registry, path)


def test_a_list_names_the_transcript_too(registry: Registry, tmp_path: Path) -> None:
    """A medium and a transcript of its name are one recording, whichever is listed first."""
    made(tmp_path, "a.vtt", "a.mp4", "a.srt")
    (tmp_path / "list.txt").write_text("a.vtt\na.mp4\n")
    tasks, _ = found(registry, tmp_path / "list.txt")
    assert pairs(tasks.values()) == {"a.mp4": "a.vtt"}


def test_several_files_and_one_that_is_not_there(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "x/a.mp4", "x/a.srt", "y/b.mp4", "y/b.srt")
    tasks, _ = found(registry, tmp_path / "x" / "a.mp4", tmp_path / "y" / "b.mp4", tmp_path / "x" / "a.mp4")
    assert list(tasks) == ["x/a.mp4", "y/b.mp4"]
    with pytest.raises(UsageError, match=r"There is no file .*gone\.mp4"):
        found(registry, tmp_path / "x" / "a.mp4", tmp_path / "gone.mp4")
    with pytest.raises(UsageError, match="There is no recording in"):
        found(registry, made(tmp_path / "empty", "readme.md"))


def test_links_are_followed_once(registry: Registry, tmp_path: Path) -> None:
    made(tmp_path, "real/a.mp4", "real/a.srt", "m/.keep")
    (tmp_path / "m" / "a.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    (tmp_path / "m" / "broken.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "m" / "loop").symlink_to(tmp_path / "m", target_is_directory=True)
    tasks, _ = found(registry, tmp_path / "m")
    assert list(tasks) == ["a.mp4", "broken.mp4"]
