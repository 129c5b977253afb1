"""`erc evaluate`: the figures of a trained preset on one split, with intervals over dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.attribution import coalitions
from erc_cli.dataset import features_of, take
from erc_cli.metrics import bootstrap, confusion, report, scores
from erc_cli.pipeline import Model
from erc_cli.training import describe
from erc_cli.types import Conversation, Labelled, Modality, Report, Split, Utterance

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray


def evaluate(model: Model, names: Mapping[Modality, str], split: Split, progress: Report) -> dict[str, Any]:
    """One evaluation document (`erc.evaluation/1`) without its name of data and versions.

    Systems are every subset of the modalities that the split has; a single modality speaks with
    its own calibrated head. `differences` are paired: both systems on the same resamples.
    """
    extractors = {m: (names[m], e) for m, e in model.extractors.items()}
    data = features_of(split, extractors, progress)
    if data is None:
        return {"data": {"split": split.name, **describe(split)}, "systems": {}}
    answers = _answers(model, data)
    systems = {name: _system(p, data, model.labels) for name, p in answers.items()}
    return {
        "data": {"split": split.name, **describe(split)},
        "systems": systems,
        "differences": _differences(answers, data),
    }


def _answers(model: Model, data: Labelled) -> dict[str, FloatArray]:
    """Probabilities [n, classes] of every subset, dialogue by dialogue."""
    starts = np.flatnonzero(np.diff(data.dialogues)) + 1
    dialogues = np.split(np.arange(len(data.targets)), starts)
    answers: dict[str, FloatArray] = {}
    for coalition in coalitions(frozenset(data.features)):
        chosen = [m for m in Modality if m in coalition]
        if chosen and (len(chosen) == 1 or model.requires <= coalition):
            rows = [_answer(model, data, chosen, dialogue) for dialogue in dialogues]
            answers["+".join(chosen)] = np.concatenate(rows)
    return answers


def _answer(model: Model, data: Labelled, chosen: list[Modality], rows: IntArray) -> FloatArray:
    conversation = Conversation((Utterance(0, 0, ""),) * len(rows))
    features = {m: take(data.features[m], rows) for m in chosen}
    if len(chosen) == 1:
        return model.fusion.alone(conversation, chosen[0], features[chosen[0]])
    return model.fusion.predict(conversation, features)


def _scores(predicted: IntArray, targets: IntArray, classes: int, rows: IntArray) -> dict[str, float]:
    return scores(confusion(targets[rows], predicted[rows], classes))


def _system(probabilities: FloatArray, data: Labelled, labels: tuple[str, ...]) -> dict[str, Any]:
    result = report(probabilities, data.targets, labels)
    figures = partial(_scores, probabilities.argmax(axis=1), data.targets, len(labels))
    for name, (low, high) in bootstrap(figures, data.dialogues).items():
        result[name] = {"mean": result[name], "std": None, "ci95": [round(low, 2), round(high, 2)]}
    return result


def _differences(answers: Mapping[str, FloatArray], data: Labelled) -> dict[str, Any]:
    """Weighted F1 of the fusion of all modalities less that of each modality alone."""
    everything = "+".join(m for m in Modality if m in data.features)
    if everything not in answers or len(data.features) < 2:
        return {}
    predicted = {name: p.argmax(axis=1) for name, p in answers.items()}
    classes = answers[everything].shape[1]

    def gains(rows: IntArray) -> dict[str, float]:
        f1 = {n: _scores(p, data.targets, classes, rows)["weighted_f1"] for n, p in predicted.items()}
        return {f"{everything} - {m}": f1[everything] - f1[m] for m in data.features}

    found = gains(np.arange(len(data.targets)))
    intervals = bootstrap(gains, data.dialogues)
    return {
        name: {"weighted_f1": round(gain, 2), "ci95": [round(x, 2) for x in intervals[name]]}
        for name, gain in found.items()
    }
