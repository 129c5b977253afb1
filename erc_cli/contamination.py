"""Encoders whose training data held a data set that erc evaluates on: marked in every result.

What is known of each, and from where: docs/devices.md. A branch that is trained on from such an encoder
keeps the mark in the metadata of its weights. What a model's card says of its data and of the model that it
was made from counts, too. A model of your own is marked by a file `contaminated.json` in its folder:
`{"data": ["meld"]}`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.weights import KEY as METADATA

if TYPE_CHECKING:
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry

KEY = "contaminated"
MARKER = "contaminated.json"
ALLOW = "--allow-contaminated"
#: data set -> another with dialogues of the same TV series, annotated anew
SAME_SOURCE: Mapping[str, str] = {"emorynlp": "meld", "meld": "emorynlp"}
_MOST = 100_000_000  # bytes of a safetensors header, its own limit
_CARD = 1_000_000  # characters of a model card
_HEADER = re.compile(r"\A\s*---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)  # its YAML
_TITLE = re.compile(r"^#\s+(.+?)\s*$", re.MULTILINE)
_DATA = re.compile(r"(?<![a-z])(meld|iemocap|emorynlp)(?![a-z])")  # in the name of a data set


@dataclass(frozen=True, slots=True)
class Mark:
    """An encoder and the data sets that it learnt from, with what is known of it; `sha256` of its weights."""

    encoder: str
    data: tuple[str, ...]
    known: str = ""
    source: str = ""
    sha256: tuple[str, ...] = ()
    stage: str = ""

    def as_data(self) -> dict[str, Any]:
        """For JSON and the metadata of weights."""
        texts = {"stage": self.stage, "known": self.known, "source": self.source}
        return {
            "encoder": self.encoder,
            "data": list(self.data),
            **{k: v for k, v in texts.items() if v},
        }


_EMOBERTA = Mark(
    "tae898/emoberta-base",
    ("meld", "iemocap"),
    "trained on MELD and IEMOCAP; its author thinks that their test parts were among it",
    "https://github.com/tae898/erc/issues/29",
)
_HARTMANN = Mark(
    "j-hartmann/emotion-english-distilroberta-base",
    ("meld",),
    "trained on six data sets, MELD among them; which part of it is not known",
    "https://huggingface.co/j-hartmann/emotion-english-distilroberta-base",
)
KNOWN: tuple[Mark, ...] = (
    _EMOBERTA,
    replace(_EMOBERTA, encoder="tae898/emoberta-large"),
    _HARTMANN,
    replace(
        _HARTMANN,
        encoder="j-hartmann/emotion-english-roberta-large",
        source="https://huggingface.co/j-hartmann/emotion-english-roberta-large",
    ),
    Mark(
        "speechbrain/emotion-recognition-wav2vec2-IEMOCAP",
        ("iemocap",),
        "trained on IEMOCAP; which sessions were held back is not known to us",
        "https://huggingface.co/speechbrain/emotion-recognition-wav2vec2-IEMOCAP",
    ),
)


# --- what is known of a model --------------------------------------------------------------


def marks_of(place: Path | str, known: Iterable[Mark] = KNOWN) -> tuple[Mark, ...]:
    """The marks of a model: a name, a file of weights, or a folder (of a hub, or of a training run).

    Recognised by name, by what its `config.json` and its card (`README.md`) say it was made from and on, by
    the hash of its weights, and by the marks that it carries itself.
    """
    listed = list(known)
    found = [mark for mark in listed if _named(str(place), mark)]
    path = Path(place)
    if path.is_dir():
        text = _card_of(path)
        about = _header_of(text)
        names = [*_made_from(path), *_said_of(about, text)]
        found += [mark for mark in listed if any(_named(name, mark) for name in names)]
        found += [mark for file in sorted(path.glob("*.safetensors")) for mark in _carried(file, listed)]
        found += _own_mark(path)
        found += [] if found else _learnt(path, about)  # what is known of a model says more
    elif path.is_file():
        found += _carried(path, listed)
    return tuple({mark.encoder: mark for mark in reversed(found)}.values())[::-1]


def _named(text: str, mark: Mark) -> bool:
    """Whether a name or path is of that encoder, also in a Hugging Face cache (`models--org--name`)."""
    name = mark.encoder.rpartition("/")[2].lower()
    parts = text.lower().replace("\\", "/").replace("--", "/").replace("@", "/").split("/")
    return name in parts[-6:]


def _made_from(folder: Path) -> list[str]:
    config = _json(folder / "config.json")
    return [value for key in ("_name_or_path", "name_or_path") if isinstance(value := config.get(key), str)]


def _card_of(folder: Path) -> str:
    """The text of a model card; empty where there is none that can be read."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_CARD)
    except OSError:
        return ""


def _header_of(card: str) -> dict[str, Any]:
    """The YAML at the top of a model card: language, licence, data sets, the model that it was made from."""
    found = _HEADER.match(card)
    try:
        about = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
    return about if isinstance(about, dict) else {}


def _said_of(about: Mapping[str, Any], card: str) -> Iterator[str]:
    """Names that a card gives the model itself or what it was made from; its title with hyphens."""
    yield from _texts(about.get("base_model"))
    yield from _texts(about.get("model_name"))
    entries = about.get("model-index")
    for entry in entries if isinstance(entries, list) else []:
        yield from _texts(entry.get("name") if isinstance(entry, dict) else None)
    for title in _TITLE.findall(card)[:1]:
        yield "-".join(title.split())


