"""Tensors in pickles: plain ones, and files of `torch.save` in its old and its zip format.

Read without torch: a tensor is a piece of a storage, and a storage is bytes of one type.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.inert import ALLOWED, Inert, Named, Piece, RefusedError
from erc_cli.unpickle import Tables, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
ZIP = b"PK\x03\x04"
#: storage of torch -> numpy's name; brain floats are widened after
TYPES = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": "u2",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


class Storage(Inert):
    """A torch storage: its type, and its bytes once they have been read."""

    __slots__ = ("_flat", "content", "count", "kind")

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count, self.content = kind, count, b""
        self._flat: NDArray[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements, little-endian."""
        return np.dtype(TYPES[self.kind]).newbyteorder("<")

    def values(self) -> NDArray[Any]:
        """All elements.

        Raises:
            RefusedError: its bytes are not all there.
        """
        if len(self.content) != self.count * self.dtype.itemsize:
            raise RefusedError("the bytes of a tensor are missing")
        if self._flat is None:
            flat = np.frombuffer(self.content, self.dtype)
            brain = self.kind == "BFloat16"
            self._flat = (flat.astype(np.uint32) << 16).view(np.float32) if brain else flat
        return self._flat


class Tensor(Piece):
    """A view of a storage, in elements."""

    __slots__ = ("_offset", "_size", "_storage", "_stride")

    def __init__(self, storage: object, offset: object, size: object, stride: object, *_: object) -> None:
        if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
            raise RefusedError("it holds a tensor that makes no sense")
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise RefusedError("it holds a tensor that makes no sense")
        self._storage, self._offset, self._size, self._stride = storage, int(offset), size, stride  # type: ignore[call-overload]

    def array(self) -> object:
        """The view; not copied, since many may be of one storage."""
        flat = self._storage.values()
        count = prod(self._size)
        last = self._offset + sum((n - 1) * step for n, step in zip(self._size, self._stride, strict=True))
        if count > len(flat) or (count and last >= len(flat)):
            raise RefusedError("it holds a tensor larger than its storage")
        if not count:
            return np.zeros(self._size, flat.dtype)
        steps = [step * flat.itemsize for step in self._stride]
        return np.lib.stride_tricks.as_strided(flat[self._offset :], self._size, steps, writeable=False)


def _storage_from_bytes(content: object) -> object:
    """A storage that was pickled by itself, in the old format of `torch.save`."""
    if not isinstance(content, bytes):
        raise RefusedError("it holds a storage that makes no sense")
    return _old(content, nested=True)


def _parameter(tensor: object, *_: object) -> object:
    return tensor


def _size(numbers: object = ()) -> object:
    return numbers if isinstance(numbers, tuple) else ()


def _typed(*_: object) -> object:
    raise RefusedError("it makes a storage by itself")


TORCH: Mapping[str, Callable[..., object]] = {
    **ALLOWED,
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage_from_bytes,
    "torch.Size": _size,
    **{f"torch.{kind}Storage": _typed for kind in TYPES},
}


@dataclass(slots=True)
class _Beside:
    """The storages that a pickle refers to, by key; filled from the file later."""

    storages: dict[str, Storage] = field(default_factory=dict)

    def __call__(self, pid: object) -> Storage:
        """('storage', type, key, location, number of elements, view of another or None)."""
        sound = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"
        if (
            not sound
            or not isinstance(pid, tuple)
            or not isinstance(pid[1], Named)
            or pid[5:] not in ((), (None,))
        ):
            raise RefusedError("it refers to something outside")
        kind, key, count = repr(pid[1]).removeprefix("torch.").removesuffix("Storage"), pid[2], pid[4]
        if kind not in TYPES or not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
            raise RefusedError("it holds a storage that makes no sense")
        return self.storages.setdefault(key, Storage(kind, count))


def read_torch(content: bytes) -> object:
    """What a pickle or a file of `torch.save` holds, as `unpickle.run` gives it.

    Raises:
        RefusedError: it asks for what is not data, or is damaged.
    """
    return _zip(content) if content.startswith(ZIP) else _old(content)


def _old(content: bytes, *, nested: bool = False) -> object:
    """A plain pickle; or, one after the other: number, protocol, system, object, keys, bytes of storages."""
    stream, beside = io.BytesIO(content), _Beside()
    tables, size = Tables(TORCH), len(content)
    first = run(stream, tables, size)
    if type(first) is not int or first != MAGIC:
        if nested:
            raise RefusedError("it holds a storage that makes no sense")
        return first
    run(stream, tables, size), run(stream, tables, size)
    value = run(stream, Tables(TORCH, beside), size)
    keys = run(stream, tables, size)
    if not isinstance(keys, list) or not set(map(repr, keys)) <= set(map(repr, beside.storages)):
        raise RefusedError("it is damaged (keys of storages)")
    for key in keys:
        storage = beside.storages[key]
        if int.from_bytes(stream.read(8), "little") != storage.count:
            raise RefusedError("it is damaged (size of a storage)")
        storage.content = stream.read(storage.count * storage.dtype.itemsize)
    return value


def _zip(content: bytes) -> object:
    """`NAME/data.pkl`, and `NAME/data/KEY` for each storage; torch never compresses."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RefusedError(f"it is a damaged archive ({error})") from None
    sound = [
        i for i in archive.infolist() if i.compress_type == zipfile.ZIP_STORED and i.file_size <= len(content)
    ]
    members = {info.filename.partition("/")[2]: info for info in sound}
    big = "byteorder" in members and _member(archive, members["byteorder"]) != b"little"
    if "data.pkl" not in members or big:
        raise RefusedError("it is an archive, but none of torch")
    beside = _Beside()
    pickled = _member(archive, members["data.pkl"])
    value = run(io.BytesIO(pickled), Tables(TORCH, beside), len(pickled))
    for key, storage in beside.storages.items():
        if f"data/{key}" in members:
            storage.content = _member(archive, members[f"data/{key}"])
    return value


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise RefusedError(f"it is a damaged archive ({error})") from None
