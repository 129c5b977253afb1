"""`erc evaluate`: the figures of a trained preset on one split, with intervals over dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.attribution import coalitions
from erc_cli.dataset import features_of, take
from erc_cli.errors import UsageError
from erc_cli.metrics import bootstrap, confusion, report, scores
from erc_cli.pipeline import Model
from erc_cli.training import describe
from erc_cli.types import Conversation, Labelled, Modality, Report, Split, Utterance

if TYPE_CHECKING:
    from erc_cli.types import FloatArray, IntArray


def evaluate(model: Model, names: Mapping[Modality, str], split: Split, progress: Report) -> dict[str, Any]:
    """One evaluation document (`erc.evaluation/1`) without its name of data and versions.

    Systems are what `erc predict` answers from every subset of the modalities that the split has,
    and what each modality says by itself (`… (own head)`); for pictures, only the latter.
    `differences` are paired: both systems on the same resamples.

    Raises:
        UsageError: the split has nothing for any of the model's modalities.
    """
    extractors = {m: (names[m], e) for m, e in model.extractors.items()}
    data = features_of(split, extractors, progress)
    if data is None or not len(data.targets):
        raise UsageError(
            f"The {split.name} split has nothing to score {', '.join(model.extractors)} on.",
            hint="Name another data set, or a preset with a branch that it has something for.",
        )
    answers = _answers(model, data, paired=split.pictures is None)
    systems = {name: _system(p, data, model.labels) for name, p in answers.items()}
    return {
        "data": {"split": split.name, **describe(split)},
        "systems": systems,
        "differences": _differences(answers, data),
    }


def _answers(model: Model, data: Labelled, *, paired: bool) -> dict[str, FloatArray]:
    """Probabilities [n, classes] of every system, dialogue by dialogue."""
    starts = np.flatnonzero(np.diff(data.dialogues)) + 1
    dialogues = np.split(np.arange(len(data.targets)), starts)
    talks = [Conversation((Utterance(0, 0, ""),) * len(rows)) for rows in dialogues]
    parts = [{m: take(f, rows) for m, f in data.features.items()} for rows in dialogues]
    answers: dict[str, FloatArray] = {}
    for coalition in coalitions(frozenset(data.features)) if paired else ():
        chosen = [m for m in Modality if m in coalition]
        if chosen and model.requires <= coalition:
            said = [
                model.fusion.predict(talk, {m: part[m] for m in chosen})
                for talk, part in zip(talks, parts, strict=True)
            ]
            answers["+".join(chosen)] = np.concatenate(said)
    for modality in data.features:
        said = [
            model.fusion.alone(talk, modality, part[modality])
            for talk, part in zip(talks, parts, strict=True)
        ]
        answers[f"{modality} (own head)"] = np.concatenate(said)
    return answers


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
    parts = [f"{m}{kind}" for m in data.features for kind in ("", " (own head)")]
    others = [name for name in parts if name in answers]
    predicted = {name: answers[name].argmax(axis=1) for name in (everything, *others)}
    classes = answers[everything].shape[1]

    def gains(rows: IntArray) -> dict[str, float]:
        f1 = {n: _scores(p, data.targets, classes, rows)["weighted_f1"] for n, p in predicted.items()}
        return {f"{everything} - {name}": f1[everything] - f1[name] for name in others}

    found = gains(np.arange(len(data.targets)))
    intervals = bootstrap(gains, data.dialogues)
    return {
        name: {"weighted_f1": round(gain, 2), "ci95": [round(x, 2) for x in intervals[name]]}
        for name, gain in found.items()
    }
