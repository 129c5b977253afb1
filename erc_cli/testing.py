"""For plugin authors: contract checks of an extractor and of a fusion, and fakes that are real plugins.

    from erc_cli.testing import FakePlugin, check_extractor
    check_extractor(MyExtractor(), conversation)

A check raises AssertionError with everything that breaks the contract, not only the first thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.fakes import RATE, FakeExtractor, FakeFusion, FakePlugin
from erc_cli.types import (
    Clip,
    Conversation,
    Encoded,
    Extractor,
    Features,
    Frame,
    Fusion,
    Modality,
    Status,
    Utterance,
    Wish,
)

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

__all__ = [
    "FakeExtractor",
    "FakeFusion",
    "FakePlugin",
    "check_extractor",
    "check_fusion",
    "clip_for",
    "same_features",
    "talk",
]

_TOLERANCE = 1e-5
_NO_MEDIA = Clip(None, Status.NO_AUDIO_TRACK, (), Status.NO_VIDEO)


# --- material ------------------------------------------------------------------------------


def talk(count: int = 4, *, seconds: float = 1.5) -> Conversation:
    """A conversation of two speakers, `count` utterances one after the other."""
    words = ("Where have you been?", "I am so sorry.", "That is wonderful!", "Leave me alone.", "")
    return Conversation(
        tuple(
            Utterance(i * seconds, (i + 1) * seconds, words[i % len(words)], "AB"[i % 2])
            for i in range(count)
        ),
        id="talk",
    )


def clip_for(wish: Wish, *, seed: int = 0) -> Clip:
    """Made-up media that grant a wish: a buzzing tone, and noise pictures at the times wished for."""
    random = np.random.default_rng(seed)
    sound = None
    if wish.sound is not None:
        time = np.arange(int((wish.sound[1] - wish.sound[0]) * RATE)) / RATE
        tone = np.sign(np.sin(2 * np.pi * 150 * time)) * 0.3 + random.normal(0, 0.01, time.size)
        sound = tone.astype(np.float32)
    height, width = wish.longest_side * 3 // 4, wish.longest_side
    frames = [Frame(t, random.integers(0, 256, (height, width, 3), dtype=np.uint8)) for t in wish.frames]
    return Clip(
        sound,
        Status.OK if sound is not None else Status.NO_AUDIO_TRACK,
        tuple(frames),
        Status.OK if frames else Status.NO_VIDEO,
    )


# --- the contract of an extractor ----------------------------------------------------------


def check_extractor(
    extractor: Extractor, conversation: Conversation | None = None, clips: Sequence[Clip] | None = None
) -> Features:
    """Hold an extractor to its contract and return the features of the conversation.

    `clips`: one per utterance, else made up from each utterance's wish. Checked: shapes, float32,
    present exactly where the status is ok, finite values, the same answer twice, an empty
    conversation, rows and media that are missing, arguments left as they were.

    Raises:
        AssertionError: everything that breaks the contract.
    """
    conversation = talk() if conversation is None else conversation
    wishes = [extractor.wish(u) for u in conversation.utterances]
    if clips is None:
        clips = [clip_for(wish, seed=i) for i, wish in enumerate(wishes)]
    wrong: list[str] = list(_check_head(extractor))
    rows: list[Encoded | None] = []
    for i, (wish, clip) in enumerate(zip(wishes, clips, strict=True)):
        asked = wish.sound is not None or bool(wish.frames)
        row, said = _check_encode(extractor, clip) if asked else (None, [])
        rows.append(row)
        wrong += [f"encode, utterance {i}: {w}" for w in said]
    if any(row is not None and not isinstance(row, Encoded) for row in rows):
        _complain("extractor", wrong)  # `gather` could make nothing of them
    features = extractor.gather(conversation, rows)
    wrong += [f"gather: {w}" for w in _check_features(features, len(rows), extractor.dim)]
    if not wrong:
        wrong += _check_gather(extractor, conversation, rows, features)
    _complain("extractor", wrong)
    return features


def _check_head(extractor: Extractor) -> Iterator[str]:
    head, dim = extractor.head, extractor.dim
    if not isinstance(dim, int) or dim < 1:
        yield f"dim is {dim!r}, expected a positive int"
    if head is None:
        return
    classes = len(head.prior)
    shapes = {"weight": (classes, dim), "bias": (classes,), "prior": (classes,)}
    for name, shape in shapes.items():
        yield from (f"head.{name}: {w}" for w in _check_array(getattr(head, name), shape))
    if abs(float(np.sum(head.prior)) - 1) > _TOLERANCE or np.min(head.prior) < 0:
        yield "head.prior is not a distribution"


def _check_encode(extractor: Extractor, clip: Clip) -> tuple[Encoded | None, list[str]]:
    """What `encode` returns for the clip, and what is wrong with it."""
    sound, pictures = _array(clip.sound).copy(), [frame.rgb.copy() for frame in clip.frames]
    row, again, nothing = extractor.encode(clip), extractor.encode(clip), extractor.encode(_NO_MEDIA)
    wrong = [*_check_row(row), *_check_row(nothing)]
    if wrong:
        return row, wrong
    if not _same_row(row, again):
        wrong.append("the same clip gives another answer the second time")
    if nothing.status is Status.OK:
        wrong.append("a clip without sound and pictures has status ok")
    kept = all(np.array_equal(a, f.rgb) for a, f in zip(pictures, clip.frames, strict=True))
    if not kept or not np.array_equal(sound, _array(clip.sound)):
        wrong.append("the clip's arrays were changed")
    return row, wrong


def _check_row(row: object) -> Iterator[str]:
    if not isinstance(row, Encoded):
        yield f"returned {type(row).__name__}, expected Encoded"
    elif (row.values is not None) != (row.status is Status.OK):
        yield f"status {row.status} with {'no ' if row.values is None else ''}values"
    elif row.values is not None:
        # The width is the plugin's own: `gather` makes features of width `dim` of it.
        yield from _check_array(row.values, (np.size(row.values),))


def _check_gather(
    extractor: Extractor, conversation: Conversation, rows: Sequence[Encoded | None], features: Features
) -> Iterator[str]:
    if not same_features(features, extractor.gather(conversation, rows)):
        yield "gather: the same rows give other features the second time"
    empty = extractor.gather(Conversation(()), ())
    yield from (f"gather, empty conversation: {w}" for w in _check_features(empty, 0, extractor.dim))
    for i, row in enumerate(rows):
        if row is None:
            continue
        for gone in (None, Encoded(None, Status.UNREADABLE)):
            holed = extractor.gather(conversation, [*rows[:i], gone, *rows[i + 1 :]])
            yield from (
                f"gather without row {i}: {w}" for w in _check_features(holed, len(rows), extractor.dim)
            )
            if holed.present[i]:
                yield f"gather: row {i} is present although nothing was encoded for it"
            elif gone is not None and holed.status[i] is not gone.status:
                yield f"gather: row {i} has status {holed.status[i]}, encode said {gone.status}"


def _check_features(features: Features, count: int, dim: int) -> Iterator[str]:
    if np.shape(features.values) != (count, dim):
        yield f"values have shape {np.shape(features.values)}, expected {(count, dim)}"
        return
    if features.values.dtype != np.float32:
        yield f"values are {features.values.dtype}, expected float32"
    if features.present.shape != (count,) or features.present.dtype != np.bool_:
        yield f"present is {features.present.dtype} {features.present.shape}, expected bool {(count,)}"
        return
    if [s is Status.OK for s in features.status] != features.present.tolist():
        yield f"present {features.present.tolist()} does not follow status {features.status}"
    if not np.isfinite(features.values[features.present]).all():
        yield "a present row has values that are not finite"


# --- the contract of a fusion --------------------------------------------------------------


def check_fusion(
    fusion: Fusion,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    classes: int,
    *,
    requires: Iterable[Modality] = (),
) -> FloatArray:
    """Hold a fusion to its contract and return the probabilities of all modalities together.

    Checked for every subset of modalities that holds `requires`: shape [n, classes], float32,
    rows that sum to 1, the same answer twice, values of absent rows never read, the prior where
    nothing is present, an empty conversation; and `alone` for each modality.

    Raises:
        AssertionError: everything that breaks the contract.
    """
    wrong: list[str] = []
    count = len(conversation.utterances)
    needed = set(requires)
    subsets = [s for k in range(len(features) + 1) for s in combinations(features, k) if needed <= set(s)]
    for subset in subsets:
        given = {m: features[m] for m in subset}
        name = f"predict({', '.join(subset)})"
        made = fusion.predict(conversation, given)
        wrong += [f"{name}: {w}" for w in _check_probabilities(made, count, classes)]
        if not np.array_equal(made, fusion.predict(conversation, given)):
            wrong.append(f"{name}: another answer the second time")
        spoilt = {m: _spoil(f) for m, f in given.items()}
        if not np.allclose(made, fusion.predict(conversation, spoilt), atol=_TOLERANCE):
            wrong.append(f"{name}: reads the values of absent rows")
    for modality, one in features.items():
        if needed <= {modality}:
            alone = fusion.alone(conversation, modality, one)
            wrong += [f"alone({modality}): {w}" for w in _check_probabilities(alone, count, classes)]
    if not wrong:
        wrong += _check_absence(fusion, conversation, features, classes, needed)
    _complain("fusion", wrong)
    return fusion.predict(conversation, features)


def _check_absence(
    fusion: Fusion,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    classes: int,
    needed: set[Modality],
) -> Iterator[str]:
    none = {m: _slice(f, 0) for m, f in features.items()}
    empty = fusion.predict(Conversation(()), none)
    yield from (f"empty conversation: {w}" for w in _check_probabilities(empty, 0, classes))
    if needed or not conversation.utterances:
        return
    prior = fusion.predict(conversation, {})
    if not np.allclose(prior, prior[:1], atol=_TOLERANCE):
        yield "the prior is not the same in every row"
    gone = {m: _absent(f) for m, f in features.items()}
    if not np.allclose(fusion.predict(conversation, gone), prior, atol=_TOLERANCE):
        yield "where nothing is present the answer is not the prior"


def _check_probabilities(made: FloatArray, count: int, classes: int) -> Iterator[str]:
    problems = list(_check_array(made, (count, classes)))
    yield from problems
    if not problems and count:
        if np.min(made) < 0:
            yield "a probability is negative"
        if np.max(np.abs(made.sum(axis=1, dtype=np.float64) - 1)) > _TOLERANCE:
            yield "rows do not sum to 1"


# --- helpers -------------------------------------------------------------------------------


def same_features(one: Features, other: Features) -> bool:
    """Whether two features agree in presence, status and (within 1e-5) every value that may be read."""
    return (
        one.status == other.status
        and np.array_equal(one.present, other.present)
        and np.allclose(one.values[one.present], other.values[other.present], atol=_TOLERANCE)
    )


def _same_row(one: Encoded, other: Encoded) -> bool:
    if one.values is None or other.values is None:
        return one.values is other.values and one.status is other.status
    return np.array_equal(one.values, other.values)


def _check_array(array: object, shape: tuple[int, ...]) -> Iterator[str]:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        yield f"is {kind}, expected a numpy array of float32"
    elif array.shape != shape:
        yield f"has shape {array.shape}, expected {shape}"
    elif not np.isfinite(array).all():
        yield "has values that are not finite"


def _array(values: FloatArray | None) -> FloatArray:
    return np.zeros(0, np.float32) if values is None else values


def _spoil(features: Features) -> Features:
    values = features.values.copy()
    values[~features.present] = np.nan  # whoever reads it, shows it
    return replace(features, values=values)


def _absent(features: Features) -> Features:
    count = len(features.status)
    return Features(features.values, np.zeros(count, np.bool_), (Status.UNREADABLE,) * count)


def _slice(features: Features, count: int) -> Features:
    return Features(features.values[:count], features.present[:count], features.status[:count])


def _complain(what: str, wrong: Sequence[str]) -> None:
    if wrong:
        raise AssertionError(f"the {what} breaks its contract:\n" + "\n".join(f"- {w}" for w in wrong))