def _texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _learnt(folder: Path, about: Mapping[str, Any]) -> Iterator[Mark]:
    """What an unknown model's card lists among its data sets."""
    names = [name.lower() for name in _texts(about.get("datasets"))]
    data = tuple(dict.fromkeys(word for name in names for word in _DATA.findall(name)))
    if data:
        yield Mark(
            _label(folder), data, "listed among its data sets by its model card; which part is not known"
        )


def _label(folder: Path) -> str:
    """A folder's name; in a Hugging Face cache (`models--org--name/snapshots/REVISION`) the model's."""
    if folder.parent.name != "snapshots":
        return folder.name
    return folder.parent.parent.name.removeprefix("models--").replace("--", "/")


def _own_mark(folder: Path) -> Iterator[Mark]:
    data = _json(folder / MARKER).get("data")
    if isinstance(data, list) and data:
        yield Mark(_label(folder), tuple(map(str, data)), f"marked by its {MARKER}")


def _json(path: Path) -> dict[str, Any]:
    """The object in a file that others check and complain of."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _carried(path: Path, known: list[Mark]) -> Iterator[Mark]:
    """What weights say in their metadata, and whose weights they are by their hash."""
    if path.suffix != ".safetensors":
        return
    try:
        yield from from_text(_metadata(path).get(KEY, "[]"))
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return  # damaged: who opens it says so
    if any(mark.sha256 for mark in known):
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        yield from (mark for mark in known if sha256 in mark.sha256)


def _metadata(path: Path) -> dict[str, str]:
    """erc's own metadata of a safetensors file; its header is read without the tensors."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size)) if size <= _MOST else {}
    found: dict[str, str] = json.loads(header.get("__metadata__", {}).get(METADATA, "{}"))
    return found


def as_text(marks: Iterable[Mark]) -> str:
    """Marks for the metadata of weights."""
    return json.dumps([replace(mark, stage="").as_data() for mark in marks])


def from_text(text: str) -> list[Mark]:
    """Marks from the metadata of weights; KeyError, TypeError or ValueError if it is not `as_text`'s."""
    return from_data(json.loads(text))


def from_data(listed: Iterable[Mapping[str, Any]]) -> list[Mark]:
    """Marks from what `as_data` made of them."""
    return [
        Mark(
            encoder=str(one["encoder"]),
            data=tuple(map(str, one["data"])),
            known=str(one.get("known", "")),
            source=str(one.get("source", "")),
            stage=str(one.get("stage", "")),
        )
        for one in listed
    ]


# --- what is known of a preset -------------------------------------------------------------


def marks_in(preset: Preset, registry: Registry, *, recipe: bool = False) -> tuple[Mark, ...]:
    """The marks of all branches of a preset; `recipe`: also of what their training begins from."""
    found: dict[tuple[str, str], Mark] = {}
    for modality, use in preset.extractors.items():
        spec = registry.extractor(use.name)
        places = list(_places(spec.build, use.options, use.folder))
        if recipe and spec.train is not None:
            places += _places(spec.train, preset.train.get(str(modality), {}), preset.folder)
        for place in places:
            for mark in marks_of(place):
                found[str(modality), mark.encoder] = replace(mark, stage=str(modality))
    return tuple(found.values())


def _places(function: Any, values: Mapping[str, Any], folder: Path) -> Iterator[Path | str]:
    """Files, folders and names among options: as typed, and where they are."""
    known = options.schema(function)
    bound, _ = options.bind(function, {k: v for k, v in values.items() if k in known}, folder)
    for name in bound:
        if isinstance(bound[name], Path):
            yield bound[name]
    for name, value in values.items():
        if isinstance(value, str) and name in known and (known[name].takes_file or known[name].type is str):
            yield value


def as_data(marks: Iterable[Mark]) -> dict[str, Any]:
    """`{"contaminated": […]}` for a document; nothing where there are no marks."""
    found = [mark.as_data() for mark in marks]
    return {KEY: found} if found else {}


def spoilt(marks: Iterable[Mark], data: str) -> tuple[Mark, ...]:
    """The marks because of which figures on that data set say nothing."""
    return tuple(mark for mark in marks if {data, SAME_SOURCE.get(data, data)} & set(mark.data))


def refuse(marks: Iterable[Mark], data: Iterable[str], *, allow: bool) -> None:
    """For commands that score a preset.

    Raises:
        UsageError: an encoder of it learnt from one of the data sets, or from the same TV series; `allow`
            is the user's word that this is known.
    """
    listed = list(marks)
    for name in data:
        for mark in () if allow else spoilt(listed, name):
            why = "it" if name in mark.data else f"{SAME_SOURCE[name]}, of the same TV series,"
            raise UsageError(
                f"The {mark.stage} encoder {mark.encoder} has learnt from {why} and may know the answers: "
                f"figures on {name} would say nothing ({mark.source or mark.known}).",
                hint=f"Take another encoder, or add {ALLOW} (the mark stays in the result).",
            )


def told(marks: Iterable[Mark]) -> str:
    """One sentence for tables and cards; empty without marks."""
    said = [f"{m.encoder} ({m.stage + '; ' if m.stage else ''}{', '.join(m.data)})" for m in marks]
    return (
        f"Contaminated: encoders that learnt from data sets scored here: {', '.join(said)}." if said else ""
    )
