"""A result as an ELAN file (EAF 3.0): what was said, and below it what it expresses.

Per speaker, with `PARTICIPANT` the speaker: a tier of the words, `NAME`, and symbolic associations of
it: `NAME emotion` (a word of a controlled vocabulary), `NAME confidence` (`0.61`), and for each
modality `NAME by text`, `by audio`, `by visual` (`anger 0.61`, or a status such as `no_face`).
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from erc_cli.lanes import Lane, lanes_of
from erc_cli.types import MediaInfo, Modality, Prediction, Result, Status
from erc_format_elan.names import DETAILS, EMOTIONS, NOBODY, OURS

# What XML 1.0 cannot hold (section 2.2), and lone surrogates, which UTF-8 cannot.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_STEREOTYPES = (
    ("Time_Subdivision", "Time subdivision of parent annotation's time interval, no time gaps allowed"),
    ("Symbolic_Subdivision", "Symbolic subdivision of a parent annotation, annotations are ordered"),
    ("Symbolic_Association", "1-1 association with a parent annotation"),
    ("Included_In", "Time alignable annotations within the parent annotation's time interval"),
)


def write(result: Result, path: Path) -> None:
    """The file; its link to the medium is absolute, and relative to the folder of `path`."""
    children = _children(result)
    lanes = lanes_of(result.utterances, NOBODY, tuple(children))
    moments = sorted(
        (moment, span.index, side)
        for lane in lanes
        for span in lane.spans
        for side, moment in enumerate((span.start, span.end))
    )
    slots = {(index, side): f"ts{number}" for number, (_, index, side) in enumerate(moments, 1)}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_head(result, path.parent, len(result.utterances) * (1 + len(children))))
        file.write("    <TIME_ORDER>\n")
        file.writelines(
            f'        <TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{moment}"/>\n'
            for number, (moment, _, _) in enumerate(moments, 1)
        )
        file.write("    </TIME_ORDER>\n")
        for lane in lanes:
            file.writelines(_words(lane, result, slots))
            for number, (ending, values) in enumerate(children.items(), 1):
                file.writelines(_child(lane, ending, values, number * len(values)))
        file.writelines(_tail(result.shown_labels))


def _children(result: Result) -> dict[str, list[str]]:
    """Ending of a dependent tier's name -> its value for each utterance."""
    labels, predictions = result.labels, result.predictions
    made = {
        " emotion": [result.label(found) for found in predictions],
        " confidence": [f"{found.confidence:.2f}" for found in predictions],
    }
    for modality in Modality:
        if any(modality in found.opinions for found in predictions):
            made[f" by {modality}"] = [_said(found, modality, labels) for found in predictions]
    return made


def _said(found: Prediction, modality: Modality, labels: Sequence[str]) -> str:
    """A modality's label and its probability, or why it has none."""
    opinion = found.opinions.get(modality)
    if opinion is None or opinion.status is not Status.OK:
        return "" if opinion is None else opinion.status.value
    best = max(range(len(labels)), key=opinion.probabilities.__getitem__)
    return f"{labels[best]} {opinion.probabilities[best]:.2f}"


def _words(lane: Lane, result: Result, slots: Mapping[tuple[int, int], str]) -> Iterator[str]:
    """The tier with the words of one speaker; annotation `aN` is utterance N - 1."""
    yield _tier(lane, "", OURS)
    for span in lane.spans:
        yield (
            f'        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{span.index + 1}"'
            f' TIME_SLOT_REF1="{slots[span.index, 0]}" TIME_SLOT_REF2="{slots[span.index, 1]}">'
            f"<ANNOTATION_VALUE>{_text(result.utterances[span.index].text)}</ANNOTATION_VALUE>"
            "</ALIGNABLE_ANNOTATION></ANNOTATION>\n"
        )
    yield "    </TIER>\n"


