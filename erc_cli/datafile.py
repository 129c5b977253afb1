"""What data-set plugins share: tables read whole, labels looked up, hashes, notes on what is odd."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import UsageError, nearest
from erc_cli.types import Encoded, Notice, Status

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

#: MELD's labels in their usual order; other data sets of the same seven classes give them so, too
SEVEN = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
WHOLE = "Is the file whole? Get it anew."
_SHOWN = 5

Row = Mapping[str, str]


def read_text(path: Path) -> str:
    r"""A UTF-8 text file, its line ends as they are, without a byte order mark.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}.", hint=WHOLE) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8 ({error}).", hint=WHOLE) from None


def read_table(
    path: Path, columns: Sequence[str], *, filled: Sequence[str] = (), delimiter: str = ","
) -> Sequence[Row]:
    """Rows of a table that has these columns, none of them cut short; `filled` ones are not empty.

    Raises:
        UsageError: it is not such a table.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        names, rows = reader.fieldnames or (), list(reader)
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}.", hint=WHOLE) from None
    missing = [name for name in columns if name not in names]
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}.", hint=WHOLE)
    for number, row in enumerate(rows, start=1):
        if any(row[name] is None for name in columns) or any(not row[name] for name in filled):
            raise UsageError(f"{path}: row {number} is cut short.", hint=WHOLE)
    return rows


def seconds(text: str, where: str) -> float:
    """A number of seconds, or a time of day (`00:16:16,059`); NaN for an empty text.

    Raises:
        UsageError: it is neither; `where` says which cell.
    """
    total = 0.0
    try:
        for part in text.replace(",", ".").split(":"):
            total = 60 * total + float(part or "nan")
    except ValueError:
        raise UsageError(f"{where} is {text!r}, no time.", hint=WHOLE) from None
    return round(total, 6)


def number(text: str, where: str) -> float:
    """A number; NaN for an empty text.

    Raises:
        UsageError: it is none; `where` says which cell.
    """
    try:
        return float(text or "nan")
    except ValueError:
        raise UsageError(f"{where} is {text!r}, no number.", hint=WHOLE) from None


def label_indices(
    path: Path, words: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str] = ()
) -> list[int]:
    """The index of each row's label, -1 for what counts as unlabelled.

    Raises:
        UsageError: labels that are neither, each with its first row (from 1) and the nearest label.
    """
    index = {label: i for i, label in enumerate(labels)} | dict.fromkeys(unlabelled, -1)
    unknown: dict[str, list[int]] = {}
    for row, word in enumerate(words, start=1):
        if word not in index:
            unknown.setdefault(word, []).append(row)
    if unknown:
        said = [
            f"row {rows[0]}: unknown emotion {word!r}" + (f" ({len(rows)} rows)" if len(rows) > 1 else "")
            for word, rows in list(unknown.items())[:_SHOWN]
        ]
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        close = nearest(next(iter(unknown)), index)
        raise UsageError(f"{path}: {'; '.join(said)}{more}.{close}", hint=f"Labels: {', '.join(labels)}")
    return [index[word] for word in words]


def digest(files: Iterable[Path]) -> str:
    """SHA-256, as hexadecimal digits, over the bytes of these files one after the other."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.read_bytes())
    return total.hexdigest()


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 over names, for a data set whose labels are in its files' names."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_split(name: str, split: str, splits: Sequence[str]) -> None:
    """Raise a UsageError if the data set `name` has no such split."""
    if split not in splits:
        raise UsageError(
            f"{name} has no split {split!r}.{nearest(split, splits)}", hint=f"Its splits: {', '.join(splits)}"
        )


def another_version(found: int, official: int, what: str) -> tuple[Notice, ...]:
    """A note when a count is not that of the published data set."""
    if found == official:
        return ()
    said = f"{found} {what}, the published version has {official}: this is another version, or not whole"
    return (Notice("another_version", said),)


def missing_media(missing: int, total: int, where: Path) -> tuple[Notice, ...]:
    """A note when media files are not there."""
    if not missing:
        return ()
    return (Notice("missing_media", f"{missing} of {total} utterances have no media file in {where}"),)


def folds(groups: Sequence[Sequence[str]], fold: int) -> dict[str, tuple[str, ...]]:
    """Who is in which split: test is group `fold`, dev the next one, train all others."""
    dev = (fold + 1) % len(groups)
    train = [name for i, group in enumerate(groups) if i not in (fold, dev) for name in group]
    return {"train": tuple(train), "dev": tuple(groups[dev]), "test": tuple(groups[fold])}


def medians(values: FloatArray) -> FloatArray:
    """The median of each column of `values` [n, d] without NaN; 0 for a column that has no number."""
    known = np.isfinite(values).any(axis=0)
    found = np.zeros(values.shape[1], np.float32)
    if known.any():
        found[known] = np.nanmedian(values[:, known], axis=0)
    return found


def filled_rows(rows: Sequence[Encoded], typical: FloatArray) -> tuple[Encoded, ...]:
    """`rows` with what is not a finite number replaced by the typical value [d] of its column."""
    return tuple(
        row
        if row.values is None
        else Encoded(np.where(np.isfinite(row.values), row.values, typical).astype(np.float32))
        for row in rows
    )


#: an utterance for which a table of features has no row
ABSENT = Encoded(None, Status.UNREADABLE)
