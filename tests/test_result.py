"""The document `erc.result/1`: order and kind of its keys, sums, and the schema in docs/."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from erc_cli.result import NOTICE, speaker_summary, to_dict, utterance_dicts
from erc_cli.types import (
    MediaInfo,
    Modality,
    Notice,
    Opinion,
    Prediction,
    Result,
    Status,
    Transcript,
    Utterance,
)

LABELS = ("neutral", "joy", "anger")
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "result.schema.json").read_text(encoding="utf-8"))


def result() -> Result:
    """Three utterances, two speakers and nobody; a face in the first only."""
    said = (
        Utterance(0.48, 2.1, "There's nothing to tell!", "Monica"),
        Utterance(2.5, 3.0, "C'mon.", "Joey"),
        Utterance(3.0, 4.25, "Well…", "Monica"),
    )
    sure = (0.2, 0.19, 0.61000005)
    face = Opinion(Status.OK, (0.5, 0.25, 0.25), -0.125)
    absent = Opinion(Status.NO_FACE, contribution=0.7)
    found = tuple(
        Prediction(p, {Modality.VISUAL: visual, Modality.TEXT: Opinion(Status.OK, p, 0.25)})
        for p, visual in ((sure, face), ((0.9, 0.05, 0.05), absent), ((0.1, 0.1, 0.8), absent))
    )
    media = MediaInfo(Path("video.mp4"), "ab" * 32, 61.2, video=True, audio=True)
    warnings = (Notice("cue_overlap", "Cues overlap.", 12), Notice("no_audio_track", "No sound."))
    meta = {
        "erc": "0.1.0",
        "preset": "default",
        "plugins": {"text": "minilm 0.1.0"},
        "device": "cpu",
        "seed": 0,
    }
    return Result(LABELS, said, found, media, Transcript(said, "srt", path=Path("t.srt")), warnings, meta)


def check(document: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(document)


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_document_fulfils_the_schema_and_survives_json() -> None:
    document = to_dict(result())
    check(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_keys_stand_in_the_order_of_the_contract() -> None:
    document = to_dict(result())
    assert list(document) == [
        "schema",
        "labels",
        "media",
        "transcript",
        "utterances",
        "speakers",
        "warnings",
        "meta",
    ]
    first = document["utterances"][0]
    assert " ".join(first) == "index start end speaker text label confidence probabilities modalities"
    assert list(first["modalities"]) == ["text", "visual"]
    assert list(first["probabilities"]) == list(LABELS)
    assert document["media"] == {
        "path": "video.mp4",
        "sha256": "ab" * 32,
        "duration": 61.2,
        "video": True,
        "audio": True,
    }
    assert document["transcript"] == {"path": "t.srt", "format": "srt"}
    assert document["warnings"][1] == {"code": "no_audio_track", "message": "No sound.", "line": None}
    assert document["meta"]["notice"] == NOTICE


def test_probabilities_sum_to_one_and_are_not_rounded() -> None:
    for row in utterance_dicts(result()):
        assert math.fsum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
        assert row["confidence"] == row["probabilities"][row["label"]]
        assert all(type(value) is float for value in row["probabilities"].values())
    assert utterance_dicts(result())[0]["confidence"] == pytest.approx(0.61000005 / 1.00000005, abs=1e-12)


def test_float32_probabilities_sum_to_one() -> None:
    import numpy as np

    values = tuple(np.float32([1 / 3, 1 / 3, 1 / 3]))
    odd = replace(result(), utterances=result().utterances[:1], predictions=(Prediction(values, {}),))
    row = to_dict(odd)["utterances"][0]
    assert type(row["confidence"]) is float
    assert math.fsum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    json.dumps(row)


def test_without_ok_there_is_no_label_and_the_contribution_is_zero() -> None:
    rows = utterance_dicts(result())
    assert rows[1]["modalities"]["visual"] == {"status": "no_face", "contribution": 0.0}
    assert rows[0]["modalities"]["visual"] == {
        "status": "ok",
        "label": "neutral",
        "probabilities": {"neutral": 0.5, "joy": 0.25, "anger": 0.25},
        "contribution": -0.125,
    }


def test_speakers_are_summed_in_order_of_appearance() -> None:
    assert speaker_summary(result()) == [
        {"name": "Monica", "utterances": 2, "seconds": 2.87, "labels": {"anger": 2}},
        {"name": "Joey", "utterances": 1, "seconds": 0.5, "labels": {"neutral": 1}},
    ]


def test_nobody_known_is_summed_under_none() -> None:
    said = tuple(replace(u, speaker=None) for u in result().utterances)
    document = to_dict(replace(result(), utterances=said))
    assert document["speakers"] == [
        {"name": None, "utterances": 3, "seconds": 3.37, "labels": {"neutral": 1, "anger": 2}}
    ]
    check(document)


def test_without_media_and_without_a_file() -> None:
    bare = replace(result(), media=None, transcript=Transcript((), "json"))
    document = to_dict(bare)
    assert document["media"] is None
    assert document["transcript"]["path"] is None
    check(document)


def test_a_file_name_that_is_no_utf8_can_still_be_written() -> None:
    path = Path(os.fsdecode(b"caf\xe9.srt"))
    document = to_dict(replace(result(), transcript=Transcript((), "srt", path=path)))
    assert document["transcript"]["path"] == "caf\ufffd.srt"
    json.dumps(document, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (0.5, 0.5), (1.2, -0.1, -0.1), (math.nan, 0.5, 0.5)])
def test_what_is_no_distribution_is_a_defect(values: tuple[float, ...]) -> None:
    odd = replace(result(), predictions=(Prediction(values, {}),) * 3)
    with pytest.raises(ValueError, match="not a distribution"):
        utterance_dicts(odd)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "erc.result/2"),
        (("utterances", 0, "modalities", "visual", "status"), "asleep"),
        (("utterances", 1, "modalities", "visual", "label"), "joy"),
        (("utterances", 1, "modalities", "visual", "contribution"), 0.5),
        (("utterances", 0, "probabilities", "joy"), 1.5),
        (("utterances", 0, "start"), "0.5"),
        (("warnings", 0, "line"), 0),
    ],
)
def test_schema_refuses(path: tuple[Any, ...], value: Any) -> None:
    document = to_dict(result())
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        check(document)


def test_schema_allows_added_keys() -> None:
    document = to_dict(result())
    document["utterances"][0]["arousal"] = 0.3
    document["later"] = {"more": 1}
    check(document)
