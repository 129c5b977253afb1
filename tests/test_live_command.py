"""Lines and rows of `erc predict` that come one by one: for a program, for a terminal, and for nobody."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batchkit import needs_parselmouth, recording, script, tiny_preset
from conftest import ROOT, Erc, needs

from erc_cli.types import Modality

needs("text", "transformers", "tokenizers")

TEXT = Modality.TEXT
ENV = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}


def test_lines_are_those_of_the_file(erc: Erc, tiny_bert: Path, tmp_path: Path) -> None:
    needs_parselmouth()
    preset = tiny_preset(tmp_path / "preset", tiny_bert, audio=True)
    media = recording(tmp_path / "talk")
    out = tmp_path / "out.jsonl"
    done = erc("predict", media, "-p", preset, "--jsonl", "-", "-o", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out.read_text(encoding="utf-8")
    plain = erc("predict", media, "-p", preset, "--json", "-q")
    rows = json.loads(plain.stdout)["utterances"]
    for line, row in zip(map(json.loads, done.stdout.splitlines()), rows, strict=True):
        assert line["label"] == row["label"]
        assert line["probabilities"] == pytest.approx(row["probabilities"], abs=1e-6)
        assert line["modalities"]["audio"]["status"] == row["modalities"]["audio"]["status"] == "ok"


def test_a_reader_that_leaves_loses_no_file(tiny_bert: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path / "preset", tiny_bert)
    long = script(tmp_path / "long.srt", cues=400)
    out = tmp_path / "out.csv"
    for extra in ([], ["-o", str(out)]):
        command = [sys.executable, "-m", "erc_cli", "predict", "-t", str(long), "-p", str(preset)]
        with subprocess.Popen(
            [*command, "--jsonl", "-", *extra], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = json.loads(process.stdout.readline())
            process.stdout.close()
            said = process.stderr.read().decode()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        assert first["index"] == 0
    assert len(out.read_text().splitlines()) == 401


def test_a_full_disk_under_stdout_is_told(tiny_bert: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    preset, long = tiny_preset(tmp_path / "preset", tiny_bert), script(tmp_path / "long.srt")
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "erc_cli", "predict", "-t", str(long), "-p", str(preset), "--jsonl", "-"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "-o", str(out)], env=ENV, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "could not be written to stdout" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.is_file()


def test_on_a_terminal_rows_come_above_the_bar(tiny_bert: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path / "preset", tiny_bert)
    text = on_a_terminal("predict", "-t", script(tmp_path / "t.srt", cues=130), "-p", preset)
    lines = [line for line in text.splitlines() if "NN" in line and ":" in line]
    assert len([line for line in lines if "%" in line]) == 130, text[-2000:]
    assert text.count("speaker") == 2  # the heads of the table and of the summary, once each
    assert "Rows come at the end" not in text


def test_a_preset_that_reads_the_whole_says_so(erc: Erc, tiny_bert: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path / "preset", tiny_bert)
    whole_dialogues(preset.parent / "m2fnet.safetensors", json.loads((tiny_bert / "config.json").read_text()))
    late = preset.read_text()
    preset.write_text(late.replace("{use: late, weights: fusion", "{use: m2fnet, weights: m2fnet"))
    done = erc("predict", "-t", script(tmp_path / "t.srt"), "-p", preset, "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert "Rows come at the end: fusion (m2fnet) reads the whole conversation." in done.stderr
    assert len(done.stdout.splitlines()) == 3


def whole_dialogues(path: Path, config: Mapping[str, Any]) -> None:
    """M2FNet's fusion over text alone, untrained."""
    from conftest import EMOTIONS

    from erc_fusion_m2fnet.fusion import NetworkFusion
    from erc_fusion_m2fnet.model import FusedModel
    from erc_fusion_m2fnet.shape import Shape

    shape = Shape(
        widths={TEXT: config["hidden_size"]},
        classes=len(EMOTIONS),
        encoders=1,
        layers=1,
        heads=2,
        width=None,
        feed_forward=8,
        hidden=8,
        dropout=0.0,
        positions=True,
        residual=False,
    )
    NetworkFusion("m2fnet", [FusedModel("m2fnet", shape)], np.ones(2, np.float32)).save(path)


def test_lines_of_the_default_are_the_whole_result(erc: Erc, root: Path) -> None:
    needs_parselmouth()
    example = root / "examples" / "conversation.mp4"
    done = erc("predict", example, "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert "Rows come at the end" not in done.stderr
    plain = json.loads(erc("predict", example, "--json", "-q").stdout)["utterances"]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == [row["label"] for row in plain]
    assert len(lines) == 8
    for line, row in zip(lines, plain, strict=True):
        assert line["probabilities"] == pytest.approx(row["probabilities"], abs=1e-6)
        for modality in ("text", "audio", "visual"):
            here, there = line["modalities"][modality], row["modalities"][modality]
            assert here["status"] == there["status"]
            if there["status"] == "ok":
                assert here["probabilities"] == pytest.approx(there["probabilities"], abs=1e-6)


def on_a_terminal(*args: object) -> str:
    """What `erc` prints on a terminal of 120 columns, without escapes."""
    import re

    main, side = pty.openpty()
    command = [sys.executable, "-m", "erc_cli", *map(str, args)]
    env = {**ENV, "COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(command, env=env, stdout=side, stderr=side, stdin=subprocess.DEVNULL)
    os.close(side)
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                heard.append(os.read(main, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=listen)
    reader.start()
    assert process.wait(120) == 0, b"".join(heard).decode()
    time.sleep(0.1)
    reader.join(5)
    os.close(main)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(heard).decode())
    return plain.replace("\r", "\n")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--jsonl", "out.jsonl"], "-o out.jsonl"),
        (["--jsonl", "-", "--json"], "exclude each other"),
    ],
)
def test_wrong_use_of_jsonl(erc: Erc, tmp_path: Path, options: list[str], what: str) -> None:
    done = erc("predict", "-t", script(tmp_path / "t.srt"), *options)
    assert done.returncode == 2
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_twenty_thousand_cues(erc: Erc, tiny_bert: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path / "preset", tiny_bert)
    long = script(tmp_path / "long.srt", cues=20_000)
    begin = time.monotonic()
    done = erc("predict", "-t", long, "-p", preset, "--jsonl", "-", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 20_000
    assert time.monotonic() - begin < 200
