"""Other people's features, from tables, arrays and pickles, as feature files of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.errors import UsageError, nearest
from erc_cli.extraction import utterance_ids
from erc_cli.feature_file import FeatureFile
from erc_cli.feature_sources import SPLITS, Found, read_source
from erc_cli.features import sha256_of
from erc_cli.learning import Split
from erc_cli.types import Features, Modality, Notice, Status

if TYPE_CHECKING:
    from erc_cli.types import BoolArray, FloatArray

_MEDIA = re.compile(r"\.(?:wav|mp3|flac|ogg|mp4|avi|mkv|mov|npy|pt|csv)$", re.IGNORECASE)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What to import: `name` as which, `key` where the ids or the array are, `columns` of a table.

    `without`: utterances of the split that a file without ids leaves out. `renamed`: beginnings of ids
    and what stands for them. `fill`: the number for what is not finite; without it such a row is absent.
    """

    name: str
    modality: Modality
    columns: tuple[str, ...] = ()
    key: str = ""
    without: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    fill: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The data set's split that features are matched to."""

    data: str
    split: Split


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made, and what was odd about it."""

    file: FeatureFile
    warnings: tuple[Notice, ...] = field(default=())


def import_file(path: Path, order: Order, target: Target | None) -> Imported:
    """Read a file and match its rows to the target's utterances; without a target they keep their ids.

    Raises:
        UsageError: the file cannot be read or refused, or does not fit the order or the target.
    """
    split = None if target is None else target.split
    found = read_source(path, order.key, order.columns, None if split is None else split.name)
    more = {"source": path.name, "source_sha256": sha256_of(path)}
    if found.columns:
        more["columns"] = json.dumps(found.columns, ensure_ascii=False)
    if target is None:
        ids = found.ids or tuple(str(i) for i in range(len(found.values)))
        ids, values, lost = _renamed(ids, order), found.values, np.zeros(len(ids), np.bool_)
        warnings: list[Notice] = []
        _refuse_twins(ids, path)
    else:
        ids = tuple(name for row in utterance_ids(target.split) for name in row)
        more |= {"data": target.data, "split": target.split.name, "data_sha256": target.split.sha256}
        values, lost, warnings = _matched(path, found, order, target, ids)
    features, odd = _features(values, lost, order.fill)
    if found.columns and not order.columns:
        said = f"{len(found.columns)} columns of numbers were taken: {', '.join(found.columns)}"
        odd.append(Notice("columns_taken", said))
    options = {"columns": list(order.columns), "fill": order.fill, "key": order.key}
    file = FeatureFile(
        order.modality, order.name, features, ids, options=json.dumps(options, sort_keys=True), more=more
    )
    return Imported(file, (*warnings, *odd))


def _features(values: FloatArray, lost: BoolArray, fill: float | None) -> tuple[Features, list[Notice]]:
    """A row that is not there, or holds what is not a number, is unreadable."""
    finite = np.isfinite(values)
    broken = ~finite.all(axis=1) & ~lost
    notices = []
    if broken.any() and fill is None:
        said = f"{int(broken.sum())} rows hold what is not a finite number: they count as absent"
        notices.append(Notice("not_finite", f"{said} (a number in its place: --fill 0)"))
        lost = lost | broken
    elif broken.any():
        notices.append(Notice("not_finite", f"{int((~finite[~lost]).sum())} values became {fill:g}"))
    values = np.where(finite, values, 0.0 if fill is None else fill).astype(np.float32)
    if not len(values) or lost.all():
        raise UsageError("No row of it can be used.", hint="Is it the right file, and the right --key?")
    status = tuple(Status.UNREADABLE if gone else Status.OK for gone in lost)
    return Features(values, ~lost, status), notices


def _matched(
    path: Path, found: Found, order: Order, target: Target, ids: tuple[str, ...]
) -> tuple[FloatArray, BoolArray, list[Notice]]:
    """Values [n, d] in the order of `ids`, which rows [n] are missing, and what was left over."""
    unknown = [name for name in order.without if name not in ids]
    if unknown:
        raise UsageError(
            f"--without {unknown[0]}: {target.data} has no such utterance.{nearest(unknown[0], ids)}",
            hint=f"Its utterances are named like {ids[0]}.",
        )
    if found.ids is None:
        return *_in_order(path, found.values, order, target, ids), []
    names = _by_place(found.ids, target.split, ids) or _renamed(found.ids, order)
    _refuse_twins(names, path)
    rows = {name: i for i, name in enumerate(names)}
    places = np.array([rows.get(name, -1) for name in ids])
    if not (places >= 0).any():
        raise UsageError(
            f"{path}: none of its {len(names)} names ({_some(names)}) is one of {target.data}"
            f" {target.split.name} ({_some(ids)}).",
            hint="Name what holds them with --key, or change how they begin: --rename OLD=NEW",
        )
    lost = (places < 0) | np.isin(ids, order.without)
    return found.values[np.maximum(places, 0)], lost, _left_over(names, ids, lost)


def _left_over(names: Sequence[str], ids: Sequence[str], lost: BoolArray) -> list[Notice]:
    notices = []
    known = set(ids)
    extra = [name for name in names if name not in known]
    if extra:
        notices.append(Notice("rows_left_over", f"{len(extra)} rows belong to no utterance: {_some(extra)}"))
    absent = [name for name, gone in zip(ids, lost, strict=True) if gone]
    if absent:
        notices.append(Notice("rows_missing", f"{len(absent)} utterances have no row: {_some(absent)}"))
    return notices


def _in_order(
    path: Path, values: FloatArray, order: Order, target: Target, ids: tuple[str, ...]
) -> tuple[FloatArray, BoolArray]:
    """Rows without names are those of the split in its order, less the utterances left out."""
    lost = np.isin(ids, order.without)
    expected = int((~lost).sum())
    if len(values) != expected:
        counted = f"{len(ids)} utterances" + (
            f", {expected} without {_some(order.without)}" if order.without else ""
        )
        raise UsageError(
            f"{path} holds {len(values)} rows without names;"
            f" {target.data} {target.split.name} has {counted}.",
            hint=f"Say which ones it leaves out, for instance: --without {ids[-1]}"
            if len(values) < expected
            else "Name the part that holds this split with --key, or another --split.",
        )
    whole = np.zeros((len(ids), values.shape[1]), np.float32)
    whole[~lost] = values
    return whole, lost


def _by_place(found: tuple[str, ...], split: Split, ids: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names for rows that are `conversation:place` (dictionaries of dialogues), or None if they are not."""
    parts = [name.rpartition("\0") for name in found]
    if not all(mark for _, mark, _ in parts):
        return None
    named: dict[tuple[str, int], str] = {}
    flat = iter(ids)
    for talk in split.conversations:
        for place in range(len(talk.utterances)):
            name = next(flat)
            for spelt in {talk.id, talk.id.removeprefix("dia")}:
                named[spelt, place] = name
    return tuple(named.get((plain_id(talk), int(place)), f"{talk}:{place}") for talk, _, place in parts)


def plain_id(name: str) -> str:
    """A name without folders and without the ending of a media or array file."""
    return _MEDIA.sub("", PurePosixPath(name.replace("\\", "/")).name.strip())


def _renamed(names: Iterable[str], order: Order) -> tuple[str, ...]:
    made = []
    for name in names:
        plain = plain_id(name.replace("\0", ":"))
        for old, new in order.renamed:
            if plain.startswith(old):
                plain = new + plain.removeprefix(old)
                break
        made.append(plain)
    return tuple(made)


def _refuse_twins(names: Sequence[str], path: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(
                f"{path}: {name!r} is there twice.", hint="Remove one of the rows, or set --key."
            )
        seen.add(name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def guess_split(path: Path, splits: Sequence[str]) -> str | None:
    """The split that a file's name speaks of: `meld_dev_audio.csv`, `embeddings_val.pkl`; None without."""
    words = re.split(r"[^a-z0-9]+", path.stem.lower())
    found = [s for s in splits if any(word in words for word in SPLITS.get(s, (s,)))]
    return found[0] if len(found) == 1 else None
