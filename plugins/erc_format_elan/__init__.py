"""ELAN annotation files (.eaf) as transcripts, and results as tiers of ELAN."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, WriterSpec
from erc_cli.types import Result, Transcript

_EAF = """
<ANNOTATION_DOCUMENT …><HEADER TIME_UNITS="milliseconds"/>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2500"/></TIME_ORDER>
<TIER TIER_ID="Monica"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>There's nothing to tell!</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>
"""  # noqa: E501


def _is_eaf(text: str) -> bool:
    return re.search(r"<ANNOTATION_DOCUMENT[\s>]", text[:20_000]) is not None


def _read(path: Path) -> Transcript:
    from erc_format_elan.reader import read

    return read(path)


def _write(result: Result, path: Path) -> None:
    from erc_format_elan.writer import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """The tiers of an ELAN file, one speaker each."""
    return (ReaderSpec("elan", (".eaf",), "ELAN tiers, one per speaker", _read, _is_eaf, example=_EAF),)


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """Per speaker a tier of words, and below it emotion, confidence and each modality."""
    return (
        WriterSpec(
            "elan",
            (".eaf",),
            "ELAN tiers of words, emotion and each modality, linked to the medium",
            _write,
            leaves_out="probabilities of the labels that did not win, contributions",
        ),
    )
