"""Whose face is the speaker's, decided over a whole conversation.

1. People of all utterances are grouped by their face embeddings into identities.
2. For every speaker of the transcript and every identity, evidence is summed over the speaker's
   utterances: is the face there when the speaker talks, more than otherwise (co-occurrence), and does its
   mouth move more than the other faces', and than usual for it.
3. That becomes probabilities over "which face is this speaker's, if any", one face to a speaker.
4. In an utterance they are weighed with the mouths of that utterance. Without a speaker's name only the
   mouths count; what is left below `SURE` is not known.

Everything is bounded: a few numbers per person and utterance, and few identities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.faces.people import SAME, Person, matched, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import FloatArray

    Doubles = NDArray[np.float64]

SURE = 0.65  # below, an utterance's speaker has no known face
THERE = 0.9  # how often a speaker's face is in the picture, where it is anywhere
STEEPNESS = 2.0  # of mouth movement, on a logarithmic scale, for many frames
FEW = 3  # frames at which it is half of that
STILL = 0.2  # added to movement: noise makes about so much
MOST_FROM_ONE = 1.5  # evidence of one utterance, in nats: a single one decides nothing
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Choice:
    """Of one utterance: the place of the speaker's face among its people and the identity's number, None
    where it is not known; `confidence` in that choice, or in the best one that was not good enough."""

    person: int | None
    identity: int | None
    confidence: float


def choose(people: Sequence[Sequence[Person]], speakers: Sequence[str | None]) -> list[Choice]:
    """The speaker's face of every utterance: its people, and its speaker's name where it is known."""
    identities = group(people)
    count = max((i for row in identities for i in row), default=-1) + 1
    if count == 0:
        return [Choice(None, None, 0.0) for _ in people]
    talking = _talking(people, identities, count)
    names = sorted({name for name in speakers if name is not None})
    owned = _owners(talking, [names.index(s) if s is not None else -1 for s in speakers], len(names))
    return [
        _chosen(row, identities[i], owned[names.index(s)] if s is not None else None)
        for i, (row, s) in enumerate(zip(talking, speakers, strict=True))
    ]


# --- who is who ----------------------------------------------------------------------------


def group(people: Sequence[Sequence[Person]], same: float = SAME) -> list[list[int]]:
    """Each person's identity, numbered in order of appearance; in one utterance they all differ.

    Each joins the identity that it is most alike, or begins one; identities whose means turn out to be
    alike are then joined, and everyone is matched with the means once more.
    """
    means: list[FloatArray] = []
    places: list[list[int]] = []
    for row in people:
        places.append(_joined(row, means, same))
    for one in range(len(means)):
        for other in range(len(means) - 1, one, -1):
            alike = float(unit(means[one]) @ unit(means[other])) > same
            if alike and not any(one in row and other in row for row in places):
                means[one] = means[one] + means.pop(other)
                places = [[one if p == other else p - (p > other) for p in row] for row in places]
    fixed = [unit(mean) for mean in means]
    again = [matched(_stack(row), fixed, -np.inf) if row else [] for row in people]
    return _numbered(again)


def _joined(row: Sequence[Person], means: list[FloatArray], same: float) -> list[int]:
    """Places of an utterance's people among the means, which are moved, and added to."""
    if not row:
        return []
    found = matched(_stack(row), [unit(mean) for mean in means], same)
    places = []
    for person, known in zip(row, found, strict=True):
        if known is None:
            means.append(person.identity * person.frames)
        else:
            means[known] = means[known] + person.identity * person.frames
        places.append(len(means) - 1 if known is None else known)
    return places


def _stack(row: Sequence[Person]) -> FloatArray:
    return np.stack([person.identity for person in row])


def _numbered(places: Sequence[Sequence[int | None]]) -> list[list[int]]:
    order = list(dict.fromkeys(p for row in places for p in row))
    return [[order.index(p) for p in row] for row in places]


# --- who talks -----------------------------------------------------------------------------


def _talking(people: Sequence[Sequence[Person]], identities: Sequence[Sequence[int]], count: int) -> Doubles:
    """[n, identities]: the mouths' probability that each person in the picture talks, NaN for who is not.

    A mouth counts by its movement beside the others', half of what is usual for it taken out: a beard,
    a restless head or bad light move all the time.
    """
    moved = np.full((len(people), count), np.nan)
    frames = np.zeros((len(people), 1))
    here = np.zeros((len(people), count), dtype=bool)
    for i, (row, who) in enumerate(zip(people, identities, strict=True)):
        for person, identity in zip(row, who, strict=True):
            here[i, identity] = True
            if person.mouth is not None:
                moved[i, identity] = np.log(person.mouth + STILL)
                frames[i] = max(frames[i, 0], person.frames)
    known = ~np.isnan(moved)
    times = known.sum(0)
    usual = np.where(known, moved, 0).sum(0) / np.maximum(times, 1)
    beyond = np.where(known, moved, usual) - 0.5 * usual * times / (times + 2)
    weight = np.where(here, np.exp(STEEPNESS * frames / (frames + FEW) * beyond), 0)
    total = weight.sum(1, keepdims=True)
    return np.where(here, weight / np.where(total > 0, total, 1), np.nan)


def _owners(talking: Doubles, speakers: Sequence[int], count: int) -> Doubles:
    """Probabilities [speakers, identities] that a face is a speaker's; what a row lacks to 1 is "none".

    Evidence is the logarithm of how much likelier an utterance is if the face is its speaker's.
    """
    here = ~np.isnan(talking)
    usual = (here.sum(0) + 1) / (len(here) + 2)
    absent = np.log((1 - THERE) / (1 - usual))
    present = np.log(np.maximum(THERE / usual, 1.0))
    visible = here.sum(1, keepdims=True)
    mouths = np.log(np.maximum(np.where(here, talking, 1) * np.maximum(visible, 1), 1e-6))
    evidence = np.clip(np.where(here, present + mouths, np.minimum(absent, 0)), -MOST_FROM_ONE, MOST_FROM_ONE)
    sums = np.zeros((count, talking.shape[1] + 1))  # the last column: none
    for i, speaker in enumerate(speakers):
        if speaker >= 0:
            sums[speaker, :-1] += evidence[i]
    return _one_to_one(sums)[:, :-1]


def _one_to_one(evidence: Doubles) -> Doubles:
    """Rows to probabilities, no column but the last summing to more than 1 (after Sinkhorn 1967)."""
    if not len(evidence):
        return evidence
    share = np.exp(evidence - evidence.max(1, keepdims=True))
    for _ in range(ROUNDS):
        share /= share.sum(1, keepdims=True)
        share[:, :-1] /= np.maximum(share[:, :-1].sum(0), 1)
    result: Doubles = share / share.sum(1, keepdims=True)
    return result


def _chosen(talking: Doubles, identities: Sequence[int], owned: Doubles | None) -> Choice:
    """One utterance: what is known of its speaker's face (None: there is no name), and the mouths."""
    count = len(identities)
    if count == 0 or (owned is None and count == 1):
        return Choice(None, None, 0.0)
    mine = np.full(count, THERE / count) if owned is None else owned[list(identities)]
    weight = mine * talking[list(identities)] * count
    elsewhere = max(1 - float(mine.sum()), 0.0)  # the speaker is not in the picture
    share = weight / max(float(weight.sum()) + elsewhere, 1e-12)
    best = int(share.argmax())
    confidence = float(share[best])
    if confidence < SURE:
        return Choice(None, None, confidence)
    return Choice(best, identities[best], confidence)
