"""Reads tables, arrays and pickles of features: rows of numbers, and their names where they have any.

The file's ending says what it is. Nothing that a file holds can run.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan, prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

PICKLES = (".pkl", ".pickle", ".p", ".pt", ".pth")
TABLES = (".csv", ".tsv")
ENDINGS = (*TABLES, ".npz", ".npy", ".safetensors", *PICKLES)
#: columns and entries that hold names, as people call them
KEYS = ("filename", "file", "wav_id", "id", "ids", "key", "keys", "names", "name", "path")
PAIRS = (("Dialogue_ID", "Utterance_ID"), ("dialogue", "turn"), ("dialogue", "utterance"))
LAST = "utterance_id"
SPLITS = {"dev": ("dev", "val", "valid", "validation"), "train": ("train", "trn"), "test": ("test", "tst")}
#: columns of numbers that are never taken unless they are named
NO_FEATURES = (
    "",
    "index",
    "unnamed: 0",
    "label",
    "labels",
    "target",
    "emotion",
    "sentiment",
    "class",
    "fold",
)
MOST = 2**30
_WHAT = "A feature file is a table, or an array of numbers [rows, width], or names with vectors."


@dataclass(frozen=True, slots=True)
class Found:
    """Rows as read: `values` float32 [n, d]; `ids` None where only their order says whose they are.

    An id `DIALOGUE\\0PLACE` is a row of a dictionary of dialogues.
    """

    values: FloatArray
    ids: tuple[str, ...] | None
    columns: tuple[str, ...] = ()


def read_source(path: Path, key: str, columns: Sequence[str], split: str | None) -> Found:
    """Rows of a file. `key`: of a table, the column with the names (or two, `DIALOGUE,UTTERANCE`); else
    the way to the array, such as `features` or `0.train`.

    Raises:
        UsageError: it cannot be read, is refused, or holds no such thing.
    """
    ending = path.suffix.lower()
    if not path.is_file():
        raise UsageError(f"No such file: {path}", hint="Name a file of features.")
    if ending not in ENDINGS:
        raise UsageError(
            f"{path}: features are not read from {ending or 'a file without an ending'}.",
            hint=f"Known endings: {', '.join(ENDINGS)}",
        )
    if columns and ending not in TABLES:
        raise UsageError("--columns is for tables.", hint="Name the array with --key.")
    if ending in TABLES:
        return _table(path, key, columns)
    if ending in PICKLES:
        from erc_cli.unpickle import read_pickle

        tree = read_pickle(path)
    else:
        tree = _safetensors(path) if ending == ".safetensors" else _numpy(path)
    return _rows(path, _inside(path, tree, key), split)


# --- tables --------------------------------------------------------------------------------


def _table(path: Path, key: str, columns: Sequence[str]) -> Found:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint="Save it as UTF-8.") from None
    heading = text.partition("\n")[0]
    mark = max("\t,;", key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        names, *rows = [row for row in reader if row]
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path} is not a table ({error}).", hint="It needs a heading line.") from None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise UsageError(
                f"{path}, row {number}: {len(row)} cells, but the heading has {len(names)}.",
                hint="Is the file whole? Get it anew.",
            )
    if not rows:
        raise UsageError(f"{path} has a heading and no rows.", hint="Is the file whole? Get it anew.")
    keys = _key_columns(path, names, key)
    chosen = _value_columns(path, names, columns, keys, rows)
    values = _parsed(path, names, chosen, rows)
    ids = [[row[names.index(k)].strip() for k in keys] for row in rows]
    pair = "dia{}_utt{}" if len(keys) == 2 else "{}"
    return Found(values, tuple(pair.format(*cells) for cells in ids) if keys else None, tuple(chosen))


def _key_columns(path: Path, names: Sequence[str], key: str) -> tuple[str, ...]:
    if key:
        wanted = tuple(part.strip() for part in key.split(","))
        _known(path, wanted, names)
        if len(wanted) > 2:
            raise UsageError("--key takes one column, or two: dialogue and utterance.", hint="See --help.")
        return wanted
    lower = {name.lower(): name for name in names}
    found = next((lower[name] for name in KEYS if name in lower), None)
    if found is not None:
        return (found,)
    pair = next((pair for pair in PAIRS if set(pair) <= set(names)), ())
    return pair or ((lower[LAST],) if LAST in lower else ())


def _known(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"{path} has no column {name!r}.{nearest(name, names)}",
                hint=f"Its columns: {', '.join(names)}",
            )


def _value_columns(
    path: Path,
    names: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> list[str]:
    """The columns named, else all that hold only numbers."""
    if columns:
        _known(path, columns, names)
        return list(columns)
    left = [n for n in names if n not in keys and n.lower() not in NO_FEATURES]
    numeric = [n for n in left if all(_is_number(row[names.index(n)]) for row in rows)]
    if not numeric:
        raise UsageError(f"{path} has no column of numbers.", hint=f"Its columns: {', '.join(names)}")
    return numeric


def _is_number(cell: str) -> bool:
    if not cell:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parsed(
    path: Path, names: Sequence[str], chosen: Sequence[str], rows: Sequence[Sequence[str]]
) -> FloatArray:
    places = [names.index(name) for name in chosen]
    values = np.empty((len(rows), len(chosen)), np.float32)
    for number, row in enumerate(rows):
        try:
            values[number] = [float(row[p]) if row[p] else nan for p in places]
        except ValueError as error:
            raise UsageError(
                f"{path}, row {number + 2}: {error}.", hint="Name the columns of numbers with --columns a,b,c"
            ) from None
    return values


# --- arrays --------------------------------------------------------------------------------


def _numpy(path: Path) -> Any:
    """An array, or arrays by name; read only as large as the file says and has."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                return _npy(stream, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _npy(archive.open(info), info.file_size)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint="Save it again with numpy.savez.") from None


