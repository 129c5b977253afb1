"""Feature files: safetensors with `values` [n, d] and `present` [n], the rest as text in the metadata.

The layout is fixed by the schema `erc.features/1`. Equal features are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.errors import ErcError
from erc_cli.files import atomic_write
from erc_cli.types import Encoded, Features, Modality, Status

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

SCHEMA = "erc.features/1"
SUFFIX = ".safetensors"
_LISTS = ("utterances", "status")
_TEXTS = ("modality", "plugin", "version", "options", "media_sha256")
_SUM = "content_sha256"
#: rows for which `encode` was not called (None), and what it told beside the vectors
_NOT_CALLED, _DETAIL = "not_encoded", "detail"


class DamagedError(ErcError):
    """A feature file is not what was written, or none at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}.", hint="Remove it; what made it makes it again.")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """Features of some utterances, and where they are from.

    `utterances` are ids, one per row; `options` is JSON text; `media_sha256` is empty where the rows
    come from several files or from none. `more` is further metadata.
    """

    modality: Modality
    plugin: str
    features: Features
    utterances: tuple[str, ...]
    version: str = ""
    options: str = "{}"
    media_sha256: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def write_features(path: Path, file: FeatureFile) -> None:
    """Write it, whole or not at all; what was there is replaced.

    Raises:
        UsageError: the folder is missing or read-only.
        ErcError: the disk is full.
    """
    content = as_bytes(file)
    with atomic_write(path, force=True) as draft:
        draft.write_bytes(content)


def as_bytes(file: FeatureFile) -> bytes:
    """The file's content. Absent rows are zeros, whatever they were."""
    present = np.ascontiguousarray(file.features.present, np.bool_)
    values = np.where(present[:, None], file.features.values, 0).astype("<f4", order="C")
    tensors = {"values": ("F32", values), "present": ("BOOL", present)}
    about = {
        "schema": SCHEMA,
        "modality": str(file.modality),
        "plugin": file.plugin,
        "version": file.version,
        "options": file.options,
        "media_sha256": file.media_sha256,
        "utterances": json.dumps(file.utterances, ensure_ascii=False),
        "status": json.dumps([str(s) for s in file.features.status]),
        **file.more,
    }
    about[_SUM] = _sum(values, present, about)
    # Written by ourselves: the library puts metadata in random order, and equal must be equal bytes.
    header: dict[str, Any] = {"__metadata__": dict(sorted(about.items()))}
    end = 0
    for name, (kind, array) in tensors.items():
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + values.tobytes() + present.tobytes()


def _sum(values: FloatArray, present: Any, about: Mapping[str, str]) -> str:
    digest = hashlib.sha256(
        json.dumps({k: v for k, v in about.items() if k != _SUM}, sort_keys=True).encode()
    )
    digest.update(values.tobytes())
    digest.update(present.tobytes())
    return digest.hexdigest()


def read_features(path: Path, *, sealed: bool = False) -> FeatureFile:
    """Read and check a feature file, ours or another's of the same schema.

    `sealed`: it must be one of ours, with the sum of its content.

    Raises:
        DamagedError: it is not there, cut short, changed, or contradicts itself.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:
            about: dict[str, str] = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise DamagedError(path, f"not a safetensors file ({error})") from None
    if about.get("schema") != SCHEMA:
        raise DamagedError(path, f"holds {about.get('schema', 'unmarked data')}, expected {SCHEMA}")
    if sealed and _SUM not in about:
        raise DamagedError(path, "has lost the sum of its content")
    return _checked(path, about, tensors)


def _checked(path: Path, about: dict[str, str], tensors: Mapping[str, Any]) -> FeatureFile:
    lacking = [key for key in (*_TEXTS, *_LISTS) if key not in about]
    lacking += [name for name in ("values", "present") if name not in tensors]
    if lacking:
        raise DamagedError(path, f"has no {', '.join(lacking)}")
    values, present = tensors["values"], tensors["present"]
    try:
        utterances, status = (json.loads(about[key]) for key in _LISTS)
        statuses = tuple(Status(s) for s in status)
        modality = Modality(about["modality"])
    except (ValueError, TypeError) as error:
        raise DamagedError(path, f"its metadata make no sense ({error})") from None
    n = len(statuses)
    shaped = values.ndim == 2 and values.dtype == np.float32 and len(values) == n
    if not shaped or present.shape != (n,) or present.dtype != np.bool_ or len(utterances) != n:
        raise DamagedError(path, "its arrays and lists differ in length or type")
    if [s is Status.OK for s in statuses] != present.tolist():
        raise DamagedError(path, "its statuses contradict `present`")
    if about.get(_SUM, "") not in ("", _sum(values, present, about)):
        raise DamagedError(path, "its content is not what was written")
    known = {*_TEXTS, *_LISTS, "schema", _SUM}
    return FeatureFile(
        modality=modality,
        plugin=about["plugin"],
        features=Features(values, present, statuses),
        utterances=tuple(map(str, utterances)),
        version=about["version"],
        options=about["options"],
        media_sha256=about["media_sha256"],
        more={key: value for key, value in about.items() if key not in known},
    )


# --- rows ----------------------------------------------------------------------------------


def from_rows(rows: Sequence[Encoded | None]) -> tuple[Features, dict[str, str]]:
    """What `encode` returned, as features and the metadata that say the rest.

    Raises:
        ErcError: the vectors differ in length.
    """
    widths = {row.values.shape for row in rows if row is not None and row.values is not None}
    if len(widths) > 1 or any(len(shape) != 1 for shape in widths):
        said = ", ".join(map(str, sorted(widths)))
        raise ErcError(f"The extractor encodes vectors of different shapes: {said}.", hint="Tell its author.")
    width = widths.pop()[0] if widths else 0
    values = np.zeros((len(rows), width), np.float32)
    status = []
    for i, row in enumerate(rows):
        if row is not None and row.values is not None:
            values[i] = row.values
            status.append(Status.OK)
        else:
            silent = row is None or row.status is Status.OK
            status.append(Status.UNREADABLE if row is None or silent else row.status)
    more = {}
    absent = [i for i, row in enumerate(rows) if row is None]
    if absent:
        more[_NOT_CALLED] = json.dumps(absent)
    detail = [dict(row.detail) if row is not None else {} for row in rows]
    if any(detail):
        more[_DETAIL] = json.dumps(detail, sort_keys=True, default=str)
    return Features(values, np.array([s is Status.OK for s in status], np.bool_), tuple(status)), more


def to_rows(file: FeatureFile) -> tuple[Encoded | None, ...]:
    """The rows that `from_rows` was given.

    Raises:
        ErcError: the metadata make no sense.
    """
    try:
        absent = set(json.loads(file.more.get(_NOT_CALLED, "[]")))
        detail = json.loads(file.more.get(_DETAIL, "[]")) or [{}] * len(file.utterances)
    except ValueError as error:
        raise ErcError(
            f"{file.plugin}: damaged metadata ({error}).", hint="Compute the features anew."
        ) from None
    features = file.features
    return tuple(
        None
        if i in absent
        else Encoded(features.values[i] if features.present[i] else None, status, detail[i])
        for i, status in enumerate(features.status)
    )
