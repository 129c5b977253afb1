"""What the tests of `erc extract` share: a data set of small files, and a plugin that notes its work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mediakit
import pytest
from conftest import ROOT

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
