"""`erc models pull` without network; and as processes: two at once, full disks, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pullkit
import pytest
from click.testing import Result
from conftest import ROOT, Erc
from filelock import FileLock
from modelkit import Site, tree, write_lock
from pullkit import BIG, SMALL
from pullkit import done as _done
from pullkit import refused as _refused

from erc_cli.model_store import find_model

site, store, lock = pullkit.site, pullkit.store, pullkit.lock  # fixtures; the store is every test's


def test_offline_says_what_would_be_loaded(
    site: Site, lock: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = _refused("pull", "tiny", "--offline")
    assert error.exit_code == 1
    assert f"{site.url}/m/model.bin  700000 bytes" in error.message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=0" in (_refused("pull", "tiny").hint or "")
    assert site.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    _done("pull", "tiny")
    assert "present" in _done("pull", "tiny", "--offline").stdout


def test_pull_from_a_folder_finds_files_by_their_hash(
    site: Site, lock: Path, tmp_path: Path, store: Path
) -> None:
    stick = tmp_path / "stick"
    (stick / "deep/down").mkdir(parents=True)
    (stick / "deep/down/renamed").write_bytes(BIG)
    (stick / "other").write_bytes(bytes(len(BIG)))  # of the same size
    error = _refused("pull", "tiny", "--from", stick)
    assert "Missing, by their SHA-256" in error.message
    assert "config.json" in error.message
    assert "model.bin" not in error.message
    (stick / "c").write_bytes(SMALL)
    assert (
        json.loads(_done("pull", "tiny", "--from", stick, "--json", "-q").stdout)["models"][0]["fetched"] == 0
    )
    assert (store / "tiny/sub/model.bin").read_bytes() == BIG
    assert site.asked == []
    (store / "tiny/sub/model.bin").write_bytes(b"changed")  # a copy: what was brought stays as it is
    assert (stick / "deep/down/renamed").read_bytes() == BIG


def test_pull_from_an_archive_takes_only_what_the_lock_names(
    site: Site, lock: Path, tmp_path: Path, store: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/other.bin", bytes(len(BIG)))
        archive.writestr("x/any name.bin", BIG)
        archive.writestr("x/any.json", SMALL)
    _done("pull", "tiny", "--from", tmp_path / "all.zip")
    assert [p for p in tree(store) if p.startswith("tiny/")] == [
        "tiny/config.json",
        "tiny/sub",
        "tiny/sub/model.bin",
    ]
    assert list((store / ".parts").iterdir()) == []
    assert site.asked == []


def test_pull_from_a_climbing_archive(site: Site, lock: Path, tmp_path: Path, store: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../../escaped.bin", BIG)
    assert "leads out" in _refused("pull", "tiny", "--from", tmp_path / "bad.zip").message
    assert not list(tmp_path.parent.glob("escaped.bin"))
    assert not (store / "tiny").exists()
    assert "No such file" in _refused("pull", "tiny", "--from", tmp_path / "gone").message


# --- processes ------------------------------------------------------------------------------


def test_two_pulls_at_once_wait_for_each_other(site: Site, lock: Path, store: Path) -> None:
    store.mkdir()
    hold = FileLock(store / ".busy")
    hold.acquire()
    answers: list[Result] = []
    thread = threading.Thread(target=lambda: answers.append(_done("pull", "tiny")))
    thread.start()
    time.sleep(0.3)
    assert not (store / "tiny").exists()
    hold.release()
    thread.join(20)
    assert "waiting for it" in answers[0].stderr
    assert find_model("tiny") == store / "tiny"


_LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("erc_cli", run_name="__main__")
"""


def _start(*arguments: str, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _LIMITED, str(limit), "models", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_no_space_left(site: Site, lock: Path, store: Path) -> None:
    """A limit on file sizes fails in the same place as a full disk does."""
    process = _start("pull", "tiny", limit=300_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "could not be written" in said
    assert "ERC_MODELS=FOLDER" in said
    assert "Traceback" not in said
    assert not (store / "tiny").exists()
    assert _done("pull", "tiny").exit_code == 0
    ranges = [r for path, r in site.asked if path == "/m/model.bin"]
    assert ranges[-1].startswith("bytes=")  # what fitted was kept


def test_no_room_is_said_before_loading(site: Site, lock: Path, tmp_path: Path) -> None:
    huge = {"url": f"{site.url}/m/model.bin", "size": 10**12 * 7, "sha256": "0" * 64}
    path = write_lock(tmp_path / "l.yaml", huge=[huge])
    assert "are needed in" in _refused("pull", "huge", "--lock", path).message
    assert site.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_leaves_only_what_can_be_resumed(site: Site, lock: Path, store: Path) -> None:
    go_on = threading.Event()

    class Slow(bytes):
        """Content of which the server sends the second half late."""

        def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
            go_on.wait(20)
            return bytes(self).__getitem__(key)  # type: ignore[index]

    site.files["/m/model.bin"] = Slow(BIG)
    process = _start("pull", "tiny")
    deadline = time.monotonic() + 30
    while not any(path == "/m/model.bin" for path, _ in site.asked) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    go_on.set()
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert not (store / "tiny").exists()
    assert list((store / ".drafts").iterdir()) == []


def test_what_a_killed_pull_left_is_swept(site: Site, lock: Path, store: Path) -> None:
    (store / ".drafts/tiny-0123/sub").mkdir(parents=True)
    (store / ".drafts/tiny-0123/sub/half").write_bytes(b"x")
    _done("pull", "tiny")
    assert list((store / ".drafts").iterdir()) == []


def test_all_other_commands_forbid_libraries_the_network(erc: Erc, tmp_path: Path) -> None:
    """Seen in the process itself: a plugin that looks at its environment when it is imported."""
    (tmp_path / "erc_look.py").write_text(
        "import os\nraise ImportError('OFFLINE ' + os.environ['HF_HUB_OFFLINE'])\n"
    )
    info = tmp_path / "erc_look-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: erc-look\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[erc]\nlook = erc_look\n")
    answer = erc(
        "plugins",
        "list",
        PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(tmp_path)]),
        COLUMNS="250",
    )
    assert "OFFLINE 1" in answer.stdout


def test_list_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv[1:] = ["models", "list", "--json"]
from erc_cli.main import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "safetensors", "transformers"}
    sys.stderr.write(" ".join({m.partition(".")[0] for m in sys.modules} & heavy))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    assert len(json.loads(answer.stdout)["models"]) > 5
