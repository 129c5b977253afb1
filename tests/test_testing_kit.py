"""The kit for plugin authors: it passes what is right, and finds every kind of breach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from erc_cli.preset import Use, build_extractor, build_fusion
from erc_cli.registry import Registry
from erc_cli.testing import (
    FakeExtractor,
    FakeFusion,
    FakePlugin,
    check_extractor,
    check_fusion,
    clip_for,
    same_features,
    talk,
)
from erc_cli.types import Clip, Conversation, Encoded, Features, Head, Modality, Status, Wish

LABELS = ("calm", "loud", "glad")


def _features(values: Sequence[float | None]) -> Features:
    rows = np.array([[0 if v is None else v, 1] for v in values], np.float32).reshape(-1, 2)
    present = np.array([v is not None for v in values], np.bool_)
    return Features(rows, present, tuple(Status.NO_FACE if v is None else Status.OK for v in values))


def test_fakes_are_real_plugins_and_keep_the_contract() -> None:
    registry = Registry.of(FakePlugin())
    made = {}
    for modality in Modality:
        extractor = build_extractor(Use(f"fake-{modality}", {"scale": 2}), registry, device="cpu")
        made[modality] = check_extractor(extractor, talk(5))
    assert made[Modality.TEXT].values[:4, 0].tolist() == [40, 28, 36, 30]
    assert made[Modality.TEXT].status[4] is Status.NO_TEXT
    assert made[Modality.AUDIO].values[:, 0].tolist() == [3.0] * 5
    assert made[Modality.VISUAL].values[:, 0].tolist() == [2.0] * 5
    fusion = build_fusion(Use("fake-mean"), registry, labels=LABELS)
    assert check_fusion(fusion, talk(5), made, 3).shape == (5, 3)


def test_fake_fusion_by_hand() -> None:
    made = {Modality.TEXT: _features([1, None, None]), Modality.AUDIO: _features([2, 1, None])}
    said = check_fusion(FakeFusion(3), talk(3), made, 3)
    expected = [[0.05, 0.475, 0.475], [0.05, 0.9, 0.05], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(said, expected, atol=1e-6)


def test_clips_grant_the_wish() -> None:
    clip = clip_for(Wish(sound=(1.0, 1.5), frames=(1.0, 1.2), longest_side=40))
    assert clip.sound is not None
    assert clip.sound.shape == (8000,)
    assert clip.sound.dtype == np.float32
    assert [frame.time for frame in clip.frames] == [1.0, 1.2]
    assert clip.frames[0].rgb.shape == (30, 40, 3)
    assert clip_for(Wish()).sound_status is Status.NO_AUDIO_TRACK


# --- extractors that break the contract ----------------------------------------------------


class _Breaking:
    """A fake audio extractor in which single methods are replaced."""

    def __init__(self, **changes: Any) -> None:
        self.inner = FakeExtractor(Modality.AUDIO)
        self.changes = changes

    def __getattr__(self, name: str) -> Any:
        return self.changes.get(name) or getattr(self.inner, name)


class _Counter:
    """Encodes another value each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, clip: Clip) -> Encoded:
        self.calls += 1
        if clip.sound is None:
            return Encoded(None, Status.NO_AUDIO_TRACK)
        return Encoded(np.array([self.calls, 1], np.float32))


def _scribble(clip: Clip) -> Encoded:
    if clip.sound is None:
        return Encoded(None, Status.NO_AUDIO_TRACK)
    clip.sound[:] = 0
    return Encoded(np.ones(2, np.float32))


