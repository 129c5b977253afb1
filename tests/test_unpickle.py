"""Pickles of others are read as data; whatever else they ask for is refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import sys
import time
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erc_cli.errors import UsageError
from erc_cli.inert import RefusedError
from erc_cli.unpickle import read_pickle

TREE: dict[Any, Any] = {
    "turned": np.arange(6.0).reshape(2, 3).T,
    "scalars": [np.float32(1.5), np.int64(3), np.bool_(True), np.str_("hé")],
    ("dia", 1): {1, 2},
    "objects": np.array([1, "x", None], dtype=object),
    "texts": np.array(["ab", "c"]),
    "big endian": np.arange(3, dtype=">f4"),
    "ordered": OrderedDict(x=1),
    "default": defaultdict(list, {1: [2]}),
    "bytes": b"123",
    "byte array": bytearray(b"\x00\xff"),
    "frozen": frozenset([1]),
    "fortran": np.asfortranarray(np.ones((2, 3), np.float32)),
    "empty": np.zeros((0, 4), np.float32),
    "complex": [None, True, -1, 2**70, 0.5],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_comes_back_whatever_the_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(TREE, protocol))
    found = read_pickle(path)
    assert list(found) == list(TREE)
    for name in ("turned", "texts", "big endian", "fortran", "empty"):
        assert np.array_equal(found[name], TREE[name]), name
        assert found[name].shape == TREE[name].shape
    assert found["scalars"] == [1.5, 3, True, "hé"]
    assert found["objects"] == [1, "x", None]
    assert (found["ordered"], found["default"]) == ({"x": 1}, {1: [2]})
    assert (found["bytes"], bytes(found["byte array"])) == (b"123", b"\x00\xff")
    assert found["complex"] == TREE["complex"]
    assert found["dia", 1] == {1, 2}


@pytest.mark.parametrize("form", ["zip", "old", "plain pickle"])
def test_tensors_come_back_as_torch_has_them(tmp_path: Path, form: str) -> None:
    import torch

    tree = {
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "brain": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "half": torch.ones(2, dtype=torch.half),
        "steps": torch.arange(10)[3:7:2],
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "flags": torch.tensor([True, False]),
        "number": torch.tensor(3.0),
    }
    tree["same"] = tree["turned"]
    path = tmp_path / "x.pt"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(tree))
    else:
        torch.save(tree, path, _use_new_zipfile_serialization=form == "zip")
    found = read_pickle(path)
    for name, tensor in tree.items():
        wanted = tensor.detach().float().numpy()
        assert found[name].shape == wanted.shape
        assert np.array_equal(found[name].astype(np.float32), wanted), name


def test_the_published_files_are_read_as_torch_reads_them(shared: Path) -> None:
    folder = shared / "data" / "features" / "meld_dev_bologna"
    before = "torch" in sys.modules
    read = {path.stem: read_pickle(path) for path in sorted(folder.glob("*.pkl"))}
    assert before or "torch" not in sys.modules
    assert [v.shape for v in read.values()] == [(1108, 300), (1108, 768), (1108, 768)]
    with (folder / "embeddings_text_base_val.pkl").open("rb") as stream:  # a file that we know
        wanted = pickle.load(stream).numpy()
    assert np.array_equal(read["embeddings_text_base_val"], wanted)


# --- hostile ones ----------------------------------------------------------------------------


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.what, self.arguments


def name(module: str, attribute: str) -> bytes:
    """The opcode that names something."""
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def called(module: str, attribute: str, *arguments: bytes) -> bytes:
    """A call by opcodes."""
    return name(module, attribute) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def gadgets(canary: Path) -> dict[str, bytes]:
    """Programs that would make the file `canary` if anything of them ran."""
    import builtins
    import functools
    import operator
    import subprocess

    touch = f"open({str(canary)!r}, 'w').close()"
    shell = f"touch {canary}"
    end = pickle.STOP
    two = pickle.PROTO + b"\x02"
    by_class = {
        "os.system": Calls(os.system, shell),
        "eval": Calls(builtins.eval, touch),
        "exec": Calls(builtins.exec, touch),
        "subprocess": Calls(subprocess.call, ["touch", str(canary)]),
        "open": Calls(open, str(canary), "w"),
        "import": Calls(builtins.__import__, "os"),
        "path": Calls(Path.touch, canary),
        "partial": functools.partial(os.system, shell),
        "method": Calls(operator.methodcaller, "system", shell),
        "attribute": Calls(operator.attrgetter, "system"),
        "map": Calls(map, eval, [touch]),
        "numpy.load": Calls(np.load, str(canary), None, True),
        "nested": {"dia0_utt0": [1.0, Calls(os.system, shell)]},
        "object array": np.array([Calls(os.system, shell), 1], dtype=object),
    }
    made = {
        f"{key}, protocol {p}": pickle.dumps(value, p)
        for key, value in by_class.items()
        for p in (0, 2, 4)
        if p > 1 or key != "path"
    }
    inner = pickle.dumps(Calls(os.system, shell))
    old = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {})) + inner
    made |= {
        "inside a storage": two + called("torch.storage", "_load_from_bytes", _bytes(inner)) + end,
        "inside an old torch file": old,
        "inside an old torch file's storage": two
        + called("torch.storage", "_load_from_bytes", _bytes(old))
        + end,
        "torch.load": two + called("torch", "load", text(str(canary))) + end,
        "numpy's runstring": two + called("numpy.testing._private.utils", "runstring", text(touch)) + end,
        "numpy's f2py": two + called("numpy.f2py.crackfortran", "myeval", text(touch)) + end,
        "reconstruct of a class": two
        + called("numpy.core.multiarray", "_reconstruct", name("os", "system"))
        + end,
        "reconstruct of a list": two
        + called("numpy.core.multiarray", "_reconstruct", name("builtins", "list"))
        + end,
        "dotted name": pickle.PROTO
        + b"\x04"
        + text("numpy")
        + text("dtype.__class__")
        + pickle.STACK_GLOBAL
        + end,
        "dotted module": pickle.PROTO
        + b"\x04"
        + text("builtins")
        + text("dict.fromkeys")
        + pickle.STACK_GLOBAL
        + end,
        "getattr": two + called("builtins", "getattr", name("numpy", "dtype"), text("__init__")) + end,
        "python 2 name": called("__builtin__", "eval", text(touch)) + end,
        "INST": pickle.MARK + text(shell) + pickle.INST + b"os\nsystem\n" + end,
        "OBJ": pickle.MARK + name("os", "system") + text(shell) + pickle.OBJ + end,
        "NEWOBJ": two + name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + end,
        "call of a text": two + text("eval") + pickle.EMPTY_TUPLE + pickle.REDUCE + end,
        "call of an array": two + _array() + pickle.EMPTY_TUPLE + pickle.REDUCE + end,
        "build of a name": two + name("_codecs", "encode") + pickle.EMPTY_DICT + pickle.BUILD + end,
        "build of slots": two
        + name("_codecs", "encode")
        + pickle.MARK
        + pickle.NONE
        + pickle.EMPTY_DICT
        + text("_make")
        + name("builtins", "list")
        + pickle.SETITEM
        + pickle.TUPLE
        + pickle.BUILD
        + end,
        "build of a list": two + pickle.EMPTY_LIST + pickle.EMPTY_DICT + pickle.BUILD + end,
        "persistent id": pickle.PERSID + b"os.system\n" + end,
        "extension": two + pickle.EXT1 + b"\x01" + end,
        "codec": two + called("_codecs", "encode", text("x"), text("zlib")) + end,
        "bytes of a number": two
        + called("builtins", "bytes", pickle.BININT + struct.pack("<i", 2**31 - 1))
        + end,
        "copyreg": two
        + called(
            "copyreg", "_reconstructor", name("builtins", "object"), name("builtins", "object"), pickle.NONE
        )
        + end,
    }
    return made


def _bytes(content: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(content)) + content


def _array() -> bytes:
    return called("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"))


def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    programs = gadgets(canary)
    assert len(programs) > 60
    for title, program in programs.items():
        path = tmp_path / "x.pkl"
        path.write_bytes(program)
        with pytest.raises(RefusedError) as error:
            read_pickle(path)
        assert not canary.exists(), title
        assert "Nothing in it was run." in error.value.message, title
        assert str(path) in error.value.message, title
        assert error.value.exit_code == 2


def test_the_canary_would_show(tmp_path: Path) -> None:
    """The guard is worth something only if Python itself would have run the program."""
    canary = tmp_path / "canary"
    pickle.loads(gadgets(canary)["os.system, protocol 4"])
    assert canary.exists()


def test_what_is_asked_for_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Calls(os.system, "true")))
    with pytest.raises(UsageError, match=r"asks for '(posix|nt)\.system', which is not data") as error:
        read_pickle(path)
    assert error.value.hint is not None


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Calls(os.system, f"touch {canary}")))
    with pytest.raises(RefusedError, match="system"):
        read_pickle(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps([0] * 10))
    with pytest.raises(RefusedError, match="none of torch"):  # torch never compresses: no bombs
        read_pickle(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(RefusedError, match="damaged archive"):
        read_pickle(path)
    assert not canary.exists()


def large(kind: str) -> bytes:
    """Small programs that would need far more memory or time than they are long."""
    two, end = pickle.PROTO + b"\x02", pickle.STOP
    shape = pickle.LONG1 + b"\x07" + (2**50).to_bytes(7, "little") + pickle.TUPLE1
    dtype = called("numpy", "dtype", text("f4"))
    doubled = pickle.EMPTY_TUPLE + (pickle.DUP + pickle.TUPLE2) * 60
    once = pickle.MARK + text("x" * 100_000) + b"q\x00" + b"h\x00" * 2000 + pickle.TUPLE
    return {
        "memo": two + pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f" + end,
        "bytes": pickle.PROTO + b"\x04" + pickle.BINBYTES8 + struct.pack("<Q", 2**44) + b"x" + end,
        "byte array": pickle.PROTO + b"\x05" + pickle.BYTEARRAY8 + struct.pack("<Q", 2**44) + b"x" + end,
        "frame": pickle.PROTO + b"\x04" + pickle.FRAME + struct.pack("<Q", 2**44) + pickle.NONE + end,
        "shape": two + called("numpy.core.numeric", "_frombuffer", _bytes(b"1234"), dtype, shape) + end,
        "negative": two
        + called("numpy.core.numeric", "_frombuffer", _bytes(b""), dtype, pickle.BININT + b"\xff" * 4)
        + end,
        "hash": two + pickle.EMPTY_DICT + doubled + pickle.NONE + pickle.SETITEM + end,
        "hash in a set": pickle.PROTO + b"\x04" + pickle.MARK + doubled + pickle.FROZENSET + end,
        "copies": two
        + once
        + pickle.POP
        + called("_codecs", "encode", b"h\x00", text("latin1")) * 2000
        + end,
        "digits": pickle.LONG + b"9" * 1_000_000 + b"L\n" + pickle.STOP,
        "itself": two + pickle.EMPTY_LIST + b"q\x00h\x00" + pickle.APPEND + end,
        "deep": two + pickle.EMPTY_LIST * 100_000 + pickle.APPEND * 99_999 + end,
        "tensor": two
        + called(
            "torch._utils",
            "_rebuild_tensor_v2",
            called("torch.storage", "_load_from_bytes", _bytes(_storage())),
            pickle.BININT1 + b"\x00",
            shape,
            pickle.BININT1 + b"\x00" + pickle.TUPLE1,
        )
        + end,
    }[kind]


def _storage() -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(torch.FloatStorage([1.0, 2.0]), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


KINDS = ["memo", "bytes", "frame", "shape", "negative", "hash", "copies", "digits", "itself", "deep"]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("kind", [*KINDS, "tensor", "byte array", "hash in a set"])
def test_small_files_cannot_fill_memory_or_time(tmp_path: Path, kind: str) -> None:
    import resource

    path = tmp_path / "x.pkl"
    path.write_bytes(large(kind))
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    if kind in ("memo", "frame"):  # harmless here: only the number is large
        assert read_pickle(path) is None
    else:
        with pytest.raises(RefusedError):
            read_pickle(path)
    assert time.monotonic() - begin < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_sharing_costs_nothing(tmp_path: Path) -> None:
    """Lists of lists of lists that are all the same one: a walk that forgets takes forever."""
    tree: list[Any] = [1.0]
    for _ in range(50):
        tree = [tree, tree]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(tree))
    found = read_pickle(path)
    assert found[0] is found[1]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps(TREE, 4)
    path = tmp_path / "x.pkl"
    for cut in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(RefusedError, match="refused"):
            read_pickle(path)
    generator = np.random.default_rng(0)
    for _ in range(300):  # whatever a flipped byte makes of it: data, or a refusal, nothing else
        noise = bytearray(whole)
        noise[generator.integers(len(noise))] = generator.integers(256)
        path.write_bytes(noise)
        try:
            read_pickle(path)
        except RefusedError:
            continue


def test_no_opcode_was_forgotten() -> None:
    """Every opcode that names, calls, builds or refers is one that the machine overrides or refuses."""
    from erc_cli.unpickle import Machine

    ours = {chr(code) for code, f in Machine.dispatch.items() if f.__module__ == "erc_cli.unpickle"}
    risky = {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "BYTEARRAY8"}
    assert {op.code for op in pickletools.opcodes if op.name in risky} <= ours
    known = {op.code for op in pickletools.opcodes}
    assert {chr(code) for code in Machine.dispatch} <= known
