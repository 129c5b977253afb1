"""Checkpoints of others: tensors are taken, nothing that is written in them ever runs."""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from conftest import ROOT
from modelkit import entry, serving, write_lock
from safetensors.torch import load_file

from erc_cli import main, torchaudio_guard
from erc_cli import model_convert_worker as worker
from erc_cli.errors import ErcError, UsageError
from erc_cli.model_convert import convert
from erc_cli.model_store import find_model


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.target}'",))


def _erc(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, ["models", "convert", *map(str, arguments)], standalone_mode=False)


def _work(source: Path, out: Path, key: str = "") -> dict[str, Any]:
    """What the process does, done here: starting torch anew for each case takes seconds."""
    return worker.work([source], out, key)


def _save(path: Path, content: Any, *, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(4), "n": torch.tensor(7)}


def _same(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    found = load_file(path)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


@pytest.mark.parametrize(("suffix", "old"), [(".ckpt", False), (".pth", True)])
def test_a_state_dict(tmp_path: Path, suffix: str, old: bool) -> None:
    source = _save(tmp_path / f"m{suffix}", collections.OrderedDict(_state()), old=old)
    answer = _erc(source, "-o", tmp_path / "m.safetensors")
    assert answer.exception is None, answer.exception
    assert "3 tensors" in answer.stdout
    _same(tmp_path / "m.safetensors", _state())


@pytest.mark.parametrize("key", ["state_dict", "model", "odd_name"])
def test_a_state_dict_inside(tmp_path: Path, key: str) -> None:
    source = _save(tmp_path / "m.pt", {"epoch": 3, key: _state(), "args": {"lr": 0.1}})
    made = _work(source, tmp_path / "m.safetensors")
    assert (made["tensors"], made["key"]) == (3, key)
    _same(tmp_path / "m.safetensors", _state())


def test_several_sets_of_tensors(tmp_path: Path) -> None:
    other = {"x": torch.zeros(2)}
    source = _save(tmp_path / "m.pt", {"generator": {"net": _state()}, "teacher": other})
    with pytest.raises(UsageError, match="holds 2 sets of tensors") as caught:
        convert(source, tmp_path / "m.safetensors")
    assert caught.value.hint == "Choose one with --key: generator.net, teacher"
    assert not (tmp_path / "m.safetensors").exists()
    for key, wanted in (("teacher", other), ("generator.net", _state())):
        _work(source, tmp_path / "m.safetensors", key)
        _same(tmp_path / "m.safetensors", wanted)
    with pytest.raises(worker.RefusedError, match="nothing at 'student'"):
        _work(source, tmp_path / "n.safetensors", "student")
    usual = _save(tmp_path / "u.pt", {"optimizer": other, "state_dict": _state()})
    assert _work(usual, tmp_path / "u.safetensors")["key"] == "state_dict"


def test_shared_and_odd_tensors_become_whole_ones(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "tied": base,
        "also": base,
        "turned": base.t(),
        "part": base[1:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0),
        "spread": torch.ones(1).expand(1000),
    }
    _work(_save(tmp_path / "m.pt", state), tmp_path / "m.safetensors")
    _same(tmp_path / "m.safetensors", {name: t.detach().contiguous() for name, t in state.items()})


def test_what_is_no_tensor_is_left_out_and_named(tmp_path: Path) -> None:
    source = _save(tmp_path / "m.pt", {**_state(), "note": "hello", "steps": 4})
    answer = _erc(source, "-o", tmp_path / "m.safetensors", "--json")
    assert json.loads(answer.stdout)["left_out"] == ["note", "steps"]
    _same(tmp_path / "m.safetensors", _state())


def test_transformers_reads_the_result(tmp_path: Path) -> None:
    torchaudio_guard.prepare()
    transformers = pytest.importorskip("transformers", reason="the extra text is not installed")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = transformers.BertModel(config).eval()
    _save(tmp_path / "pytorch_model.bin", model.state_dict())
    config.save_pretrained(tmp_path)
    convert(tmp_path, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").unlink()
    again = transformers.BertModel.from_pretrained(tmp_path, local_files_only=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_folder_of_parts(tmp_path: Path) -> None:
    state = _state()
    _save(tmp_path / "part-1.bin", {"a.weight": state["a.weight"]})
    _save(tmp_path / "part-2.bin", {n: state[n] for n in ("a.bias", "n")})
    names = {"a.weight": "part-1.bin", "a.bias": "part-2.bin", "n": "part-2.bin"}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    convert(tmp_path, tmp_path / "m.safetensors")
    _same(tmp_path / "m.safetensors", state)
    index.write_text(json.dumps({"weight_map": {"a": "../out.bin"}}))
    with pytest.raises(ErcError, match="does not name the parts"):
        convert(tmp_path, tmp_path / "n.safetensors")
    index.unlink()
    with pytest.raises(UsageError, match="holds neither"):
        convert(tmp_path, tmp_path / "n.safetensors")


def test_a_published_checkpoint(tmp_path: Path, shared: Path) -> None:
    """MobileFaceNet as its author published it: a pickle with the tensors below `net_state_dict`."""
    source = shared / "data/models/mobilefacenet/068.ckpt"
    if not source.exists():
        pytest.skip("needs models/mobilefacenet of the data folder")
    made = _work(source, tmp_path / "m.safetensors")
    assert (made["tensors"], made["key"]) == (333, "net_state_dict")
    wanted = torch.load(source, map_location="cpu", weights_only=True)["net_state_dict"]
    _same(tmp_path / "m.safetensors", dict(wanted))


# --- hostile files --------------------------------------------------------------------------


def _hostile(kind: str, path: Path, mark: Path) -> Path:
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps({"w": Evil(mark)}))
    elif kind == "torch":
        _save(path, {"state_dict": _state(), "hook": Evil(mark)})
    elif kind == "old torch":
        _save(path, {"state_dict": _state(), "hook": Evil(mark)}, old=True)
    elif kind == "object of a class":
        _save(path, {"state_dict": _state(), "args": argparse.Namespace(lr=0.1)})
    elif kind == "whole model":
        _save(path, torch.nn.Linear(2, 2))
    elif kind == "script":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    elif kind == "old tar":
        with tarfile.open(path, "w") as archive:
            content = pickle.dumps(Evil(mark))
            info = tarfile.TarInfo("pickle")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    else:
        held = _save(path.with_suffix(".good"), _state())
        with zipfile.ZipFile(held) as good, zipfile.ZipFile(path, "w") as bad:
            for name in good.namelist():
                inside = name.endswith("data.pkl")
                bad.writestr(name, pickle.dumps(Evil(mark)) if inside else good.read(name))
    return path


@pytest.mark.parametrize("kind", ["plain pickle", "torch", "old torch"])
def test_nothing_of_a_hostile_file_runs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # loosens nothing
    mark = tmp_path / "it-ran"
    source = _hostile(kind, tmp_path / "m.pt", mark)
    answer = _erc(source, "-o", tmp_path / "m.safetensors")
    assert isinstance(answer.exception, ErcError), answer.exception
    assert "Nothing of it was run" in answer.exception.message
    if kind == "torch":
        assert "it asks for posix.system, which could run code" in answer.exception.message
    assert not mark.exists()
    assert not (tmp_path / "m.safetensors").exists()
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "kind", ["object of a class", "whole model", "script", "old tar", "zip with another pickle"]
)
def test_other_ways_to_hide_code(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "it-ran"
    source = _hostile(kind, tmp_path / "m.pt", mark)
    with pytest.raises(worker.RefusedError):
        _work(source, tmp_path / "m.safetensors")
    assert not mark.exists()
    assert not (tmp_path / "m.safetensors").exists()


def test_the_hostile_file_would_have_run(tmp_path: Path) -> None:
    """The test above is worth something only if the file does harm where it is not refused."""
    source = _hostile("torch", tmp_path / "m.pt", tmp_path / "it-ran")
    torch.load(source, weights_only=False)
    assert (tmp_path / "it-ran").exists()


def test_a_small_file_of_huge_tensors(tmp_path: Path) -> None:
    source = _save(tmp_path / "m.pt", {"w": torch.zeros(1).expand(10**5, 10**5)})
    assert source.stat().st_size < 5000
    with pytest.raises(worker.RefusedError, match="far larger than the file"):
        _work(source, tmp_path / "m.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is bounded on Linux only")
def test_the_memory_of_the_process_is_bounded() -> None:
    code = (
        "from erc_cli import model_convert_worker as w; w.limit(1000, 60); bytearray(10**9); print('fits');"
        "bytearray(8 * 10**9)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert answer.stdout == "fits\n"
    assert "MemoryError" in answer.stderr


def test_the_time_of_the_process_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("erc_cli.model_convert._START", 0.05)
    with pytest.raises(ErcError, match="was not converted within"):
        convert(_save(tmp_path / "m.pt", _state()), tmp_path / "m.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.pt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a checkpoint at all", "not a checkpoint of PyTorch"),
        (b"", "not a checkpoint of PyTorch"),
        (b"PK\x03\x04 broken", "not a checkpoint of PyTorch"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(worker.RefusedError, match=said):
        _work(tmp_path / "m.pt", tmp_path / "m.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.pt"]


def test_half_a_checkpoint(tmp_path: Path) -> None:
    source = _save(tmp_path / "m.pt", {"w": torch.zeros(1000)})
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(worker.RefusedError, match="not a checkpoint of PyTorch"):
        _work(source, tmp_path / "m.safetensors")


def test_usage(tmp_path: Path) -> None:
    assert "No such file" in str(_erc(tmp_path / "no.pt", "-o", tmp_path / "m.safetensors").exception)
    source, made = _save(tmp_path / "m.pt", _state()), tmp_path / "m.safetensors"
    made.write_bytes(b"before")
    assert "does not end in .safetensors" in str(_erc(source, "-o", tmp_path / "m.pt2").exception)
    again = _erc(source, "-o", tmp_path / "m.safetensors").exception
    assert isinstance(again, UsageError)
    assert "--force" in (again.hint or "")
    assert _erc(source, "-o", tmp_path / "m.safetensors", "--force").exception is None
    renamed = tmp_path / "renamed.pt"
    renamed.write_bytes((tmp_path / "m.safetensors").read_bytes())
    assert "is safetensors already" in str(_erc(renamed, "-o", tmp_path / "n.safetensors").exception)
    (tmp_path / "page.pt").write_bytes(b"<!DOCTYPE html><html></html>")
    assert "is a web page" in str(_erc(tmp_path / "page.pt", "-o", tmp_path / "p.safetensors").exception)
    with pytest.raises(worker.RefusedError, match="no tensors by name"):
        _work(_save(tmp_path / "e.pt", [1]), tmp_path / "e.safetensors")


def test_no_space_left(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX")
    del resource
    source = _save(tmp_path / "m.pt", {"w": torch.randn(200_000)})
    code = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "sys.argv = ['erc', 'models', 'convert', sys.argv[1], '-o', sys.argv[2]];"
        "runpy.run_module('erc_cli', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "m.safetensors")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert answer.returncode == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.pt"]


def test_pull_converts_and_refuses_hostile_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERC_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    good = _save(tmp_path / "good.ckpt", {"model": _state()}).read_bytes()
    bad = _hostile("torch", tmp_path / "bad.ckpt", tmp_path / "it-ran").read_bytes()
    with serving() as site:
        site.files |= {"/good.ckpt": good, "/bad.ckpt": bad}
        lock = write_lock(
            tmp_path / "lock.yaml",
            good=[entry(good, f"{site.url}/good.ckpt", "net.safetensors", convert=True, key="model")],
            bad=[entry(bad, f"{site.url}/bad.ckpt", "net.safetensors", convert=True)],
        )
        arguments = ["--lock", str(lock), "-q"]
        runner = CliRunner()
        assert (
            runner.invoke(main.erc, ["models", "pull", "good", *arguments], standalone_mode=False).exception
            is None
        )
        _same(find_model("good") / "net.safetensors", _state())
        answer = runner.invoke(main.erc, ["models", "pull", "bad", *arguments], standalone_mode=False)
    assert "could run code" in str(answer.exception)
    assert not (tmp_path / "store/bad").exists()
    assert not (tmp_path / "it-ran").exists()
    assert list((tmp_path / "store/.drafts").iterdir()) == []