def _npy(stream: IO[bytes], size: int) -> Any:
    """Raises ValueError for arrays of objects (pickles), and for a header that promises too much."""
    version = np.lib.format.read_magic(stream)
    readers: Mapping[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format is not known")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject or dtype.kind not in "biufSU":
        raise ValueError(f"it holds an array of {dtype}, which is not numbers")
    length = prod(shape) * dtype.itemsize
    if length > min(size, 8 * MOST):
        raise ValueError(f"its header promises shape {shape}")
    content = stream.read(length)
    if len(content) != length:
        raise ValueError("it is cut short")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint="Is the file whole? Get it anew.") from None


def _inside(path: Path, tree: Any, key: str) -> Any:
    """Follow `a.0.b` into dictionaries and lists."""
    for part in filter(None, key.split(".")):
        if isinstance(tree, dict):
            names = {str(name): name for name in tree}
            if part not in names:
                near = nearest(part, names)
                raise UsageError(f"{path}: nothing in it is called {part!r}.{near}", hint=_describe(tree))
            tree = tree[names[part]]
        elif isinstance(tree, list | tuple) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            raise UsageError(f"{path}: nothing in it is called {part!r}.", hint=_describe(tree))
    return tree


def _rows(path: Path, tree: Any, split: str | None) -> Found:
    if isinstance(tree, dict):
        if split is not None:
            spelt = [name for name in SPLITS.get(split, (split,)) if name in tree]
            if spelt:
                return _rows(path, tree[spelt[0]], None)
        return _from_dict(path, tree)
    return Found(_stack(path, tree), None)


