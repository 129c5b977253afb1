"""A batch that is cut off: kill -9, Ctrl-C, full disks and processes that die cost no result."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import batchkit
import pytest
from batchkit import entries, recording
from conftest import ROOT, Erc, needs

needs("text", "transformers", "tokenizers")

ENV = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
preset = batchkit.preset  # a fixture


def test_kill_9_loses_the_file_under_way_and_no_other(erc: Erc, preset: Path, tmp_path: Path) -> None:
    media, out = tmp_path / "media", tmp_path / "out"
    for i in range(12):
        recording(media / f"{i:02d}", pitch=110 + 10 * i)
    command = [
        "predict",
        media,
        "-p",
        preset,
        "-o",
        out,
        "--jobs",
        "2",
        "--format",
        "json",
        "--format",
        "csv",
    ]
    with run(*command) as process:
        wait_for(process, lambda: finished(out) >= 4)
        children = children_of(process.pid)
        process.kill()
    whole = check_results(out)
    assert 4 <= len(whole) < 12
    for _ in range(100):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process goes on without its parent")
    with (out / "manifest.jsonl").open("ab") as stream:  # and the last line was torn off
        stream.write(b'{"schema": "erc.batch/1", "name": "99')
    before = {name: one for name, one in latest(out).items() if one["state"] == "done"}
    assert len(before) >= 4
    done = erc(*command)
    assert done.returncode == 0, done.stderr
    assert "The end of the manifest was torn off" in done.stderr
    found = entries(out)
    assert {one["state"] for one in found.values()} == {"done"}
    assert {name: found[name] for name in before} == before  # not done again
    assert len(check_results(out)) == 12
    left = [p.name for p in out.iterdir() if p.name.startswith(".")]
    assert set(left) <= {".erc.lock"}


def test_ctrl_c_says_how_to_go_on(erc: Erc, preset: Path, tmp_path: Path) -> None:
    media, out = tmp_path / "media", tmp_path / "out"
    for i in range(12):
        recording(media / f"{i:02d}")
    command = ["predict", media, "-p", preset, "-o", out]
    process = run(*command)
    wait_for(process, lambda: finished(out) >= 2)
    os.killpg(process.pid, signal.SIGSTOP)  # else it may be done before the other one has begun
    busy = erc(*command)  # meanwhile, somebody else types the same
    os.killpg(process.pid, signal.SIGCONT)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, said = process.communicate(timeout=300)
    assert busy.returncode == 2
    assert f"Another erc is at work in {out}" in busy.stderr
    if process.returncode == 0:
        pytest.skip("all was done before it could be interrupted")
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "type the same command again" in said
    check_results(out)
    assert not [p for p in out.iterdir() if re.fullmatch(r"\..*\.[0-9a-f]{8}\.\w+", p.name)]
    states = {one["state"] for one in latest(out).values()}
    assert states <= {"done", "started"}


def test_a_full_disk_is_told_and_leaves_nothing_half(preset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    small = f"mount -t tmpfs -o size=40k none {out}"
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "sh", "-c", small], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs a mount of its own")
    media = tmp_path / "media"
    for i in range(12):
        recording(media / f"{i:02d}")
    erc = f"{sys.executable} -m erc_cli predict {media} -p {preset} -o {out} --format json --format csv"
    command = f"{small} && {erc}; code=$?; cp -r {out} {tmp_path}/copy; exit $code"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "type the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 < len(check_results(tmp_path / "copy")) < 12


def test_a_process_that_dies_costs_its_file_only(preset: Path, tmp_path: Path) -> None:
    """A decoder that crashes: here the processes of a run are killed, one while it is at work."""
    media, out = tmp_path / "media", tmp_path / "out"
    for i in range(8):
        recording(media / f"{i:02d}")
    process = run("predict", media, "-p", preset, "-o", out)
    wait_for(process, lambda: finished(out) >= 1)
    for child in children_of(process.pid):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    states = [one["state"] for one in entries(out).values()]
    assert len(states) == 8
    assert states.count("failed") <= 1
    if "failed" in states:
        assert process.returncode == 3
        assert "was killed (SIGKILL)" in said
    else:  # it died between two jobs
        assert process.returncode in (0, 1)


def run(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "erc_cli", *map(str, command)],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], ready: Any) -> None:
    for _ in range(3000):
        if ready():
            return
        if process.poll() is not None:
            pytest.fail(f"it ended before that: {process.communicate()}")
        time.sleep(0.05)
    pytest.fail("it takes too long")


def latest(out: Path) -> dict[str, dict[str, Any]]:
    """The last whole line of each name."""
    found = {}
    text = (out / "manifest.jsonl").read_text(encoding="utf-8") if (out / "manifest.jsonl").exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            one = json.loads(line)
            found[one["name"]] = one
    return found


def finished(out: Path) -> int:
    return sum(one["state"] == "done" for one in latest(out).values())


def check_results(out: Path) -> list[Path]:
    """Every result is whole; those of recordings that are done."""
    found = [path for path in sorted(out.glob("*.json")) if not path.name.startswith(".")]
    for path in found:
        assert len(json.loads(path.read_text())["utterances"]) == 3
    for one in latest(out).values():
        if one["state"] == "done":
            assert all((out / name).is_file() for name in one["outputs"])
    return found


def children_of(pid: int) -> list[int]:
    """Its processes (Linux)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    return list(map(int, path.read_text().split()))