def _child(lane: Lane, ending: str, values: Sequence[str], offset: int) -> Iterator[str]:
    """A tier that depends on the words; `offset`: how many annotations have ids before its own."""
    yield _tier(lane, ending, EMOTIONS if ending == " emotion" else DETAILS)
    for span in lane.spans:
        yield (
            f'        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a{offset + span.index + 1}"'
            f' ANNOTATION_REF="a{span.index + 1}"><ANNOTATION_VALUE>{_text(values[span.index])}'
            "</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>\n"
        )
    yield "    </TIER>\n"


def _tier(lane: Lane, ending: str, kind: str) -> str:
    parent = f" PARENT_REF={_attribute(lane.name)}" if ending else ""
    return (
        f'    <TIER LINGUISTIC_TYPE_REF="{kind}"{parent} PARTICIPANT={_attribute(lane.speaker or "")}'
        f" TIER_ID={_attribute(lane.name + ending)}>\n"
    )


def _head(result: Result, folder: Path, annotations: int) -> Iterator[str]:
    created = result.meta.get("created") or datetime.now(UTC).isoformat(timespec="seconds")
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield (
        f'<ANNOTATION_DOCUMENT AUTHOR="erc" DATE={_attribute(str(created))} FORMAT="3.0" VERSION="3.0"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xsi:noNamespaceSchemaLocation="{_SCHEMA}">\n'
    )
    yield '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
    if result.media is not None:
        yield f"        <MEDIA_DESCRIPTOR{_links(result.media, folder)}/>\n"
    yield f'        <PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>\n    </HEADER>\n'


def _links(media: MediaInfo, folder: Path) -> str:
    """Where the medium is. ELAN writes and reads these without percent signs."""
    target = media.path.resolve()
    kind = mimetypes.guess_type(target.name)[0] or ("video/*" if media.video else "audio/*")
    kind = {"audio/wav": "audio/x-wav"}.get(kind, kind)
    url = "file:///" + _name(target).lstrip("/")
    links = f' MEDIA_URL={_attribute(url)} MIME_TYPE="{kind}"'
    try:
        near = Path(os.path.relpath(target, folder.resolve()))
    except ValueError:  # another drive
        return links
    start = "" if near.parts[:1] == ("..",) else "./"
    return f"{links} RELATIVE_MEDIA_URL={_attribute(start + _name(near))}"


def _name(path: Path) -> str:
    """A path as text, whatever bytes it is made of."""
    return os.fsencode(path.as_posix()).decode("utf-8", errors="replace")


def _tail(labels: Sequence[str]) -> Iterator[str]:
    """Types of tiers, their constraints, and the labels as a controlled vocabulary."""
    below = ' CONSTRAINTS="Symbolic_Association"'
    chosen = f' CONTROLLED_VOCABULARY_REF="{EMOTIONS}"'
    for kind, extra in ((OURS, ""), (EMOTIONS, below + chosen), (DETAILS, below)):
        alignable = "false" if extra else "true"
        yield (
            f'    <LINGUISTIC_TYPE{extra} GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="{kind}"'
            f' TIME_ALIGNABLE="{alignable}"/>\n'
        )
    yield (
        '    <LANGUAGE LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001" LANG_ID="und"'
        ' LANG_LABEL="undetermined (und)"/>\n'
    )
    for name, about in _STEREOTYPES:
        yield f'    <CONSTRAINT DESCRIPTION={_attribute(about)} STEREOTYPE="{name}"/>\n'
    yield f'    <CONTROLLED_VOCABULARY CV_ID="{EMOTIONS}">\n        <DESCRIPTION LANG_REF="und"/>\n'
    for number, label in enumerate(labels, 1):
        yield (
            f'        <CV_ENTRY_ML CVE_ID="cve{number}"><CVE_VALUE DESCRIPTION="" LANG_REF="und">'
            f"{_text(label)}</CVE_VALUE></CV_ENTRY_ML>\n"
        )
    yield "    </CONTROLLED_VOCABULARY>\n</ANNOTATION_DOCUMENT>\n"


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("", text))


def _attribute(text: str) -> str:
    """Text in quotes; line breaks are written so that they are read back as such."""
    return quoteattr(_ILLEGAL.sub("", text))