def _gather(**changes: Any) -> Any:
    def gather(conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        features = FakeExtractor(Modality.AUDIO).gather(conversation, rows)
        return replace(features, **{name: change(features) for name, change in changes.items()})

    return gather


def _fills_holes(conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
    count = len(rows)
    return Features(np.zeros((count, 2), np.float32), np.ones(count, np.bool_), (Status.OK,) * count)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encode": lambda clip: Encoded(np.ones(2))}, "is float64, expected a numpy array of float32"),
        ({"encode": lambda clip: Encoded(np.full(2, np.nan, np.float32))}, "values that are not finite"),
        ({"encode": lambda clip: Encoded(None)}, "status ok with no values"),
        ({"encode": lambda clip: None}, "returned NoneType, expected Encoded"),
        (
            {"encode": lambda clip: Encoded(np.ones(2, np.float32))},
            "without sound and pictures has status ok",
        ),
        ({"encode": _Counter()}, "another answer the second time"),
        ({"encode": _scribble}, "the clip's arrays were changed"),
        ({"dim": 3}, "values have shape (4, 2), expected (4, 3)"),
        ({"gather": _gather(values=lambda f: f.values.astype(np.float64))}, "float64, expected float32"),
        ({"gather": _gather(present=lambda f: ~f.present)}, "does not follow status"),
        ({"gather": _gather(present=lambda f: f.present.astype(np.int8))}, "present is int8"),
        ({"gather": _gather(values=lambda f: f.values * np.float32(np.inf))}, "not finite"),
        ({"gather": _fills_holes}, "is present although nothing was encoded"),
        (
            {"head": Head(np.ones((3, 2), np.float32), np.ones(3, np.float32), np.ones(3, np.float32))},
            "head.prior is not a distribution",
        ),
        (
            {"head": Head(np.ones((3, 4), np.float32), np.ones(3, np.float32), np.ones(3, np.float32) / 3)},
            "head.weight: has shape (3, 4), expected (3, 2)",
        ),
    ],
)
def test_breaches_of_extractors_are_found(changes: dict[str, Any], said: str) -> None:
    breaking: Any = _Breaking(**changes)
    with pytest.raises(AssertionError) as caught:
        check_extractor(breaking)
    assert said in str(caught.value)


# --- fusions that break the contract -------------------------------------------------------


@dataclass(frozen=True)
class _Fusion:
    """The fake fusion, its answer changed."""

    change: Any

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> Any:
        return self.change(FakeFusion(3).predict(conversation, features), features)

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> Any:
        return FakeFusion(3).alone(conversation, modality, features)


def _reads_absent(made: Any, features: Mapping[Modality, Features]) -> Any:
    shift = sum(float(np.abs(f.values).sum()) for f in features.values())
    return np.roll(made, 1, axis=1) if np.isnan(shift) else made


def _needs_text(made: Any, features: Mapping[Modality, Features]) -> Any:
    if Modality.TEXT not in features:
        raise RuntimeError("no text")
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made, _: made * 2, "rows do not sum to 1"),
        (lambda made, _: made.astype(np.float64), "is float64"),
        (lambda made, _: made[:, :2], "has shape (3, 2), expected (3, 3)"),
        (lambda made, _: made + np.array([2, -2, 0], np.float32), "a probability is negative"),
        (_reads_absent, "reads the values of absent rows"),
        (
            lambda made, f: np.roll(made, 1, axis=1) if not f else made,
            "where nothing is present the answer is not the prior",
        ),
    ],
)
def test_breaches_of_fusions_are_found(change: Any, said: str) -> None:
    uneven = [0.2, 0.3, 0.5]

    def changed(made: Any, features: Mapping[Modality, Features]) -> Any:
        made = np.where(np.isclose(made, 1 / 3, atol=1e-6), np.array(uneven, np.float32), made)
        return change(made, features)

    made = {Modality.TEXT: _features([1, None, 0]), Modality.VISUAL: _features([None, None, 2])}
    check_fusion(_Fusion(lambda answer, _: answer), talk(3), made, 3)
    with pytest.raises(AssertionError) as caught:
        check_fusion(_Fusion(changed), talk(3), made, 3)
    assert said in str(caught.value)


def test_subsets_without_what_a_fusion_requires_are_left_out() -> None:
    made = {Modality.TEXT: _features([1, 0]), Modality.AUDIO: _features([2, None])}
    with pytest.raises(RuntimeError, match="no text"):
        check_fusion(_Fusion(_needs_text), talk(2), made, 3)
    check_fusion(_Fusion(_needs_text), talk(2), made, 3, requires=[Modality.TEXT])


def test_same_features_reads_present_rows_only() -> None:
    one = _features([1, None])
    other = replace(one, values=one.values + np.array([[0, 0], [9, 9]], np.float32))
    assert same_features(one, other)
    assert not same_features(one, _features([2, None]))
    assert not same_features(one, _features([1, 1]))
