"""A `Result` as the document `erc.result/1` (docs/result.schema.json), which writers and `--json` share."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from erc_cli.types import (
    Explanation,
    MediaInfo,
    Modality,
    Opinion,
    Prediction,
    Result,
    Status,
    Utterance,
)

SCHEMA = "erc.result/1"
LEAST = "min_confidence"  # its key in `meta`
_MODALITIES = tuple((modality, modality.value) for modality in Modality)
_STATUSES = {status: status.value for status in Status}

NOTICE = (
    "The emotion that each utterance expresses, as annotators would label it; not what a person feels. "
    "Inferring emotions from face or voice at work and in education is prohibited in the European Union; "
    "elsewhere people exposed to such a system must be told."
)
"""For `meta.notice`: what the answer means, and the law on emotion recognition."""


def to_dict(result: Result) -> dict[str, Any]:
    """The whole document, ready for JSON: keys in the order of the interface contract.

    Raises:
        ValueError: probabilities that are no distribution (a defect of the fusion).
    """
    return {
        "schema": SCHEMA,
        "labels": list(result.labels),
        "media": _media(result.media),
        "transcript": {"path": _path(result.transcript.path), "format": result.transcript.format},
        "utterances": utterance_dicts(result),
        "speakers": speaker_summary(result),
        "warnings": [
            {"code": notice.code, "message": notice.message, "line": notice.line}
            for notice in result.warnings
        ],
        "meta": _meta(result),
    }


def _meta(result: Result) -> dict[str, Any]:
    """What is known of the making, and from where on an answer has a label."""
    least = {LEAST: result.min_confidence} if result.min_confidence else {}
    made = {key: value for key, value in result.meta.items() if key != LEAST}
    return {**made, **least, "notice": made.get("notice", NOTICE)}


def utterance_dicts(result: Result) -> list[dict[str, Any]]:
    """One element per utterance; probabilities as Python floats that sum to 1.

    Raises:
        ValueError: probabilities that are no distribution (a defect of the fusion).
    """
    return list(each_utterance(result))


def each_utterance(result: Result) -> Iterator[dict[str, Any]]:
    """The elements of `utterance_dicts`, one after another: a long result is never held twice."""
    pairs = zip(result.utterances, result.predictions, strict=True)
    least = result.min_confidence
    return (utterance_dict(i, said, found, result.labels, least) for i, (said, found) in enumerate(pairs))


def speaker_summary(result: Result) -> list[dict[str, Any]]:
    """Each speaker's utterances, seconds and labels, in order of appearance.

    Utterances of nobody known are summed under the name None. Labels that a speaker never
    expressed are left out; the others are in the order of `result.shown_labels`.
    """
    names = dict.fromkeys(utterance.speaker for utterance in result.utterances)
    return [_speaker(result, name) for name in names]


def _speaker(result: Result, name: str | None) -> dict[str, Any]:
    rows = [i for i, utterance in enumerate(result.utterances) if utterance.speaker == name]
    said = [result.label(result.predictions[i]) for i in rows]
    seconds = math.fsum(result.utterances[i].end - result.utterances[i].start for i in rows)
    counts = {label: said.count(label) for label in result.shown_labels if label in said}
    return {"name": name, "utterances": len(rows), "seconds": round(seconds, 3), "labels": counts}


def utterance_dict(
    index: int, said: Utterance, found: Prediction, labels: Sequence[str], least: float = 0.0
) -> dict[str, Any]:
    """One element of `utterances`: number `index`, what was said, and the answer.

    `least`: the result's `min_confidence`. Of what is uncertain, `most_probable` names the best label.
    """
    probabilities = _distribution(found.probabilities, labels)
    best = labels[found.best]
    return {
        "index": index,
        "start": float(said.start),
        "end": float(said.end),
        "speaker": said.speaker,
        "text": said.text,
        "label": found.label(labels, least),
        "confidence": probabilities[best],
        **({"most_probable": best} if found.below(least) else {}),
        "probabilities": probabilities,
        "modalities": {
            name: _opinion(found.opinions[modality], labels)
            for modality, name in _MODALITIES
            if modality in found.opinions
        },
        **({"explanation": _explanation(found.explanation)} if found.explanation else {}),
    }


def _explanation(found: Explanation) -> dict[str, Any]:
    """What `erc explain` found; without `words` where they were not looked at."""
    context = [{"index": one.index, "change": one.change} for one in found.context]
    if found.words is None:
        return {"context": context}
    words = [
        {"text": one.text, "start": one.start, "end": one.end, "change": one.change} for one in found.words
    ]
    return {"context": context, "words": words, "method": found.method}


def _opinion(opinion: Opinion, labels: Sequence[str]) -> dict[str, Any]:
    """One modality; without status `ok` it has no label, no probabilities and contributes 0."""
    if opinion.status is Status.OK:
        probabilities = _distribution(opinion.probabilities, labels)
        told: dict[str, Any] = {
            "status": "ok",
            "label": max(probabilities, key=probabilities.__getitem__),
            "probabilities": probabilities,
            "contribution": float(opinion.contribution),
        }
    else:
        told = {"status": _STATUSES[opinion.status], "contribution": 0.0}
    if opinion.detail:
        told["detail"] = dict(opinion.detail)
    return told


def _distribution(values: Sequence[float], labels: Sequence[str]) -> dict[str, float]:
    """Probabilities by label. float32 sums to 1 only within about 1e-7 per class, so divide again."""
    floats = list(map(float, values))
    total = math.fsum(floats)
    if len(floats) != len(labels) or not 0 < total < math.inf or min(floats) < 0:
        raise ValueError(f"not a distribution over {len(labels)} labels: {floats}")
    return dict(zip(labels, [value / total for value in floats], strict=True))


def _media(media: MediaInfo | None) -> dict[str, Any] | None:
    if media is None:
        return None
    return {
        "path": _path(media.path),
        "sha256": media.sha256,
        "duration": float(media.duration),
        "video": media.video,
        "audio": media.audio,
    }


def _path(path: Path | None) -> str | None:
    """The path as text that can be written as UTF-8, whatever bytes the file's name has."""
    return None if path is None else os.fsencode(path).decode("utf-8", errors="replace")
