"""An ELAN file as tiers of annotations, and nothing of XML beyond that.

The parser is expat with document types refused: without them there are no entities to expand and
none to fetch, so neither an entity bomb nor a file of this machine gets in. The format: ELAN
Annotation Format 2.0 to 3.0 (EAFv3.0.xsd, Max Planck Institute for Psycholinguistics).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from erc_cli.errors import UsageError

ROOT = "ANNOTATION_DOCUMENT"
_HINT = "Open it in ELAN and save it again."


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation: times in seconds (None where ELAN has none), and the one it belongs to."""

    id: str
    text: str
    start: float | None = None
    end: float | None = None
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier; `parent` is empty for one that stands by itself."""

    name: str
    participant: str
    parent: str
    kind: str
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """`origin`: seconds of the first medium that lie before the annotations' zero."""

    tiers: tuple[Tier, ...]
    origin: float


def parse(data: bytes, path: Path) -> Document:
    """The document in the bytes of an `.eaf`; `path` is named in errors.

    Raises:
        UsageError: no XML, not of ELAN, with a document type, or times that count frames.
    """
    root = _root(data, path)
    if root.tag != ROOT:
        raise UsageError(f"{path} is XML, but not of ELAN: its root is <{root.tag}>.", hint=_HINT)
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        hint = "Set the time unit to milliseconds in ELAN, and save it again."
        raise UsageError(f"{path} counts time in {units}.", hint=hint)
    times = _times(root.find("TIME_ORDER"))
    tiers = tuple(
        Tier(
            tier.get("TIER_ID", "").strip(),
            tier.get("PARTICIPANT", "").strip(),
            tier.get("PARENT_REF", "").strip(),
            tier.get("LINGUISTIC_TYPE_REF", ""),
            tuple(_annotations(tier, times)),
        )
        for tier in root.iterfind("TIER")
    )
    return Document(tiers, _origin(header))


def _root(data: bytes, path: Path) -> Element:
    """The root element of XML without a document type."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> NoReturn:
        hint = "ELAN writes none. " + _HINT
        raise UsageError(f"{path} declares a document type or entities, which is refused.", hint=hint)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        what = expat.ErrorString(error.code)
        message = f"line {error.lineno} of {path} is not XML as ELAN writes it: {what}."
        raise UsageError(message, hint=_HINT) from error
    except (ValueError, LookupError) as error:  # an encoding that expat does not know
        raise UsageError(f"{path} cannot be read as XML: {error}.", hint="Save it as UTF-8.") from error
    return builder.close()


def _times(order: Element | None) -> dict[str, float]:
    """Seconds of every time slot; one without a value lies evenly between its neighbours with one."""
    slots = [] if order is None else list(order.iterfind("TIME_SLOT"))
    values = [_milliseconds(slot.get("TIME_VALUE")) for slot in slots]
    known = [i for i, value in enumerate(values) if value is not None]
    for a, b in pairwise(known):
        first, last = values[a] or 0.0, values[b] or 0.0
        for i in range(a + 1, b):
            values[i] = first + (last - first) * (i - a) / (b - a)
    named = zip((slot.get("TIME_SLOT_ID", "") for slot in slots), values, strict=True)
    return {name: value for name, value in named if value is not None}


def _annotations(tier: Element, times: Mapping[str, float]) -> Iterator[Annotation]:
    for element in tier.iterfind("ANNOTATION/*"):
        value = element.find("ANNOTATION_VALUE")
        text = "" if value is None else "".join(value.itertext())
        start, end = (times.get(element.get(f"TIME_SLOT_REF{n}", "")) for n in (1, 2))
        yield Annotation(
            element.get("ANNOTATION_ID", ""), text, start, end, element.get("ANNOTATION_REF", "")
        )


def _origin(header: Element | None) -> float:
    media = None if header is None else header.find("MEDIA_DESCRIPTOR")
    return 0.0 if media is None else _milliseconds(media.get("TIME_ORIGIN")) or 0.0


def _milliseconds(text: str | None) -> float | None:
    """Seconds of a whole number of milliseconds; None where it is none."""
    digits = (text or "").strip()
    if not digits.removeprefix("-").isdecimal() or len(digits) > 12:
        return None
    return int(digits) / 1000
