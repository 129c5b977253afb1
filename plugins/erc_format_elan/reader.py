"""Tiers of ELAN into utterances.

Every tier that stands by itself is a speaker's: the one that its PARTICIPANT names, else the tier's
own name (`default`, which ELAN gives a new file, is nobody's). Tiers that depend on another one,
such as translations or glosses, are left out, except where a tier's own annotations are all empty:
then the words are those of its first dependent tier with one annotation per annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from erc_cli.textfile import read_bytes
from erc_cli.transcripts import Cue, build_transcript
from erc_cli.types import Notice, Transcript
from erc_format_elan.document import Annotation, Document, Tier, parse
from erc_format_elan.names import DETAILS, EMOTIONS, NOBODY, OURS

_NOBODY = ("default", "")


def read(path: Path) -> Transcript:
    """The utterances of an ELAN file.

    Raises:
        UsageError: no such file, or not one that ELAN wrote.
    """
    document = parse(read_bytes(path), path)
    notices: list[Notice] = []
    cues: list[Cue] = []
    for tier in _speakers(document, notices):
        speaker = _speaker(tier)
        for annotation in tier.annotations:
            if annotation.start is None or annotation.end is None:
                what = f"{tier.name!r} has no times ({annotation.text[:40]!r})"
                notices.append(Notice("cue_times", f"An annotation of {what}; it was left out."))
                continue
            start, end = annotation.start + document.origin, annotation.end + document.origin
            cues.append(Cue(start, end, annotation.text, speaker))
    cues.sort(key=lambda cue: (cue.start, cue.end))  # tier by tier is no disorder
    ours = any(tier.kind == OURS for tier in document.tiers)
    found = not ours and all(cue.speaker is None for cue in cues)
    return build_transcript(cues, "elan", notices, path, speakers_from_text=found, markup=False)


def _speakers(document: Document, notices: list[Notice]) -> list[Tier]:
    """The tiers to read, with their words; what is passed over or shifted is told."""
    own = [tier for tier in document.tiers if not tier.parent and tier.annotations]
    if document.origin:
        message = f"The annotations begin at {document.origin:.3f} s of the medium; times were moved by it."
        notices.append(Notice("time_origin", message))
    if any(tier.kind == OURS for tier in own):
        own = [tier for tier in own if tier.kind == OURS]
    used = {tier.name for tier in own}
    used |= {tier.name for tier in document.tiers if tier.kind in (EMOTIONS, DETAILS)}
    worded = []
    for tier in own:
        worded_itself = tier.kind == OURS or any(a.text.strip() for a in tier.annotations)
        words = None if worded_itself else _words(tier, document.tiers)
        if words is not None:
            used.add(words.name)
            message = f"The tier {tier.name!r} is empty; its words are those of {words.name!r}."
            notices.append(Notice("tier_words", message))
        worded.append(tier if words is None else _with(tier, words.annotations))
    others = [tier.name for tier in document.tiers if tier.annotations and tier.name not in used]
    if others:
        shown = ", ".join(map(repr, others[:8])) + (" …" if len(others) > 8 else "")
        notices.append(Notice("tiers_left_out", f"Tiers that were left out: {shown}."))
    return worded


def _words(tier: Tier, tiers: Sequence[Tier]) -> Tier | None:
    """The first tier with words for the annotations of an empty one."""
    ids = {annotation.id for annotation in tier.annotations}
    for other in tiers:
        belongs = [a.parent for a in other.annotations if a.text.strip()] if other.parent == tier.name else []
        if belongs and ids.issuperset(belongs) and len(set(belongs)) == len(belongs):
            return other
    return None


def _with(tier: Tier, words: Sequence[Annotation]) -> Tier:
    texts = {word.parent: word.text for word in words}
    made = tuple(replace(a, text=texts.get(a.id, "")) for a in tier.annotations)
    return replace(tier, annotations=made)


def _speaker(tier: Tier) -> str | None:
    if tier.kind == OURS:
        return tier.participant or (None if tier.name.startswith(NOBODY) else tier.name)
    name = tier.participant or tier.name
    return None if name.casefold() in _NOBODY else name
