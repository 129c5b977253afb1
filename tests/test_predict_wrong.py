"""`erc predict` with wrong input, without a library, interrupted: told plainly, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, Erc

MEDIA = ROOT / "examples" / "conversation.mp4"
SCRIPT = ROOT / "examples" / "conversation.srt"


def wrong(tmp_path: Path) -> dict[str, tuple[list[object], str, str]]:
    """Name -> arguments, what the message says, what it tells to do."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no film\n" * 100)
    (tmp_path / "cut.mp4").write_bytes(MEDIA.read_bytes()[:1_000])
    (tmp_path / "none.srt").write_text("just some words\n")
    (tmp_path / "empty.srt").touch()
    (tmp_path / "page.srt").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "kept.json").write_text("precious")
    bad = tmp_path / "bad.yaml"
    bad.write_text("summary: x\nlabels: [a, a]\nextractors: {text: {use: minilmm}}\nfusion: {use: late}\n")
    good = [MEDIA, "--transcript", SCRIPT]
    return {
        "no such medium": (["no.mp4", "-t", SCRIPT], "no.mp4", ""),
        "a folder": ([tmp_path, "-t", SCRIPT], str(tmp_path), ""),
        "an empty medium": ([tmp_path / "empty.mp4", "-t", SCRIPT], "empty.mp4", ""),
        "text as a medium": ([tmp_path / "text.mp4", "-t", SCRIPT], "text.mp4", ""),
        "half a medium": ([tmp_path / "cut.mp4", "-t", SCRIPT], "cut.mp4", ""),
        "no such transcript": ([MEDIA, "-t", "no.srt"], "no.srt", ""),
        "a transcript without cues": ([MEDIA, "-t", tmp_path / "none.srt"], "none.srt", "-->"),
        "an empty transcript": ([MEDIA, "-t", tmp_path / "empty.srt"], "empty.srt", ""),
        "a page as transcript": ([MEDIA, "-t", tmp_path / "page.srt"], "page.srt", ""),
        "a medium as transcript": ([MEDIA, "-t", MEDIA], "conversation.mp4", ""),
        "an unknown preset": ([*good, "-p", "defualt"], "defualt", "'default'"),
        "a bad preset": ([*good, "-p", bad], "minilm", "bad.yaml"),
        "an unknown modality": ([*good, "--drop", "vidual"], "vidual", "visual"),
        "nothing left": ([*good, "--drop", "text", "--drop", "audio", "--drop", "visual"], "", "Drop fewer"),
        "an unknown option": ([*good, "--set", "text.pats=1"], "pats", "past"),
        "a wrong value": ([*good, "--set", "text.past=many"], "past", ""),
        "an unknown ending": ([*good, "-o", tmp_path / "x.jsn"], ".jsn", ".json"),
        "an existing output": ([*good, "-o", tmp_path / "kept.json"], "kept.json", "--force"),
        "no such folder": ([*good, "-o", tmp_path / "no" / "x.json"], "no", "mkdir"),
        "an output that is the input": ([*good, "-o", SCRIPT, "--force"], "conversation.srt", "another name"),
        "an unknown device": ([*good, "--device", "gpu"], "gpu", "cuda"),
        "nothing at all": ([], "", "--transcript"),
        "an unknown format": ([*good, "--transcript-format", "str"], "str", "srt"),
        "no ending": ([*good, "-o", tmp_path / "out"], "has no ending", "out.json"),
        "an address": (["https://example.org/talk.mp4"], "https://example.org/talk.mp4", "Download"),
        "standard input": (["-", "-t", SCRIPT], "Standard input is not read", "file"),
        "a transcript from standard input": ([MEDIA, "-t", "-"], "Standard input is not read", "file"),
    }


NAMES = [
    "no such medium",
    "a folder",
    "an empty medium",
    "text as a medium",
    "half a medium",
    "no such transcript",
    "a transcript without cues",
    "an empty transcript",
    "a page as transcript",
    "a medium as transcript",
    "an unknown preset",
    "a bad preset",
    "an unknown modality",
    "nothing left",
    "an unknown option",
    "a wrong value",
    "an unknown ending",
    "an existing output",
    "no such folder",
    "an output that is the input",
    "an unknown device",
    "nothing at all",
    "an unknown format",
    "no ending",
    "an address",
    "standard input",
    "a transcript from standard input",
]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_told_plainly(erc: Erc, tmp_path: Path, name: str) -> None:
    cases = wrong(tmp_path)
    assert set(cases) == set(NAMES)
    arguments, what, next_step = cases[name]
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    done = erc("predict", *arguments)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert what in done.stderr
    assert next_step in done.stderr
    assert len(done.stderr.splitlines()) >= 2, done.stderr  # what is wrong, and what to do next
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_all_problems_of_a_preset_at_once(erc: Erc, tmp_path: Path) -> None:
    arguments, _, _ = wrong(tmp_path)["a bad preset"]
    said = erc("predict", *arguments).stderr
    assert "minilmm" in said
    assert "labels" in said


def test_a_read_only_folder(erc: Erc, tmp_path: Path) -> None:
    folder = Path("/sys") if os.geteuid() == 0 else tmp_path  # root may write nearly everywhere
    if folder == tmp_path:
        tmp_path.chmod(0o555)
    done = erc("predict", MEDIA, "-t", SCRIPT, "-o", folder / "x.json")
    assert done.returncode == 2
    assert str(folder) in done.stderr
    assert "another place" in done.stderr


def test_a_missing_extra_names_the_command(erc: Erc, tmp_path: Path) -> None:
    """An environment without parselmouth: a stand-in on the path that cannot be found as a package."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'parselmouth' else real(name, package)\n"
    )
    done = erc("predict", MEDIA, "-t", SCRIPT, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "parselmouth" in done.stderr
    assert "pip install 'erc-cli[audio]'" in done.stderr


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "erc_cli", "predict", str(MEDIA), "-t", str(SCRIPT), "-o", str(target)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2.0)  # it is loading or at work: the whole takes longer
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["m._run = stop", "del m.main"])
def test_ctrl_c_within_an_exec_is_130_too(tmp_path: Path, where: str) -> None:
    """Libraries build classes by `exec`; CPython notes a Ctrl-C there and ends `-m` by the signal."""
    (tmp_path / "sitecustomize.py").write_text(
        "import erc_cli.main as m\n"
        "def stop(*names):\n"
        "    exec('raise KeyboardInterrupt')\n"
        "m.__getattr__ = stop\n"
        f"{where}\n"
    )
    path = os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "plugins")))
    done = subprocess.run(
        [sys.executable, "-m", "erc_cli", "--help"], check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 130
