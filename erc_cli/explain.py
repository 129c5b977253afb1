"""Why an answer is what it is: the words and the other utterances that moved it, by taking each away.

Everything is measured on the whole model as it answers: the features of voice and face stay what they
were, those of the text are computed again, and the fusion answers again. A change is

    log-odds of the predicted label as answered  -  log-odds of the same label without the word

so that what is positive speaks for the label, as a modality's contribution does. A word that is taken
away is gone from the text (occlusion: Zeiler and Fergus 2014; for words Li, Monroe and Jurafsky 2016).
An utterance that is taken away has neither words nor a name for the text branch, and none of its rows is
present for the fusion; the others keep their places.

How far a text extractor or a fusion reads is its own statement, `reach`: see `explain_again`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from erc_cli.attribution import log_odds
from erc_cli.explain_again import Again, Change
from erc_cli.explain_words import silenced, without_word, words_of
from erc_cli.learning import Progress, Report
from erc_cli.types import (
    ContextChange,
    Conversation,
    Explanation,
    Features,
    Modality,
    Prediction,
    WordChange,
)

if TYPE_CHECKING:
    from erc_cli.pipeline import Model
    from erc_cli.types import FloatArray

MOST_CONTEXT = 10
AT_ONCE = 256  # changes whose texts are encoded together


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to explain: `utterances` by place (None: all); `context`: so many before and after, at most."""

    utterances: Sequence[int] | None = None
    words: bool = True
    context: int = MOST_CONTEXT


def explain(
    model: Model,
    conversation: Conversation,
    features: Mapping[Modality, Features],
    predictions: Sequence[Prediction],
    wanted: Wanted,
    *,
    report: Report = lambda progress: None,
) -> tuple[Prediction, ...]:
    """The predictions, with an explanation where it is wanted.

    `features` and `predictions` are of the whole conversation, as `pipeline.extract` and `fuse` gave them.

    Raises:
        ErcError: the text extractor or the fusion refuses to answer again.
    """
    asked = range(len(predictions)) if wanted.utterances is None else wanted.utterances
    again = Again(model, conversation, features)
    rows = {i: _Row(predictions[i]) for i in asked}
    order = {i: done for done, i in enumerate(rows, 1)}
    report(Progress("explain", 0, len(rows), "utterances"))
    changes = (change for i in rows for change in _changes(again, i, wanted))
    while chunk := list(islice(changes, AT_ONCE)):
        for change, said in zip(chunk, again.answers(chunk), strict=True):
            rows[change.target].add(change, said)
        report(Progress("explain", order[chunk[-1].target] - 1, len(rows), "utterances"))
    report(Progress("explain", len(rows), len(rows), ""))
    words = wanted.words and again.reads_words
    texts = [utterance.text for utterance in conversation.utterances]
    return tuple(
        replace(found, explanation=rows[i].explanation(texts[i], words=words)) if i in rows else found
        for i, found in enumerate(predictions)
    )


def _changes(again: Again, target: int, wanted: Wanted) -> Iterator[Change]:
    """All that is tried for one utterance: its words, then the utterances around it."""
    said = again.conversation.utterances
    if wanted.words and again.has_words(target):
        for word in words_of(said[target].text):
            yield Change(target, target, without_word(said[target], word), word)
    for place in again.context_of(target, wanted.context):
        yield Change(target, place, silenced(said[place]))


class _Row:
    """What was found for one utterance so far."""

    def __init__(self, answered: Prediction) -> None:
        self._best = answered.best
        self._before = self._odds(np.array(answered.probabilities, dtype=np.float32))
        self._context: list[ContextChange] = []
        self._words: list[tuple[tuple[int, int], float]] = []

    def _odds(self, said: FloatArray) -> float:
        return float(log_odds(said[self._best : self._best + 1])[0])

    def add(self, change: Change, said: FloatArray) -> None:
        """`said` [classes]: the answer after the change."""
        moved = round(self._before - self._odds(said), 6) + 0.0  # no -0.0
        if change.word is None:
            self._context.append(ContextChange(change.place, moved))
        else:
            self._words.append((change.word, moved))

    def explanation(self, text: str, *, words: bool) -> Explanation:
        """What was found; `text` is what the words are of."""
        if not words:
            return Explanation(tuple(self._context))
        said = (WordChange(text[start:end], start, end, moved) for (start, end), moved in self._words)
        return Explanation(tuple(self._context), tuple(said))
