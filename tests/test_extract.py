"""`erc extract` on real media files: each decoded once, resumable, and nobody's failure is another's."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import extractkit
import numpy as np
import pytest
from extractkit import LONG, RATE, Place

from erc_cli.extraction import branches_of, with_features
from erc_cli.feature_file import read_features
from erc_cli.features import open_store
from erc_cli.preset import Use
from erc_cli.registry import Entry, Owner, Registry
from erc_cli.types import Modality, Status

made, place = extractkit.made, extractkit.place  # fixtures


def files(folder: Path) -> dict[str, bytes]:
    """Every feature file under a folder; the memory of hashes and times is not one."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}


@pytest.fixture(scope="module")
def whole(made: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an extraction that nobody interrupted makes, in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert made.run(out, "--jobs", 1).returncode == 0
    return out


def test_every_utterance_gets_its_row(place: Place, whole: Path) -> None:
    train = read_features(whole / "listed-train-audio-noted.safetensors")
    assert train.utterances == ("talk_0", "talk_1", "talk_2", "clip0", "clip1", "clip2", "clip3")
    wanted = [LONG, LONG + 0.01, LONG + 0.02, 0.5, 0.6, 0.7, 0.8]
    assert train.features.values[:, 0] == pytest.approx(wanted, abs=1e-3)
    assert (train.plugin, train.version, train.modality) == ("noted", "1.0", Modality.AUDIO)
    assert json.loads(train.options) == {"scale": 1.0}
    dev = read_features(whole / "listed-dev-audio-noted.safetensors")
    assert dev.features.present.tolist() == [True] * 4 + [False]
    assert dev.features.status[-1] is Status.UNREADABLE
    words = read_features(whole / "listed-train-text-long.safetensors")
    assert words.features.values[:, 0].tolist() == [0.0, 5.0, 10.0, 6.0, 6.0, 6.0, 6.0]
    assert words.features.status[0] is Status.NO_TEXT
    assert len(open_store(whole).files()) == 9 + 3  # media files, conversations
    assert not any(one.damage for one in open_store(whole).held())


def test_what_is_known_is_not_computed_again(place: Place, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = files(out)
    again = place.run(out, "--json")
    assert again.returncode == 0, again.stderr
    assert place.notes() == []
    assert files(out) == before
    splits = json.loads(again.stdout)["splits"]
    assert [s["media"] for s in splits] == [
        {"computed": 0, "reused": 5, "failed": 0},
        {"computed": 0, "reused": 4, "failed": 0},
    ]
    other = place.run(out, "--set", "audio.scale=2", "--split", "dev", "--drop", "text")
    assert other.returncode == 0, other.stderr
    assert len(place.notes()) == 4
    doubled = read_features(out / "listed-dev-audio-noted.safetensors").features.values[:4, 0]
    assert doubled == pytest.approx([1.8, 2.0, 2.2, 2.4], abs=1e-3)


def test_a_renamed_medium_is_still_known(place: Place, whole: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "elsewhere"
    shutil.copytree(whole, out)
    shutil.copytree(place.folder, folder)
    answer = Place(folder, place.home).run(out, "--jobs", 1)
    assert answer.returncode == 0, answer.stderr
    assert place.notes() == []
    assert files(out) == files(whole)


def test_many_processes_make_the_same_bytes(place: Place, whole: Path, tmp_path: Path) -> None:
    answer = place.run(tmp_path / "out", "--jobs", 2, DELAY="0.05")
    assert answer.returncode == 0, answer.stderr
    pids = {line.split()[0] for line in (place.home / "notes").read_text().splitlines()}
    assert len(pids) == 2 * 2  # two for each split
    assert len(place.notes()) == 11
    assert files(tmp_path / "out") == files(whole)


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_a_kill_it_goes_on_where_it_was(place: Place, whole: Path, tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    environment = {**place.environment, "DELAY": "0.15"}
    with subprocess.Popen(
        place.arguments(out, "--jobs", jobs), env=environment, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while len(open_store(out).files()) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    time.sleep(0.5)  # processes without a parent leave by themselves
    finished = open_store(out).files()
    assert 3 <= len(finished) < 12
    times = {path: path.stat().st_mtime_ns for path in finished}
    encoded = len(place.notes())
    assert not list(out.glob("*.safetensors"))
    again = place.run(out, "--jobs", jobs)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == times
    rest = len(place.notes())
    assert 0 < rest < 11
    assert encoded + rest <= 11 + 3 + jobs  # at most the files in work at the kill were done twice
    assert files(out) == files(whole)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_ctrl_c_is_130_and_leaves_no_process(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = {**place.environment, "DELAY": "0.3"}
    with subprocess.Popen(
        place.arguments(out, "--jobs", 2),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not open_store(out).files() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "Interrupted; nothing half-written is left."
    assert "Traceback" not in said
    assert open_store(out).drafts() == []
    deadline = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(process.pid) == []


def alive(group: int) -> list[str]:
    """Processes of a group that are more than an exit code waiting to be fetched."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().rpartition(")")
            state, _, its_group = rest.split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(name)
    return found


def test_a_bad_file_is_told_and_the_others_go_on(place: Place, whole: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "media", tmp_path / "out"
    shutil.copytree(place.folder, folder)
    (folder / "clip1.flac").write_bytes(b"this is no sound" * 50)
    (folder / "clip2.flac").unlink()
    answer = Place(folder, place.home).run(out, "--jobs", 2, "--json")
    assert answer.returncode == 3
    assert "clip1.flac" in answer.stderr
    assert "Traceback" not in answer.stderr
    train, dev = json.loads(answer.stdout)["splits"]
    assert train["media"] == {"computed": 3, "reused": 0, "failed": 2}
    assert dev["media"]["failed"] == 0
    assert {Path(f["path"]).name for f in train["failures"]} == {"clip1.flac", "clip2.flac"}
    rows = read_features(out / "listed-train-audio-noted.safetensors")
    good = read_features(whole / "listed-train-audio-noted.safetensors")
    assert [s.value for s in rows.features.status] == ["ok"] * 4 + ["unreadable"] * 2 + ["ok"]
    assert np.array_equal(rows.features.values[rows.features.present], good.features.values[[0, 1, 2, 3, 6]])


def test_a_failing_plugin_costs_one_row_and_is_tried_again(place: Place, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    samples = str(round((LONG + 0.01) * RATE))
    answer = place.run(out, "--split", "train", "--jobs", 1, FAILS=samples)
    assert answer.returncode == 3
    assert "it never liked this one" in answer.stderr
    rows = read_features(out / "listed-train-audio-noted.safetensors")
    assert [s.value for s in rows.features.status] == ["ok", "unreadable"] + ["ok"] * 5
    place.notes()
    again = place.run(out, "--split", "train", "--jobs", 1)
    assert again.returncode == 0, again.stderr
    assert len(place.notes()) == 3  # the file that failed, as a whole
    assert (
        files(out)["listed-train-audio-noted.safetensors"]
        == files(whole)["listed-train-audio-noted.safetensors"]
    )


def test_a_process_that_dies_takes_only_its_file_along(place: Place, tmp_path: Path) -> None:
    answer = place.run(tmp_path / "out", "--jobs", 2, "--json", DIES=str(round(0.6 * RATE)))
    assert answer.returncode == 3, answer.stderr
    train, dev = json.loads(answer.stdout)["splits"]
    assert [Path(f["path"]).name for f in train["failures"]] == ["clip1.flac"]
    assert "died" in train["failures"][0]["reason"]
    assert train["media"]["computed"] == 4
    assert dev["media"] == {"computed": 4, "reused": 0, "failed": 0}


def test_a_full_disk_is_told_and_what_is_done_is_kept(place: Place, whole: Path, tmp_path: Path) -> None:
    """The limit lets the store's files pass, but not those of a whole split."""
    out = tmp_path / "out"
    sizes = sorted(len(content) for name, content in files(whole).items() if name.startswith("store"))
    limit = sizes[-1]
    code = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "sys.argv[0] = 'erc'; runpy.run_module('erc_cli', run_name='__main__', alter_sys=True)"
    )
    arguments = place.arguments(out, "--jobs", 1)
    environment = {**place.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments[3:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1, answer.stderr
    assert "could not be written" in answer.stderr
    assert "What is done is kept" in answer.stderr
    assert "Traceback" not in answer.stderr
    store = open_store(out)
    assert store.drafts() == []
    assert len(store.files()) >= 5
    assert not any(one.damage for one in store.held())
    assert not list(out.glob("*train*"))
    done = place.notes()
    again = place.run(out, "--jobs", 1)
    assert again.returncode == 0, again.stderr
    assert len(done) + len(place.notes()) == 11
    assert files(out) == files(whole)


def test_a_damaged_file_is_computed_anew(place: Place, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    store = open_store(out)
    victim = next(path for path in store.files() if read_features(path).utterances == ("clip4",))
    content = bytearray(victim.read_bytes())
    content[-6] ^= 0x40  # in the values
    victim.write_bytes(content)
    answer = place.run(out, "--jobs", 1)
    assert answer.returncode == 0, answer.stderr
    assert "clip4.flac is computed anew" in answer.stderr
    assert len(place.notes()) == 1
    assert files(out) == files(whole)


def test_wrong_words_are_told_before_any_work(place: Place, tmp_path: Path) -> None:
    wrong = place.run(tmp_path / "out", "--split", "tset")
    assert wrong.returncode == 2
    assert "Its splits: train, dev" in wrong.stderr
    (tmp_path / "file").write_text("")
    taken = place.run(tmp_path / "file")
    assert taken.returncode == 2
    assert "-o" in taken.stderr
    gone = place.run(tmp_path / "out", "--drop", "text,audio")
    assert gone.returncode == 2
    assert place.notes() == []


def test_a_features_folder_serves_training(place: Place, whole: Path) -> None:
    """What `erc extract -o` wrote is found by its content; nothing is encoded."""
    spec = importlib.util.spec_from_file_location("erc_listed", place.home / "erc_listed.py")
    assert spec is not None and spec.loader is not None
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    registry = Registry((Entry("extractor", plugin.erc_extractors()[0], Owner("erc-listed", "1.0")),))
    branches = branches_of({Modality.AUDIO: Use("noted")}, registry, {Modality.AUDIO: plugin.build()})
    filled = with_features(plugin.Listed(place.folder).read("dev"), branches, whole)
    assert place.notes() == []
    rows = filled.ready["noted"][0]
    assert [row is not None and row.values is not None for row in rows] == [True] * 4 + [False]
