"""JSON of transcribers and of YouTube as transcripts, and how our own document is laid out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from formatkit import DATA, SAID, codes, read, result, saved, turns, written

from erc_cli.errors import UsageError
from erc_cli.result import to_dict


def test_words_with_speakers_part_a_segment() -> None:
    assert turns(read(DATA / "words.json")) == [
        (1.0, 2.0, "SPEAKER_00", "Nothing to tell."),
        (2.5, 4.0, "SPEAKER_01", "Come on!"),
        (5.0, 6.0, "SPEAKER_01", "Hi."),
        (7.0, 8.0, None, "Who?"),
    ]


def test_words_without_blanks_and_times(tmp_path: Path) -> None:
    segment = {
        "words": [
            {"word": "Hi", "speaker": "A"},
            {"word": "you,", "start": 1.5, "end": 1.75, "speaker": "A"},
            {"word": "Ross.", "start": 1.75, "end": 2.0},
            {"word": "Hey.", "start": 2.5, "end": 3.0, "speaker": "B"},
        ]
    }
    path = saved(tmp_path, "t.json", json.dumps({"segments": [segment]}))
    assert turns(read(path)) == [(1.5, 2.0, "A", "Hi you, Ross."), (2.5, 3.0, "B", "Hey.")]


def test_whisper_cpp(tmp_path: Path) -> None:
    row = {
        "timestamps": {"from": "00:00:01,000", "to": "00:00:02,500"},
        "offsets": {"from": 1000, "to": 2500},
        "text": " Hi.",
    }
    path = saved(tmp_path, "t.json", json.dumps({"systeminfo": "x", "transcription": [row]}))
    assert turns(read(path)) == [(1.0, 2.5, None, "Hi.")]
    assert codes(read(path)) == []


@pytest.mark.parametrize("name", ["rolling.json3", "rolling.json", "rolling.txt"])
def test_youtubes_rolling_captions(tmp_path: Path, name: str) -> None:
    found = read(saved(tmp_path, name, (DATA / "rolling.json3").read_text(encoding="utf-8")))
    assert found.format == "json3"
    assert turns(found) == [
        (0.08, 2.56, None, "so there's nothing"),
        (2.56, 5.01, None, "to tell"),
        (9.0, 10.5, "ROSS", "hi"),
    ]
    assert {"captions_roll", "sound_only"} <= set(codes(found))


def test_youtubes_captions_by_people_keep_their_ends(tmp_path: Path) -> None:
    rows = [(1000, 3000, "MONICA: Hi!"), (2000, 1500, "- Hey.\n- You.")]
    events = [{"tStartMs": a, "dDurationMs": b, "segs": [{"utf8": text}]} for a, b, text in rows]
    found = read(saved(tmp_path, "t.json3", json.dumps({"events": [*events, {"segs": [{"utf8": "x"}]}, 3]})))
    assert turns(found)[0] == (1.0, 4.0, "MONICA", "Hi!")
    assert [u.text for u in found.utterances] == ["Hi!", "Hey.", "You."]
    assert "cue_times" in codes(found)


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"events": {}}', '{"events": []}', '{"events": [{"tStartMs": null}]}', "{"]
)
def test_json3_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(saved(tmp_path, "t.json3", text), format="json3")
    assert caught.value.hint


def test_our_document_is_indented_with_an_utterance_a_line(tmp_path: Path) -> None:
    text = written(tmp_path, "json", *SAID).read_text(encoding="utf-8")
    assert json.loads(text) == to_dict(result(*SAID))
    lines = text.split("\n")
    start = lines.index('  "utterances": [')
    assert [json.loads(line.rstrip(","))["index"] for line in lines[start + 1 : start + 6]] == [0, 1, 2, 3, 4]
    assert lines[start + 6] == "  ],"
    assert json.loads(written(tmp_path, "json").read_text(encoding="utf-8"))["utterances"] == []
