"""The pipeline with fake plugins whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import ErcError
from erc_cli.fakes import FakeExtractor, FakeFusion
from erc_cli.learning import Progress
from erc_cli.media import probe
from erc_cli.pipeline import Model, extract, fuse
from erc_cli.types import Conversation, Encoded, Features, Modality, Notice, Status, Utterance, Wish

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
LABELS = ("a", "b", "c")
TALK = Conversation(
    (
        Utterance(0.5, 3.5, "one", "ANNA"),
        Utterance(4.0, 6.0, "", "BEN"),
        Utterance(900.0, 901.0, "after the end", "BEN"),
    )
)


class Broken(FakeExtractor):
    """An extractor that fails on its second clip."""

    seen = 0

    def encode(self, clip: object) -> Encoded:
        Broken.seen += 1
        if Broken.seen == 2:
            raise RuntimeError("the plugin fell over")
        return Encoded(np.ones(2, dtype=np.float32))


def all_three() -> dict[Modality, FakeExtractor]:
    return {m: FakeExtractor(m) for m in Modality}


def fusion() -> FakeFusion:
    return FakeFusion(len(LABELS))


def test_one_pass_gives_every_branch_its_rows(root: Path) -> None:
    steps: list[Progress] = []
    media = probe(root / "examples" / "conversation.mp4")
    features = extract(all_three(), TALK, media, report=steps.append)
    assert features[TEXT].status == (Status.OK, Status.NO_TEXT, Status.OK)
    assert features[AUDIO].status == (Status.OK, Status.OK, Status.OUTSIDE_MEDIA)
    assert features[VISUAL].status == (Status.OK, Status.OK, Status.OUTSIDE_MEDIA)
    # the fake audio branch measures how much sound it was given
    first, second = features[AUDIO].values[:2, 0]
    assert first / second == pytest.approx(3.0 / 2.0, rel=0.01)
    done = [step.done for step in steps if step.stage == "media"]
    assert done == sorted(done)
    assert done[-1] == 29


def test_without_a_medium_the_text_goes_on() -> None:
    features = extract(all_three(), TALK, None)
    assert features[TEXT].present.tolist() == [True, False, True]
    assert set(features[AUDIO].status) == {Status.NO_AUDIO_TRACK}
    assert set(features[VISUAL].status) == {Status.NO_VIDEO}


def test_a_branch_that_fails_is_told_and_the_others_go_on(root: Path) -> None:
    Broken.seen = 0
    notices: list[Notice] = []
    extractors = {TEXT: FakeExtractor(TEXT), AUDIO: Broken(AUDIO), VISUAL: FakeExtractor(VISUAL)}
    media = probe(root / "examples" / "conversation.mp4")
    features = extract(extractors, TALK, media, warn=notices.append)
    assert sorted(features[AUDIO].status).count(Status.UNREADABLE) == 1
    lost = features[AUDIO].status.index(Status.UNREADABLE)
    assert features[AUDIO].present[0] or features[AUDIO].present[1]
    assert features[VISUAL].present[:2].all()
    assert [n.code for n in notices] == ["modality_failed"]
    assert "audio failed on 1 of 3 utterances" in notices[0].message
    assert "the plugin fell over" in notices[0].message
    found = fuse(Model(LABELS, extractors, fusion()), TALK, features)
    assert found[lost].opinions[AUDIO].status is Status.UNREADABLE
    assert found[lost].opinions[AUDIO].probabilities == ()


class Lost(FakeExtractor):
    """An extractor that cannot even say what it needs."""

    def wish(self, utterance: Utterance) -> Wish:
        raise ErcError("no weights for this", hint="get them")


def test_a_branch_that_cannot_begin_is_left_out() -> None:
    notices: list[Notice] = []
    features = extract({TEXT: FakeExtractor(TEXT), AUDIO: Lost(AUDIO)}, TALK, None, warn=notices.append)
    assert set(features[AUDIO].status) == {Status.UNREADABLE}
    assert features[TEXT].present.tolist() == [True, False, True]
    assert notices == [Notice("modality_failed", "audio is left out (no weights for this)")]


def test_when_every_branch_fails_there_is_no_answer() -> None:
    with pytest.raises(ErcError, match="Every modality failed"):
        extract({TEXT: Lost(TEXT), AUDIO: Lost(AUDIO)}, TALK, None)


def rows(values: Sequence[float | None]) -> Features:
    array = np.array([[v or 0.0, 1.0] for v in values], dtype=np.float32)
    present = np.array([v is not None for v in values])
    return Features(array, present, tuple(Status.OK if p else Status.SILENT for p in present))


def test_predictions_hold_what_the_contract_says() -> None:
    features = {TEXT: rows([1.0, 0.5, 2.0]), AUDIO: rows([0.2, None, 0.1])}
    model = Model(LABELS, {}, fusion(), dropped=frozenset({VISUAL}))
    predictions = fuse(model, TALK, features)
    for prediction in predictions:
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-9)
        assert prediction.opinions[VISUAL].status is Status.DROPPED
    silent = predictions[1].opinions[AUDIO]
    assert (silent.status, silent.probabilities, silent.contribution) == (Status.SILENT, (), 0.0)
    # contributions sum to the answer's log-odds less the prior's
    for i, prediction in enumerate(predictions):
        prior = fusion().predict(TALK, {})[i, prediction.best]
        expected = np.log(prediction.confidence / (1 - prediction.confidence)) - np.log(prior / (1 - prior))
        total = sum(o.contribution for o in prediction.opinions.values())
        assert total == pytest.approx(expected, abs=1e-4)


def test_dropping_a_modality_is_its_absence() -> None:
    text = rows([1.0, 0.5, 2.0])
    nothing = rows([None, None, None])
    model = Model(LABELS, {}, fusion())
    with_empty = fuse(model, TALK, {TEXT: text, AUDIO: nothing})
    without = fuse(model, TALK, {TEXT: text})
    for a, b in zip(with_empty, without, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities)


def test_a_fusion_s_requirement_is_kept() -> None:
    model = Model(LABELS, {}, fusion(), requires=frozenset({TEXT}))
    with pytest.raises(ErcError, match="needs text"):
        fuse(model, TALK, {AUDIO: rows([1.0, 1.0, 1.0])})


def test_no_utterances_no_predictions() -> None:
    assert fuse(Model(LABELS, {}, fusion()), Conversation(()), {}) == ()
