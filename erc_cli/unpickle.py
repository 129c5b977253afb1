"""Reads other people's pickles as data: numbers, texts, containers and arrays; nothing in them can run.

A pickle is a program that may call any function it can name. Here names are looked up in one short
table, and what they stand for are inert pieces of this module: no class, function or method of
Python, numpy or torch is ever handed to the file. Python's own (not the C) machine is used on
purpose: its memo is a dictionary and its reads end with the file, so no opcode can ask for memory
beyond the file's size.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from erc_cli.errors import UsageError
from erc_cli.inert import Inert, Named, Piece, RefusedError, check_keys

DEEPEST = 64
_DIGITS = 100


@dataclass(frozen=True, slots=True)
class Tables:
    """What a pickle may name, and who answers its references to what lies beside it."""

    allowed: Mapping[str, Callable[..., object]]
    beside: Callable[[object], object] | None = None


_Python: Any = pickle._Unpickler


class Machine(_Python):  # type: ignore[misc]
    """Python's pickle machine with our table of names.

    What is called by name may copy its arguments; all copies together are held to a multiple of the
    file's size, so that a small file cannot fill the memory.

    Raises, from `load`: RefusedError, and what a damaged pickle makes of it (see `run`).
    """

    def __init__(self, stream: IO[bytes], tables: Tables, budget: int) -> None:
        super().__init__(stream, fix_imports=True, encoding="latin1")
        self._tables, self._budget = tables, budget

    def find_class(self, module: str, name: str) -> object:
        """The opcodes that name something."""
        full = f"{module}.{name}".replace("__builtin__.", "builtins.")
        make = self._tables.allowed.get(full)
        if make is None:
            raise RefusedError(f"it asks for {full!r:.80}, which is not data")
        return Named(full, make)

    def persistent_load(self, pid: object) -> object:
        """A reference to what lies beside the pickle."""
        if self._tables.beside is None:
            raise RefusedError("it refers to something outside")
        return self._tables.beside(pid)

    def _reduce(self) -> None:
        made, arguments = self.stack[-2:]
        if not isinstance(made, Named) or not isinstance(arguments, tuple):
            raise RefusedError(f"it calls a {type(made).__name__}")
        self._charge(arguments)
        self.load_reduce()

    def _build(self) -> None:
        made, state = self.stack[-2:]
        if not isinstance(made, Inert):
            raise RefusedError(f"it changes a {type(made).__name__}")
        self._charge(state)
        self.load_build()

    def _charge(self, parts: object) -> None:
        sized = [part for part in parts if isinstance(part, Sized)] if isinstance(parts, tuple) else []
        self._budget -= sum(map(len, sized)) + 1
        if self._budget < 0:
            raise RefusedError("it makes more of itself than it holds")

    def _set_item(self) -> None:
        check_keys(self.stack[-2:-1])
        self.load_setitem()

    def _set_items(self) -> None:
        check_keys(self.stack[::2])
        self.load_setitems()

    def _new_dict(self) -> None:
        check_keys(self.stack[::2])
        self.load_dict()

    def _add_items(self) -> None:
        check_keys(self.stack)
        self.load_additems()

    def _new_frozenset(self) -> None:
        check_keys(self.stack)
        self.load_frozenset()

    def _byte_array(self) -> None:
        """Without making room before the bytes are there."""
        size = int.from_bytes(self.read(8), "little")
        self.append(self.read(min(size, 2**62)))

    def _number(self) -> None:
        """Protocol 0 spells numbers out: too many digits would take long."""
        line = self.readline()[:-1].rstrip(b"L")
        if len(line) > _DIGITS:
            raise RefusedError("it holds a number of too many digits")
        self.append({b"00": False, b"01": True}.get(line, int(line)))

    def _refuse(self) -> None:
        raise RefusedError("it makes objects of a class")

    dispatch = {  # noqa: RUF012 - as the class above has it
        **_Python.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _new_dict,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _new_frozenset,
        pickle.BYTEARRAY8[0]: _byte_array,
        pickle.INT[0]: _number,
        pickle.LONG[0]: _number,
        **dict.fromkeys(
            (op[0] for op in (pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX)), _refuse
        ),
        **dict.fromkeys((op[0] for op in (pickle.EXT1, pickle.EXT2, pickle.EXT4)), _refuse),
    }


def run(stream: IO[bytes], tables: Tables, size: int) -> object:
    """The pickle at the stream's place, as it stands: arrays are still a `Piece`.

    `size`: of the whole file, in bytes.

    Raises:
        RefusedError: it asks for what is not data, or is damaged.
    """
    try:
        return Machine(stream, tables, 4 * size + 2**16).load()
    except UsageError:
        raise
    except (RecursionError, MemoryError):
        raise RefusedError("it is nested too deep or too large") from None
    except Exception as error:  # noqa: BLE001 - a damaged program may fail in any of its opcodes
        raise RefusedError(f"it is damaged ({type(error).__name__})") from None


def read_pickle(path: Path) -> Any:
    """What a pickle holds: dictionaries, lists, tuples, sets, texts, numbers, bytes and numpy arrays.

    Tensors of torch come as arrays, whether pickled or written by `torch.save`.

    Raises:
        RefusedError: it asks for anything else, or is damaged; nothing of it was run.
    """
    from erc_cli.unpickle_torch import read_torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.", hint="Name a file that can be read.") from None
    try:
        return plain(read_torch(content))
    except RefusedError as error:
        raise RefusedError(error.what, path) from None


def plain(value: object) -> Any:
    """`value` with every `Piece` replaced by its array; what is there twice stays one object.

    Raises:
        RefusedError: it holds itself, is nested too deep, or holds something unfinished.
    """
    return _Plain({}).of(value, 0)


@dataclass(slots=True)
class _Plain:
    seen: dict[int, Any]

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, str | bytes | int | float | complex | None | np.ndarray):
            return value
        if depth > DEEPEST:
            raise RefusedError("it is nested too deep")
        if id(value) in self.seen:  # the pickle's values outlive this walk, so ids are theirs alone
            found = self.seen[id(value)]
            if found is _UNFINISHED:
                raise RefusedError("it holds itself")
            return found
        self.seen[id(value)] = _UNFINISHED
        made = self._made(value, depth + 1)
        self.seen[id(value)] = made
        return made

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: self.of(item, depth) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self.of(item, depth) for item in value])
        if isinstance(value, set | frozenset):
            return value
        if isinstance(value, Piece):
            return self.of(value.array(), depth)
        raise RefusedError(f"it holds a {type(value).__name__} that is no data")


_UNFINISHED = object()
