"""What the tests of `erc models pull` share: a site with the model `tiny`, its lock, a store of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from modelkit import Site, entry, serving, write_lock

from erc_cli import main
from erc_cli.errors import ErcError

BIG = random.Random(0).randbytes(700_000)
SMALL = b'{"hidden_size": 8}\n'


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ERC_LOCK", "HF_ENDPOINT", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERC_MODELS", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("erc_cli.model_fetch._PAUSE", 0.001)
    return folder


@pytest.fixture
def lock(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock with the model `tiny` (two files), which every command finds."""
    site.files |= {"/m/model.bin": BIG, "/m/config.json": SMALL}
    files = [
        entry(SMALL, f"{site.url}/m/config.json"),
        entry(BIG, f"{site.url}/m/model.bin", "sub/model.bin"),
    ]
    path = write_lock(tmp_path / "own.lock.yaml", tiny=files)
    monkeypatch.setenv("ERC_LOCK", str(path))
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, ["models", *map(str, arguments)], standalone_mode=False)


def done(*arguments: object) -> Result:
    answer = invoke(*arguments)
    if answer.exception is not None:
        raise answer.exception
    return answer


def refused(*arguments: object) -> ErcError:
    answer = invoke(*arguments)
    assert isinstance(answer.exception, ErcError), (answer.exception, answer.output)
    return answer.exception
