"""What stands for the things that a pickle may name: data being put together, and nothing else.

Each allowed name has one small function or class here; none of Python's, numpy's or torch's own
is ever handed to a file. Made for `unpickle`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from erc_cli.errors import UsageError

PLAIN = (str, bytes, int, float, NoneType)
_KINDS = re.compile(r"[<>=|]?(?:[biufcSU?][0-9]*|O8?)")
_INSTEAD = "Ask whoever made it for npz, safetensors or CSV, or convert it on a machine you can lose."


class RefusedError(UsageError):
    """The pickle asks for something that is not data; nothing of it was run."""

    def __init__(self, what: str, path: Path | None = None) -> None:
        where = f"{path}: " if path else ""
        super().__init__(f"{where}refused, {what}. Nothing in it was run.", hint=_INSTEAD)
        self.what = what


class Inert:
    """Something out of a pickle that is no plain value; it takes no attributes from the file."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """The opcode BUILD on what is not meant to be built."""
        raise RefusedError(f"it changes a {type(self).__name__}")


class Named(Inert):
    """What an allowed name stands for: called by the file, it makes a piece of data."""

    __slots__ = ("_make", "_name")

    def __init__(self, name: str, make: Callable[..., object]) -> None:
        self._name, self._make = name, make

    def __call__(self, *args: object) -> object:
        """The opcode REDUCE."""
        return self._make(*args)

    def __repr__(self) -> str:
        return self._name


class Dtype(Inert):
    """A dtype being read: kind and size, and its byte order, which comes after."""

    __slots__ = ("_order", "kind")

    def __init__(self, kind: object, *_: object) -> None:
        if not isinstance(kind, str) or not _KINDS.fullmatch(kind):
            raise RefusedError(f"it holds arrays of {kind!r:.40}")
        self.kind, self._order = kind, "="

    def __setstate__(self, state: object) -> None:
        """(version, byte order, subarray, names, fields, size, alignment, flags, …) of numpy."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise RefusedError("it holds a dtype that makes no sense")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("it holds arrays of records")
        self._order = state[1]

    @property
    def objects(self) -> bool:
        """Whether the elements are Python objects."""
        return "O" in self.kind

    def numpy(self) -> np.dtype[Any]:
        """The dtype of numbers or texts."""
        made = np.dtype(self.kind)
        return made if self._order in "=|" else made.newbyteorder(self._order)  # type: ignore[arg-type]


class Piece(Inert):
    """Something that becomes an array when the whole file is read."""

    __slots__ = ()

    def array(self) -> object:
        """The array, or a list where its elements are objects."""
        raise NotImplementedError


class Ndarray(Piece):
    """A numpy array being read; its content comes after."""

    __slots__ = ("_value",)

    def __init__(self, value: object = None) -> None:
        self._value = value

    def __setstate__(self, state: object) -> None:
        """(version, shape, dtype, Fortran order, bytes or list) of numpy."""
        if self._value is not None or not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("it holds an array that makes no sense")
        _, shape, dtype, fortran, content = state
        self._value = array_of(content, dtype, shape, "F" if fortran else "C")

    def array(self) -> object:
        """As it was described."""
        if self._value is None:
            raise RefusedError("it holds an array without content")
        return self._value


def array_of(content: object, dtype: object, shape: object, order: object = "C") -> object:
    """The array of that content: a numpy array, or a list where its elements are objects.

    Raises:
        RefusedError: content, dtype and shape do not fit each other.
    """
    if not isinstance(dtype, Dtype):
        raise RefusedError("it holds an array without a dtype")
    if isinstance(shape, int):
        shape = (shape,)
    sizes = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**48 for n in shape)
    if not sizes or not isinstance(shape, tuple) or len(shape) > 8 or order not in ("C", "F"):
        raise RefusedError(f"it holds an array of shape {shape!r:.60}")
    if dtype.objects:
        if not isinstance(content, list) or len(content) != prod(shape):
            raise RefusedError("it holds an array of objects that makes no sense")
        return content
    content = _bytes(content)
    made = dtype.numpy()
    if made.itemsize == 0 or len(content) != prod(shape) * made.itemsize:
        raise RefusedError(f"it says shape {shape} for {len(content)} bytes of {made}")
    return np.frombuffer(content, made).reshape(shape, order=order)


def _bytes(content: object) -> bytes:
    """Bytes; Python 2 wrote them as text."""
    if isinstance(content, str):
        content = content.encode("latin-1", errors="strict")
    if not isinstance(content, bytes | bytearray):
        raise RefusedError(f"it holds an array made of a {type(content).__name__}")
    return bytes(content)


def _scalar(dtype: object, content: object = None) -> object:
    value = array_of(content, dtype, (1,))
    return value[0].item() if isinstance(value, np.ndarray) else value


def _reconstruct(kind: object, *_: object) -> object:
    if not isinstance(kind, Named) or repr(kind) != "numpy.ndarray":
        raise RefusedError("it makes an array of something else")
    return Ndarray()


def _from_buffer(content: object, dtype: object, shape: object, order: object = "C") -> object:
    return Ndarray(array_of(content, dtype, shape, order))


def _encoded(text: object, codec: object = "latin1") -> bytes:
    """Protocols 0 to 2 write bytes as text to be encoded."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise RefusedError("it asks for a codec")
    return text.encode("latin-1" if codec != "utf-8" else "utf-8", errors="strict")


def _byte_array(content: object = b"", codec: object = "latin1") -> bytes:
    return _encoded(content, codec) if isinstance(content, str) else _bytes(content)


def _dict(pairs: object = (), *more: object) -> dict[Any, Any]:
    """OrderedDict and defaultdict; the latter's factory is not needed to read."""
    if isinstance(pairs, Named) or pairs is None:
        pairs = more[0] if more else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(p, list | tuple) and len(p) == 2 for p in pairs
    ):
        raise RefusedError("it holds a dictionary that makes no sense")
    check_keys(key for key, _ in pairs)
    return dict(pairs)


def _set(items: object = ()) -> frozenset[Any]:
    if not isinstance(items, list | tuple | set | frozenset):
        raise RefusedError("it holds a set that makes no sense")
    check_keys(items)
    return frozenset(items)


def _mark(*_: object) -> object:
    raise RefusedError("it calls a type")


def check_keys(keys: Iterable[object]) -> None:
    """Only plain keys: the hash of tuples in tuples may take forever.

    Raises:
        RefusedError: a key is something else.
    """
    for key in keys:
        if not isinstance(key, PLAIN) and not (
            isinstance(key, tuple) and len(key) < 9 and all(isinstance(part, PLAIN) for part in key)
        ):
            raise RefusedError(f"it has a {type(key).__name__} for a key")


_CORES = ("numpy.core", "numpy._core")
ALLOWED: Mapping[str, Callable[..., object]] = {
    **{f"{core}.multiarray._reconstruct": _reconstruct for core in _CORES},
    **{f"{core}.multiarray.scalar": _scalar for core in _CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _CORES},
    "numpy.dtype": Dtype,
    "numpy.ndarray": _mark,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "_codecs.encode": _encoded,
    "builtins.bytearray": _byte_array,
    "builtins.bytes": _byte_array,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    **{f"builtins.{name}": _mark for name in ("list", "dict", "tuple", "int", "float", "str")},
}
