"""The consoles and the progress bar, on a real terminal (a pseudo one) and in a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from erc_cli import console
from erc_cli.learning import Progress

ROOT = Path(__file__).parents[1]
_BARS = """
from erc_cli import console
from erc_cli.learning import Progress
with console.progress(quiet=%s) as report:
    for i in range(4):
        report(Progress("faces", i + 1, 4, "dia0"))
console.out().print("[red]answer[/]")
"""


def _on_terminal(code: str, **env: str) -> str:
    """What a process writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", **env}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=settings
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux's end of file on a terminal
                break
            if not chunk:
                break
            said += chunk
        assert process.wait(20) == 0, said
    os.close(ours)
    return said.decode()


def test_bar_on_a_terminal_shows_stage_count_and_time() -> None:
    said = _on_terminal(_BARS % False)
    for word in ("faces", "4/4", "0:00:0", "dia0", "left"):
        assert word in said


def test_no_bar_when_quiet_or_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert "faces" not in _on_terminal(_BARS % True)
    with console.progress() as report:
        report(Progress("faces", 1, 4))
    assert capsys.readouterr().err == ""


def test_no_color_is_honoured() -> None:
    assert "\x1b[31m" in _on_terminal(_BARS % True)
    assert "\x1b[31m" not in _on_terminal(_BARS % True, NO_COLOR="1")


def test_quiet_talk_and_streams(capsys: pytest.CaptureFixture[str]) -> None:
    console.err(quiet=True).print("nothing")
    console.err().print("talk")
    console.out().print("answer")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("answer\n", "talk\n")


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"path": Path("a"), "text": "Où?", "set": {"b", "a"}})
    text = capsys.readouterr().out
    assert json.loads(text) == {"path": "a", "text": "Où?", "set": ["a", "b"]}
    assert "Où" in text
    with pytest.raises(ValueError, match="JSON compliant"):
        console.print_json({"x": float("nan")})
    with pytest.raises(TypeError, match="object is not JSON"):
        console.print_json(object())


def test_long_work_writes_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nohup erc train … 2> log`: something to look at, and not a line per step."""
    monkeypatch.setattr(console, "_LOG_SECONDS", 0.05)
    with console.progress(log=True) as report:
        for i in range(3):
            report(Progress("text", i, 100, "epoch 1/2"))
        time.sleep(0.06)
        report(Progress("text", 3, 100, "epoch 1/2, loss 1.2"))
        report(Progress("text", 4, 100, "epoch 1/2, loss 1.1"))
    assert capfd.readouterr().err == "text: 3 of 100, epoch 1/2, loss 1.2\n"
    with console.progress(log=True, quiet=True) as report:
        report(Progress("text", 1, 2))
        time.sleep(0.06)
        report(Progress("text", 2, 2))
    assert capfd.readouterr().err == ""
