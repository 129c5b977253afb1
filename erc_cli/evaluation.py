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

FIGURES = ("accuracy", "weighted_f1", "macro_f1")


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


def _figure(predicted: IntArray, targets: IntArray, classes: int, name: str, rows: IntArray) -> float:
    return scores(confusion(targets[rows], predicted[rows], classes))[name]


def _system(probabilities: FloatArray, data: Labelled, labels: tuple[str, ...]) -> dict[str, Any]:
    result = report(probabilities, data.targets, labels)
    predicted = probabilities.argmax(axis=1)
    figures = {name: partial(_figure, predicted, data.targets, len(labels), name) for name in FIGURES}
    for name, (low, high) in bootstrap(figures, data.dialogues).items():
        result[name] = {"mean": result[name], "std": None, "ci95": [round(low, 2), round(high, 2)]}
    return result


def _differences(answers: Mapping[str, FloatArray], data: Labelled) -> dict[str, Any]:
    """Weighted F1 of the fusion of all modalities less that of each modality alone."""
    everything = "+".join(m for m in Modality if m in data.features)
    if everything not in answers or len(data.features) < 2:
        return {}
    whole = answers[everything].argmax(axis=1)
    found = {}
    for modality in data.features:
        part = answers[str(modality)].argmax(axis=1)
        figure = partial(_difference, whole, part, data.targets, answers[everything].shape[1])
        low, high = bootstrap({"d": figure}, data.dialogues)["d"]
        found[f"{everything} - {modality}"] = {
            "weighted_f1": round(figure(np.arange(len(whole))), 2),
            "ci95": [round(low, 2), round(high, 2)],
        }
    return found


def _difference(whole: IntArray, part: IntArray, targets: IntArray, classes: int, rows: IntArray) -> float:
    first = _figure(whole, targets, classes, "weighted_f1", rows)
    return first - _figure(part, targets, classes, "weighted_f1", rows)
