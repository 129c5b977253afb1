"""Words and other utterances taken away: numbers by hand, and against the whole model run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, needs

from erc_cli.attribution import log_odds
from erc_cli.explain import Wanted, explain
from erc_cli.explain_words import silenced, without_word
from erc_cli.fakes import FakeExtractor
from erc_cli.learning import Progress
from erc_cli.pipeline import Model, fuse
from erc_cli.types import Conversation, Explanation, Features, Modality, Status, Utterance
from erc_fusion_late.pool import LatePool, PoolHead

TEXT, AUDIO = Modality.TEXT, Modality.AUDIO
LABELS = ("no", "yes")
RATE = 0.1  # log-odds of "yes" for each character


def late(*modalities: Modality) -> LatePool:
    """The first feature times RATE is the log-odds of "yes", for each modality."""
    weight = np.array([[0, 0], [RATE, 0]], np.float32)
    layers = ((weight, np.zeros(2, np.float32)),)
    even = np.full(2, 0.5, np.float32)
    head = PoolHead(np.zeros(2, np.float32), np.ones(2, np.float32), 1e9, (layers,), even)
    return LatePool(dict.fromkeys(modalities, head), even)


def talk(*texts: str) -> Conversation:
    return Conversation(tuple(Utterance(i, i + 1, text, "Anna") for i, text in enumerate(texts)))


def rows(values: Sequence[float], present: Sequence[bool] | None = None) -> Features:
    here = np.array([True] * len(values) if present is None else present)
    table = np.stack([np.array(values, np.float32), np.ones(len(values), np.float32)], axis=1)
    return Features(table, here, tuple(Status.OK if one else Status.NO_TEXT for one in here))


def explained(
    model: Model,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    wanted: Wanted | None = None,
) -> list[Explanation]:
    predictions = fuse(model, conversation, features)
    found = explain(model, conversation, features, predictions, wanted or Wanted())
    assert [replace(one, explanation=None) for one in found] == list(predictions)
    return [one.explanation for one in found if one.explanation is not None]


def changes(why: Explanation) -> dict[str, float]:
    assert why.words is not None
    return {word.text: pytest.approx(word.change, abs=1e-4) for word in why.words}


def around(why: Explanation) -> dict[int, float]:
    return {one.index: round(one.change, 4) for one in why.context}


# --- by hand ---------------------------------------------------------------------------------


def test_words_by_hand() -> None:
    """Log-odds are 0.1 a character: without "ab" of "ab cde" three are gone, without "cde" four."""
    model = Model(LABELS, {TEXT: FakeExtractor(TEXT)}, late(TEXT))
    conversation = talk("ab cde", "x", "")
    features = {TEXT: FakeExtractor(TEXT).gather(conversation, [])}
    first, second, third = explained(model, conversation, features)
    assert changes(first) == {"ab": 0.3, "cde": 0.4}
    assert changes(second) == {"x": 0.1}, "without its only word the text says nothing"
    assert third.words == ()
    assert first.words is not None
    assert [(word.start, word.end) for word in first.words] == [(0, 2), (3, 6)]


def test_other_modalities_stay_as_they_are() -> None:
    """Voice says yes by 2.0: that is in the answer with the word and without it."""
    model = Model(LABELS, {TEXT: FakeExtractor(TEXT), AUDIO: FakeExtractor(AUDIO)}, late(TEXT, AUDIO))
    conversation = talk("ab cde")
    features = {TEXT: FakeExtractor(TEXT).gather(conversation, []), AUDIO: rows([20])}
    (why,) = explained(model, conversation, features)
    assert changes(why) == {"ab": 0.3, "cde": 0.4}
    # against it: voice says no by 2.0, so the answer is "no", and the words speak against that
    (why,) = explained(model, conversation, {**features, AUDIO: rows([-20])})
    assert changes(why) == {"ab": -0.3, "cde": -0.4}


@dataclass(frozen=True)
class Listener:
    """Reads half of the characters before: row i is len(i) + len(i - 1) / 2. Counts what it is asked."""

    reach: tuple[int, int] | None = (1, 0)
    asked: list[int] = field(default_factory=list)
    dim = 2
    head = None
    wish = FakeExtractor(TEXT).wish
    encode = FakeExtractor(TEXT).encode

    def gather(self, conversation: Conversation, _: Any) -> Features:
        lengths = [len(u.text) for u in conversation.utterances]
        self.asked.append(len(lengths))
        before = [0, *lengths[:-1]]
        return rows([a + b / 2 for a, b in zip(lengths, before, strict=True)], [a > 0 for a in lengths])


def test_context_by_hand() -> None:
    extractor = Listener()
    model = Model(LABELS, {TEXT: extractor}, late(TEXT))
    conversation = talk("four", "ab", "abcdef")
    features = {TEXT: extractor.gather(conversation, [])}
    extractor.asked.clear()
    first, second, third = explained(model, conversation, features)
    assert around(first) == {}
    assert around(second) == {0: 0.2}
    assert around(third) == {1: 0.1}
    assert changes(third) == {"abcdef": 0.7}, "the utterance is silent then"
    assert max(extractor.asked) == 2, "no more than what is read"


def test_a_limit_to_the_context_and_to_what_is_explained() -> None:
    extractor = Listener(reach=None)
    model = Model(LABELS, {TEXT: extractor}, late(TEXT))
    conversation = talk("four", "ab", "abcdef", "x")
    features = {TEXT: extractor.gather(conversation, [])}
    predictions = fuse(model, conversation, features)
    found = explain(model, conversation, features, predictions, Wanted([1, 3], words=False, context=1))
    assert [one.explanation is not None for one in found] == [False, True, False, True]
    assert found[1].explanation is not None
    assert around(found[1].explanation) == {0: 0.2, 2: 0.0}
    assert found[1].explanation.words is None
    assert explain(model, conversation, features, predictions, Wanted([], words=True)) == predictions


class Neighbours:
    """A fusion that reads its neighbours: log-odds are the sum of all present rows from `past` before on."""

    def __init__(self, reach: tuple[int, int] | None) -> None:
        self.reach = reach

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> np.ndarray:
        n = len(conversation.utterances)
        past, future = self.reach or (n, n)
        total = np.zeros(n, np.float32)
        for one in features.values():
            values = np.where(one.present, one.values[:, 0], 0)
            for i in range(n):
                total[i] += RATE * values[max(i - past, 0) : i + future + 1].sum()
        p = 1 / (1 + np.exp(-total))
        return np.stack([1 - p, p], axis=1)

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> np.ndarray:
        return self.predict(conversation, {modality: features})


@pytest.mark.parametrize("reads", [None, (1, 0)])
@pytest.mark.parametrize("fuses", [None, (0, 0), (1, 1), (0, 2)])
def test_the_same_as_the_whole_model_run_again(reads: Any, fuses: Any) -> None:
    """However little is computed, the answer is that of everything computed anew."""
    extractor, fusion = Listener(reach=reads), Neighbours(fuses)
    model = Model(LABELS, {TEXT: extractor}, fusion)
    conversation = talk("one two", "a", "", "three four five", "six")
    features = {TEXT: extractor.gather(conversation, []), AUDIO: rows([1, 2, 3, 4, 5])}
    for i, why in enumerate(explained(model, conversation, features)):
        said = conversation.utterances
        for word in why.words or ():
            again = without_word(said[i], (word.start, word.end))
            assert word.change == pytest.approx(brute(model, conversation, features, i, i, again), abs=2e-4)
        reached = {c.index: c.change for c in why.context}
        for k in range(5):
            if k == i:
                continue
            whole = brute(model, conversation, features, i, k, silenced(said[k]))
            assert reached.get(k, 0.0) == pytest.approx(whole, abs=2e-4), (i, k)


def brute(
    model: Model,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    target: int,
    place: int,
    instead: Utterance,
) -> float:
    """The same question, put to the whole model about the whole conversation."""
    before = model.fusion.predict(conversation, features)[target]
    said = list(conversation.utterances)
    said[place] = instead
    changed = Conversation(tuple(said))
    anew = dict(features)
    if TEXT in model.extractors:
        anew[TEXT] = model.extractors[TEXT].gather(changed, [None] * len(said))
    if place != target:
        for modality, one in anew.items():
            present = one.present.copy()
            present[place] = False
            anew[modality] = replace(one, present=present)
    after = model.fusion.predict(changed, anew)[target]
    best = int(before.argmax())
    return float(log_odds(before)[best] - log_odds(after)[best])


def test_without_words_to_read_there_are_none() -> None:
    model = Model(LABELS, {AUDIO: FakeExtractor(AUDIO)}, late(AUDIO))
    (why,) = explained(model, talk("ab cde"), {AUDIO: rows([1])})
    assert why == Explanation((), None)


def test_progress_goes_to_the_end() -> None:
    model = Model(LABELS, {TEXT: FakeExtractor(TEXT)}, late(TEXT))
    conversation = talk(*["ab cde"] * 300)
    features = {TEXT: FakeExtractor(TEXT).gather(conversation, [])}
    predictions = fuse(model, conversation, features)
    steps: list[Progress] = []
    wanted = Wanted(context=0)
    explain(model, conversation, features, predictions, wanted, report=steps.append)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[0].done, steps[-1].done, len(steps) > 3) == (0, 300, True)
    assert {step.total for step in steps} == {300}


# --- the real text branch --------------------------------------------------------------------


def test_rows_of_the_encoder_are_those_of_the_whole_conversation() -> None:
    needs("text", "transformers", "tokenizers")
    model, conversation = text_only()
    extractor: Any = model.extractors[TEXT]
    whole = extractor.gather(conversation, [None] * len(conversation.utterances))
    order = [4, 0, 7, 3, 3]
    some = extractor.gather_rows([(conversation, i) for i in order])
    np.testing.assert_allclose(some.values, whole.values[order], atol=2e-5)
    assert list(some.status) == [whole.status[i] for i in order]
    past, future = extractor.reach
    part = Conversation(conversation.utterances[5 - past : 5 + future + 1])
    np.testing.assert_allclose(extractor.gather_rows([(part, past)]).values[0], whole.values[5], atol=2e-5)


def test_the_encoder_explained_is_the_whole_model_run_again() -> None:
    needs("text", "transformers", "tokenizers")
    model, conversation = text_only()
    features = {TEXT: model.extractors[TEXT].gather(conversation, [None] * 8)}
    predictions = fuse(model, conversation, features)
    found = explain(model, conversation, features, predictions, Wanted([3]))[3].explanation
    assert found is not None
    assert found.words is not None
    said = conversation.utterances
    for word in found.words:
        again = without_word(said[3], (word.start, word.end))
        assert word.change == pytest.approx(brute(model, conversation, features, 3, 3, again), abs=1e-3)
    assert [one.index for one in found.context] == [1, 2, 4]
    for one in found.context:
        whole = brute(model, conversation, features, 3, one.index, silenced(said[one.index]))
        assert one.change == pytest.approx(whole, abs=1e-3)


def text_only() -> tuple[Model, Conversation]:
    from erc_cli.pipeline import load_model
    from erc_cli.preset import find_preset
    from erc_cli.registry import load_registry
    from erc_cli.transcripts import read_transcript

    registry = load_registry()
    script = read_transcript(ROOT / "examples" / "conversation.srt", registry.readers)
    return load_model(find_preset("text-only", registry), registry), Conversation(script.utterances)
