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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import mediakit
import numpy as np
import pytest
from conftest import ROOT

from erc_cli.dataset import features_of
from erc_cli.encoding import Branch
from erc_cli.extraction import branches_of, rows_of, with_features
from erc_cli.fakes import FakeExtractor, FakePlugin
from erc_cli.feature_file import read_features
from erc_cli.features import Store, open_store, recipe_of
from erc_cli.learning import Source, Split
from erc_cli.preset import Use
from erc_cli.registry import Entry, Owner, Registry
from erc_cli.types import Conversation, Encoded, Modality, Status, Utterance

RATE = mediakit.RATE
LONG = 0.9  # seconds of the dialogue's file that hold one utterance

#: a plugin in one file: a data set that a table describes, and an extractor that writes down its work
PLUGIN = """
import json, os, time
from pathlib import Path
import numpy as np
from erc_cli.fakes import FakeExtractor, FakeFusion
from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Source, Split
from erc_cli.specs import DatasetSpec, ExtractorSpec, FusionSpec
from erc_cli.types import Conversation, Encoded, Modality, Utterance

class Noted(FakeExtractor):
    def encode(self, clip):
        if clip.sound is None:
            return Encoded(None, clip.sound_status)
        with open(os.environ["NOTES"], "a") as stream:
            stream.write(f"{os.getpid()} {len(clip.sound)}\\n")
        time.sleep(float(os.environ.get("DELAY", "0")))
        if os.environ.get("FAILS") == str(len(clip.sound)):
            raise ValueError("it never liked this one")
        if os.environ.get("DIES") == str(len(clip.sound)):
            os._exit(9)
        return super().encode(clip)

def build(*, scale: float = 1.0):
    return Noted(Modality.AUDIO, scale)

def build_text(*, scale: float = 1.0):
    return FakeExtractor(Modality.TEXT, scale)

def build_fusion(*, labels):
    return FakeFusion(len(labels))

class Listed:
    def __init__(self, path):
        self.path = path
        self.splits = tuple(json.loads((path / "table.json").read_text()))

    def read(self, split):
        talks = json.loads((self.path / "table.json").read_text())[split]
        def source(u):
            return Source(self.path / u["file"], u["start"], u["end"]) if u["file"] else None
        return Split(
            name=split, labels=("a", "b"), sha256="0" * 64,
            conversations=tuple(
                Conversation(tuple(Utterance(0, 0, u["text"]) for u in t), id=f"t{i}")
                for i, t in enumerate(talks)
            ),
            targets=tuple((0,) * len(t) for t in talks),
            sources=tuple(tuple(source(u) for u in t) for t in talks),
            ids=tuple(tuple(u["id"] for u in t) for t in talks),
        )

@hookimpl
def erc_extractors():
    noted = ExtractorSpec("noted", Modality.AUDIO, "notes", build)
    return [noted, ExtractorSpec("long", Modality.TEXT, "length", build_text)]

@hookimpl
def erc_fusions():
    return [FusionSpec("even", "even", build_fusion)]

@hookimpl
def erc_datasets():
    return [DatasetSpec("listed", "a table of files", lambda path: Listed(path))]
"""
PRESET = "labels: [a, b]\nextractors:\n  text: {use: long}\n  audio: {use: noted}\nfusion: {use: even}\n"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Place:
    """A data set on disk, the plugin that reads it, and the notes of what was encoded."""

    folder: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, [self.home, ROOT, ROOT / "plugins"]))
        notes = {"NOTES": str(self.home / "notes"), "ERC_CACHE": str(self.home / "cache")}
        return {**os.environ, "PYTHONPATH": path, **notes}

    def arguments(self, out: Path, *more: object) -> list[str]:
        asked = ["extract", self.home / "tiny.yaml", "--data", f"listed:{self.folder}", "-o", out, *more]
        return [sys.executable, "-m", "erc_cli", *map(str, asked)]

    def run(self, out: Path, *more: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(out, *more),
            env={**self.environment, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def notes(self) -> list[str]:
        """What was encoded since the last time, by length in samples."""
        path = self.home / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(line.split()[1] for line in lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dialogue in one file, eight clips by themselves, one utterance without a medium."""
    folder, home = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("home")
    mediakit.write(folder / "talk.flac", audio=mediakit.Audio(mediakit.noise(4.0)))
    talk = [
        {
            "id": f"talk_{i}",
            "text": "word " * i,
            "file": "talk.flac",
            "start": i * 1.0,
            "end": i + LONG + i / 100,
        }
        for i in range(3)
    ]
    clips = []
    for i in range(8):
        mediakit.write(folder / f"clip{i}.flac", audio=mediakit.Audio(mediakit.noise(0.5 + i / 10, seed=i)))
        clips.append(
            {"id": f"clip{i}", "text": f"clip {i}", "file": f"clip{i}.flac", "start": 0.0, "end": None}
        )
    clips.append({"id": "none", "text": "unheard", "file": None, "start": 0.0, "end": None})
    (folder / "table.json").write_text(json.dumps({"train": [talk, clips[:4]], "dev": [clips[4:]]}))
    (home / "erc_listed.py").write_text(PLUGIN)
    info = home / "erc_listed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: erc-listed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[erc]\nlisted = erc_listed\n")
    (home / "tiny.yaml").write_text(PRESET)
    return Place(folder, home)


@pytest.fixture
def place(made: Place) -> Place:
    made.notes()
    return made


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


# --- from Python ---------------------------------------------------------------------------


@pytest.fixture
def branch() -> Branch:
    registry = Registry.of(FakePlugin())
    use = Use("fake-audio")
    return Branch(recipe_of(Modality.AUDIO, use, registry), FakeExtractor(Modality.AUDIO))


def split_of(folder: Path) -> Split:
    """Two utterances of one file in two conversations, and one without a medium."""
    talk = folder / "talk.flac"
    return Split(
        name="dev",
        labels=("a", "b"),
        sha256="",
        conversations=(
            Conversation((Utterance(100, 101, "one"), Utterance(101, 102, "two")), id="x"),
            Conversation((Utterance(0, 1, "three"),), id="y"),
        ),
        targets=((0, 1), (-1,)),
        sources=((Source(talk, 2.0, 2.5), None), (Source(talk, 0.0, 1.0),)),
    )


def test_rows_come_back_in_the_order_of_the_split(place: Place, branch: Branch, tmp_path: Path) -> None:
    split, store = split_of(place.folder), Store(tmp_path / "store")
    for _ in range(2):  # computed, then read
        filled = with_features(split, {Modality.AUDIO: branch}, store)
        first, second = filled.ready["fake-audio"]
        assert first[0] is not None and first[0].values is not None
        assert first[0].values[0] == pytest.approx(0.5)
        assert first[1] == Encoded(None, Status.UNREADABLE)
        assert second[0] is not None and second[0].values is not None
        assert second[0].values[0] == pytest.approx(1.0)
        assert rows_of(split, branch, store)[0][1] == first[1]
    labelled = features_of(filled, {Modality.AUDIO: ("fake-audio", branch.extractor)})
    assert labelled is not None
    assert labelled.features[Modality.AUDIO].values[:, 0] == pytest.approx([0.5, 0.0, 1.0])
    assert labelled.features[Modality.AUDIO].present.tolist() == [True, False, True]


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


def test_rows_of_the_data_set_itself_are_kept(place: Place, branch: Branch, tmp_path: Path) -> None:
    split = split_of(place.folder)
    own = ((Encoded(np.ones(2, np.float32)), None), (None,))
    filled = with_features(replace(split, ready={"fake-audio": own}), {Modality.AUDIO: branch}, tmp_path)
    assert filled.ready["fake-audio"] is own
    assert not any(tmp_path.iterdir())


def test_a_split_without_media_stays_as_it_is(branch: Branch, place: Place, tmp_path: Path) -> None:
    split = replace(split_of(place.folder), sources=())
    assert with_features(split, {Modality.AUDIO: branch}, tmp_path) == split
    assert rows_of(split, branch, tmp_path) == ((None, None), (None,))


def test_real_speech_gives_the_rows_of_its_extractor(shared: Path, tmp_path: Path) -> None:
    """RAVDESS through prosody: what the store gives is what `encode` gives of the same clip."""
    pytest.importorskip("parselmouth")
    from erc_audio_prosody import build, erc_extractors
    from erc_cli.media import probe, read_clips

    clips = sorted((shared / "data" / "ravdess" / "Actor_01").glob("*.ogg"))[:4]
    extractor = build()
    registry = Registry((Entry("extractor", erc_extractors()[0], Owner("erc-cli", "1")),))
    branches = branches_of({Modality.AUDIO: Use("prosody")}, registry, {Modality.AUDIO: extractor})
    talks = tuple(Conversation((Utterance(0, 0, "Kids are talking by the door"),), id=c.stem) for c in clips)
    split = Split("dev", ("a",), "", talks, ((0,),) * len(clips), sources=tuple((Source(c),) for c in clips))
    with_features(split, branches, tmp_path)
    rows = with_features(split, branches, tmp_path).ready["prosody"]
    for path, (row,) in zip(clips, rows, strict=True):
        info = probe(path)
        wish = extractor.wish(Utterance(0, info.duration, ""))
        (_, clip), *_ = list(read_clips(info, [wish]))
        wanted = extractor.encode(clip)
        assert row is not None and row.values is not None and wanted.values is not None
        assert np.array_equal(row.values, wanted.values)
        assert row.detail == wanted.detail
