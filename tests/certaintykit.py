"""What the tests of `--min-confidence` share: the example, judged once without it and once with it."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Erc
from jsonschema import Draft202012Validator

from erc_cli import LoadedPreset, Result, load_preset, read_result
from erc_cli.types import UNCERTAIN

MEDIA, SCRIPT = ROOT / "examples" / "conversation.mp4", ROOT / "examples" / "conversation.srt"
SCHEMA = json.loads((ROOT / "docs" / "result.schema.json").read_text(encoding="utf-8"))
#: ending -> the library that its writer needs
OPTIONAL = {".html": "jinja2", ".parquet": "pyarrow"}
ALWAYS = (".json", ".jsonl", ".csv", ".srt", ".vtt", ".ass", ".eaf", ".TextGrid", ".rttm")
ENDINGS = (*ALWAYS, *(ending for ending, library in OPTIONAL.items() if find_spec(library)))
SAID = [{"start": 0.0, "end": 1.0, "text": "We did it! I am so happy!", "speaker": "Anna"}]


@pytest.fixture(scope="module")
def model() -> LoadedPreset:
    return load_preset("default", device="cpu")


@pytest.fixture(scope="module")
def plain(model: LoadedPreset) -> Result:
    """The example without a least confidence: the most probable labels."""
    return model.predict(MEDIA, SCRIPT)


@pytest.fixture(scope="module")
def least(plain: Result) -> float:
    """A limit that is above three of the eight answers, whatever the preset's weights are."""
    low, high = sorted(found.confidence for found in plain.predictions)[2:4]
    return round((low + high) / 2, 4)


@pytest.fixture(scope="module")
def wanted(plain: Result, least: float) -> list[str]:
    """What every output has to say."""
    found = plain.predictions
    return [UNCERTAIN if p.confidence < least else plain.labels[p.best] for p in found]


@pytest.fixture(scope="module")
def run(
    erc: Erc, least: float, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command, once, with every format; the folder of the files."""
    folder = tmp_path_factory.mktemp("uncertain")
    outputs = [part for ending in ENDINGS for part in ("-o", folder / f"talk{ending}")]
    done = erc("predict", MEDIA, "-t", SCRIPT, "--device", "cpu", "--min-confidence", least, *outputs)
    assert done.returncode == 0, done.stderr
    return done, folder


@pytest.fixture(scope="module")
def folder(run: tuple[subprocess.CompletedProcess[str], Path]) -> Path:
    return run[1]


@pytest.fixture(scope="module")
def unsure(folder: Path) -> Result:
    """The result, read back from its JSON."""
    return read_result(folder / "talk.json")


def check(document: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(document)
