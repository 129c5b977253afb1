"""Interval tiers of a TextGrid into utterances.

A tier is a speaker's, unless its name says what it holds (`text`, `utterances`, …): then speakers are
sought in the words. Empty intervals are silence. A forced aligner writes one word or sound an
interval: tiers of sounds are left out, and so are those of words, except where there are no others;
then words less than `PAUSE` seconds apart become one utterance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from erc_cli.textfile import read_bytes_as_text, tidy
from erc_cli.transcripts import Cue, build_transcript
from erc_cli.types import Notice, Transcript
from erc_format_praat.grid import Interval, Tier, parse
from erc_format_praat.names import EMOTION, NOBODY

PAUSE = 0.5
_SILENCE = frozenset(("", "sil", "sp", "spn", "<sil>", "<p:>"))
_CONTENT = re.compile(
    r"text|words?|utterances?|utts?|sentences?|transcripts?|transcriptions?|ort(hography)?|ipus?|speech|turns?",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?:(?P<speaker>.+?)\s*[-_/]\s*)?(?:words?|ort-mau)", re.IGNORECASE)
_SOUNDS = re.compile(
    r"(?:.+?\s*[-_/]\s*)?(?:phones?|phonemes?|phons?|segments?|syllables?|mau|kan-mau|mas)", re.IGNORECASE
)


def read(path: Path) -> Transcript:
    """The utterances of a TextGrid, long or short, in UTF-8 or UTF-16.

    Raises:
        UsageError: no such file, or no TextGrid.
    """
    tiers, broken = parse(read_bytes_as_text(path), path)
    notices = [Notice("cut_off", f"The TextGrid is cut off or damaged: {broken}.")] if broken else []
    cues = [
        Cue(interval.start, interval.end, interval.text, speaker, interval.line)
        for speaker, intervals in _spoken(tiers, notices)
        for interval in intervals
    ]
    cues.sort(key=lambda cue: (cue.start, cue.end))  # tier by tier is no disorder
    found = not _pairs(tiers) and all(cue.speaker is None for cue in cues)
    return build_transcript(cues, "textgrid", notices, path, speakers_from_text=found, markup=False)


def _spoken(tiers: Sequence[Tier], notices: list[Notice]) -> Iterator[tuple[str | None, list[Interval]]]:
    """Each speaker with what they say; what is passed over is told."""
    points = [tier.name for tier in tiers if tier.points]
    if points:
        notices.append(Notice("tiers_left_out", f"Point tiers were left out: {_listed(points)}."))
    pairs = _pairs(tiers)
    yield from _ours(pairs)
    known = {tier.name for pair in pairs for tier in pair}
    filled = [tier for tier in tiers if tier.name not in known and any(map(_is_said, tier.intervals))]
    words = [tier for tier in filled if _WORDS.fullmatch(tier.name) and _is_wordwise(tier)]
    sounds = [tier for tier in filled if _SOUNDS.fullmatch(tier.name)]
    others = [tier for tier in filled if tier not in words and tier not in sounds]
    passed = [*words, *sounds] if others else sounds if words else []
    if passed:
        names = _listed([tier.name for tier in passed])
        notices.append(Notice("tiers_left_out", f"Tiers of an aligner were left out: {names}."))
    for tier in filled:
        said = [interval for interval in tier.intervals if _is_said(interval)]
        if tier in passed:
            continue
        if tier not in words:
            yield _speaker(tier.name), said
            continue
        match = _WORDS.fullmatch(tier.name)
        message = f"The words of {tier.name!r} were joined where less than {PAUSE} s lies between them."
        notices.append(Notice("words_joined", message))
        yield match["speaker"] if match else None, list(_joined(said))


def _is_said(interval: Interval) -> bool:
    return tidy(interval.text).casefold() not in _SILENCE


def _is_wordwise(tier: Tier) -> bool:
    """A tier called `words` with whole sentences in it is not an aligner's."""
    said = [interval for interval in tier.intervals if _is_said(interval)]
    return sum(len(interval.text.split()) > 1 for interval in said) < 0.1 * len(said)


def _pairs(tiers: Sequence[Tier]) -> list[tuple[Tier, Tier]]:
    """Tiers that our writer made: words, and the emotions of the same intervals."""
    named = {tier.name: tier for tier in tiers}
    found = [(tier, named[tier.name + EMOTION]) for tier in tiers if tier.name + EMOTION in named]
    return [(words, emotions) for words, emotions in found if _spans(words) == _spans(emotions)]


def _spans(tier: Tier) -> list[tuple[float, float]]:
    return [(interval.start, interval.end) for interval in tier.intervals]


def _ours(pairs: Sequence[tuple[Tier, Tier]]) -> Iterator[tuple[str | None, list[Interval]]]:
    """What has an emotion was said, with words or without; `NAME (2)` is the second tier of NAME."""
    names = {words.name for words, _ in pairs}
    for words, emotions in pairs:
        first = re.sub(r" \(\d+\)$", "", words.name)
        name = first if first in names else words.name
        both = zip(words.intervals, emotions.intervals, strict=True)
        yield None if name == NOBODY else name, [said for said, emotion in both if emotion.text.strip()]


def _speaker(name: str) -> str | None:
    return None if name.strip() in ("", NOBODY) or _CONTENT.fullmatch(name.strip()) else name


def _joined(words: Sequence[Interval]) -> Iterator[Interval]:
    """Words in time order as runs without a pause."""
    run: list[Interval] = []
    for word in words:
        if run and word.start - run[-1].end >= PAUSE:
            yield _one(run)
            run = []
        run.append(word)
    if run:
        yield _one(run)


def _one(run: Sequence[Interval]) -> Interval:
    text = " ".join(" ".join(word.text.split()) for word in run)
    return Interval(run[0].start, run[-1].end, text, run[0].line)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (" …" if len(names) > 8 else "")