def _from_dict(path: Path, tree: Mapping[Any, Any]) -> Found:
    """Names and their vectors; dialogues and their rows; or one array, perhaps with names beside it."""
    tables = {name: value for name, value in tree.items() if _depth(value) == 2}
    ids = next((tree[name] for name in tree if str(name).lower() in KEYS and _depth(tree[name]) == 1), None)
    if len(tables) == 1 and len(next(iter(tables.values()))) > 1:
        values = _stack(path, next(iter(tables.values())), tree)
        if ids is not None and len(ids) != len(values):
            raise UsageError(f"{path} holds {len(ids)} names for {len(values)} rows.", hint=_describe(tree))
        return Found(values, None if ids is None else tuple(map(_text, ids)))
    if tables and len(tables) == len(tree) and any(len(rows) > 1 for rows in tables.values()):
        names = [f"{_text(name)}\0{i}" for name, rows in tables.items() for i in range(len(rows))]
        return Found(_stack(path, [row for rows in tables.values() for row in rows], tree), tuple(names))
    return Found(_stack(path, list(tree.values()), tree), tuple(map(_text, tree)))


def _depth(value: Any) -> int:
    """1 for a vector, 2 for rows, 0 for anything else."""
    if isinstance(value, np.ndarray):
        return value.ndim
    if isinstance(value, list | tuple) and value:
        first = value[0]
        return 2 if isinstance(first, list | tuple) or (isinstance(first, np.ndarray) and first.ndim) else 1
    return 0


def _text(name: Any) -> str:
    """A name; a pair of numbers is dialogue and utterance."""
    if isinstance(name, tuple) and len(name) == 2:
        return "dia{}_utt{}".format(*(str(part).removeprefix("dia").removeprefix("utt") for part in name))
    return name.decode("utf-8", errors="replace") if isinstance(name, bytes) else str(name)


def _stack(path: Path, rows: Any, tree: Any = None) -> FloatArray:
    """Rows as one array [n, d]; vectors may stand in arrays of one row."""
    wrong = ""
    array = np.zeros(0)
    try:
        array = rows if isinstance(rows, np.ndarray) else _joined(rows)
    except (ValueError, TypeError) as error:
        wrong = str(error)
    if not wrong and (array.dtype.kind not in "biuf" or array.ndim != 2 or not array.size):
        wrong = f"an array of shape {array.shape} of {array.dtype}"
    if wrong:
        what = rows if tree is None else tree
        raise UsageError(f"{path} holds no rows of numbers ({wrong}).", hint=_describe(what))
    return array.astype(np.float32)


def _joined(rows: Any) -> Any:
    """Raises ValueError or TypeError for what is no rows of one length, or far too many."""
    if not isinstance(rows, list | tuple):
        raise TypeError(f"a {type(rows).__name__}")
    parts = [_flat(row) for row in rows]
    # Counted before anything is looked at: a small file may name one list as a row a million times.
    if sum(len(part) for part in parts) > MOST:
        raise ValueError("it is too large")
    for part in parts:
        if not isinstance(part, np.ndarray) and not all(isinstance(x, int | float) for x in part):
            raise TypeError("something else than numbers among its rows")
    return np.stack([np.asarray(part) for part in parts])


def _flat(row: Any) -> Any:
    """A row as a flat array or list; it may stand in a list or array by itself."""
    if isinstance(row, list | tuple) and len(row) == 1 and isinstance(row[0], list | tuple | np.ndarray):
        row = row[0]
    if isinstance(row, np.ndarray):
        return row.reshape(-1)
    if not isinstance(row, list | tuple):
        raise TypeError(f"a {type(row).__name__} among its rows")
    return row


def _describe(tree: Any) -> str:
    """What is in there, for who has to choose a --key."""
    if isinstance(tree, dict):
        names = ", ".join(str(name) for name in list(tree)[:6])
        return f"It holds {names}{', …' if len(tree) > 6 else ''}: choose with --key."
    if isinstance(tree, list | tuple):
        kinds = ", ".join(type(item).__name__ for item in tree[:4])
        more = ", …" if len(tree) > 4 else ""
        return f"It is a list of {len(tree)}: {kinds}{more}. Choose with --key 0, or --key 0.train"
    return _WHAT
