"""The readers and writers of the format plugins, on files as people have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from formatkit import DATA, read, saved
from formatkit import turns as rows

from erc_cli.errors import UsageError
from erc_format_subtitles.front import repair

# --- subtitles ------------------------------------------------------------------------------


def test_a_messy_srt() -> None:
    found = read(DATA / "messy.srt")
    assert rows(found) == [
        (1.0, 2.5, "MONICA", "There's nothing to tell!"),
        (3.0, 3.613, "JOEY", "C'mon, you're going out with the guy!"),
        (3.613, 4.0, "Chandler", "So does he have a hump?"),
        (5.0, 6.0, "PHOEBE", "Wait, does he eat chalk & cheese?"),
        (6.5, 7.0, None, "Note: this is not a speaker."),
        (7.0, 8.0, None, "12:30 is the time."),
        (9.0, 10.0, None, "http://example.com/"),
        (9.5, 10.045, None, "Hi."),
        (10.045, 11.0, None, "Hello."),
        (11.5, 11.591, None, "Hi."),
        (11.591, 12.0, None, "Hello again, you."),
        (16.0, 17.0, None, "One thing: go. Listen: now."),
        (20.0, 21.0, "ROSS", "I'll be there at 10"),
    ]
    lines = (DATA / "messy.srt").read_text(encoding="utf-8").split("\n")
    told = [(notice.code, lines[(notice.line or 0) - 1]) for notice in found.warnings]
    assert told == [
        ("cue_times", "00:00:06,500  -->  00:00:06,500"),
        ("cue_overlap", "00:00:09,500 --> 00:00:11,000"),
        ("cue_times", "00:00:12,000 --> 00:00:11,500"),
        ("sound_only", "00:00:13,000 --> 00:00:15,000"),
        ("cue_times", "00:00:18,000 --> 00:00:19,xxx"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_messy_srt_in_other_bytes(tmp_path: Path, encoding: str) -> None:
    text = (DATA / "messy.srt").read_text(encoding="utf-8")
    path = tmp_path / "t.srt"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read(path).utterances == read(DATA / "messy.srt").utterances


@pytest.mark.parametrize(
    "timing",
    [
        "00:00:01,500 --> 00:00:02,000",
        "00:00:01.500 --> 00:00:02.000",
        "0:0:1,5 --> 0:0:2,0",
        "00:01,500-->00:02,000",
        "00:00:01,500 -> 00:00:02,000",
        "00:00:01,500 --&gt; 00:00:02,000",
        "00:00:01,500 – > 00:00:02,000",
        "00:00:01,500 → 00:00:02,000",
        "00 : 00 : 01 , 500 --> 00 : 00 : 02 , 000",
        "00:00:01:500 --> 00:00:02:000",
        "  00:00:01,500\t-->\t00:00:02,000  X1:1 Y1:2",
        "[00:00:01.500 --> 00:00:02.000]",
        "1.5 --> 2",
        "7 00:00:01,500 --> 00:00:02,000",
        "00:00:01,500 --> 00:00:02,000 ",
    ],
)
@pytest.mark.parametrize("number", ["", "1\n"])
def test_time_stamps_as_people_write_them(tmp_path: Path, timing: str, number: str) -> None:
    path = saved(tmp_path, "t.srt", f"{number}{timing}\nHello there.\n")
    assert rows(read(path)) == [(1.5, 2.0, None, "Hello there.")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # No blank lines between cues; no numbers; blank lines everywhere.
        ("1\n00:01,0 --> 00:02,0\nA b.\n2\n00:03,0 --> 00:04,0\nC d.\n", ["A b.", "C d."]),
        ("00:01,0 --> 00:02,0\nA b.\n00:03,0 --> 00:04,0\nC d.", ["A b.", "C d."]),
        ("\n\n1\n\n00:01,0 --> 00:02,0\n\nA b.\n\n\n2\n\n00:03,0 --> 00:04,0\n\nC d.\n\n", ["A b.", "C d."]),
        # Numbers that are words.
        ("1\n00:01,0 --> 00:02,0\nRoom\n10\n\n2\n00:03,0 --> 00:04,0\n11\n\n", ["Room 10", "11"]),
        ("00:01,0 --> 00:02,0\n10\n\n00:03,0 --> 00:04,0\n11", ["10", "11"]),
        ("1\n00:01,0 --> 00:02,0\n10\n00:03,0 --> 00:04,0\n11", ["10", "11"]),
        # An empty cue, and a file that was cut off.
        ("1\n00:01,0 --> 00:02,0\n\n2\n00:03,0 --> 00:04,0\nC d.\n\n3\n", ["C d."]),
        ("1\n00:01,0 --> 00:02,0\nA b.\n\n2\n00:03,0 -->", ["A b."]),
        # Times in the text.
        (
            "1\n00:01,0 --> 00:02,0\nFrom 00:00:01,000 to 00:00:02,000.\n",
            ["From 00:00:01,000 to 00:00:02,000."],
        ),
        # Text behind the times.
        ("00:01,0 --> 00:02,0 Hello there.\n00:03,0 --> 00:04,0 Bye.\n", ["Hello there.", "Bye."]),
    ],
)
def test_srt_layouts(tmp_path: Path, text: str, words: list[str]) -> None:
    found = read(saved(tmp_path, "t.srt", text), format="srt")
    assert [said.text for said in found.utterances] == words


def test_times_before_zero_and_beyond_sense(tmp_path: Path) -> None:
    text = "-00:00:01,000 --> 00:00:01,000\nEarly.\n\n999:00:00,000 --> 999:00:01,000\nLate.\n"
    found = read(saved(tmp_path, "t.srt", text))
    assert rows(found) == [(0.0, 1.0, None, "Early.")]
    assert [(notice.code, notice.line) for notice in found.warnings] == [("cue_times", 1), ("cue_times", 4)]


def test_webvtt_voices_notes_and_identifiers() -> None:
    found = read(DATA / "voices.vtt")
    assert rows(found) == [
        (1.0, 2.5, "Monica Geller", "There's nothing to tell!"),
        (3.0, 4.81, "Joey", "C'mon, you're going out with the guy!"),
        (4.81, 5.0, "Ross & co", "Hi."),
        (6.0, 7.25, "CHANDLER", "All right Joey, be nice <please>."),
    ]
    assert found.warnings == ()


def test_webvtt_identifier_of_words_is_not_said(tmp_path: Path) -> None:
    text = "WEBVTT\n\nfirst\n00:01.000 --> 00:02.000\nA b.\n\nsecond one\n00:03.000 --> 00:04.000\nC d.\n"
    assert [said.text for said in read(saved(tmp_path, "t.vtt", text)).utterances] == ["A b.", "C d."]


def test_captions_that_scroll_are_said_once() -> None:
    found = read(DATA / "scrolling.vtt")
    assert rows(found) == [
        (0.0, 2.0, None, "hello there friends"),
        (2.01, 4.0, None, "how are you"),
    ]
    assert [notice.code for notice in found.warnings] == ["cue_duplicate"]


def test_ass_with_its_own_field_order_and_broken_styles() -> None:
    found = read(DATA / "signs.ass")
    assert rows(found) == [
        (1.0, 2.5, "Monica", "There's nothing to tell, really!"),
        (5.0, 6.0, "JOEY", "C'mon, you're going out with the guy!"),
    ]
    assert [(notice.code, notice.line) for notice in found.warnings] == [("cue_times", 15)]


def test_repaired_text_is_clean_srt() -> None:
    repaired = repair("0:0:1->0:0:2\nHi.", vtt=False)
    assert repaired.text == "1\n00:00:01,000 --> 00:00:02,000\nHi.\n\n2\n"
    assert repaired.places == ((1, 1.0, 2.0),)


# --- JSON and tables ------------------------------------------------------------------------


def test_whisperx_segments() -> None:
    found = read(DATA / "whisperx.json")
    assert rows(found) == [
        (0.5, 2.1, "SPEAKER_00", "There's nothing to tell!"),
        (2.4, 2.9, "SPEAKER_01", "C'mon."),
        (3.0, 3.5, None, "Hm."),
    ]
    assert [notice.code for notice in found.warnings] == ["cue_times"]


def test_whisper_without_speakers_finds_names(tmp_path: Path) -> None:
    segments = [{"start": i, "end": i + 1, "text": f" {name}: Hi."} for i, name in enumerate(("Amy", "Joe"))]
    path = saved(tmp_path, "t.json", json.dumps({"text": "", "segments": segments, "language": "en"}))
    assert [said.speaker for said in read(path).utterances] == ["Amy", "Joe"]


def test_a_bare_list_with_clock_times(tmp_path: Path) -> None:
    path = saved(
        tmp_path, "t.json", '[{"start": "0:01,5", "end": "00:00:02.0", "text": "Hi.", "speaker": 3}]'
    )
    assert rows(read(path)) == [(1.5, 2.0, "Speaker 3", "Hi.")]


def test_meld_columns() -> None:
    assert rows(read(DATA / "meld.csv")) == [
        (1257.256, 1260.049, "Monica", 'There’s nothing to tell, "really"!'),
        (1261.927, 1263.261, "Joey", "What?"),
        (1264.0, 1265.5, "Monica", "He is just a guy: no one."),
    ]


def test_a_whole_data_set_is_no_transcript(tmp_path: Path) -> None:
    text = (DATA / "meld.csv").read_text(
        encoding="utf-8"
    ) + '4,Yes.,Joey,joy,positive,1,0,2,3,"0:0:1","0:0:2"\n'
    with pytest.raises(UsageError, match="holds 2 episodes") as caught:
        read(saved(tmp_path, "t.csv", text))
    assert "meld:DIR" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "Start,End,Text,Speaker\n1.5,2,Hi.,Amy\n"),
        ("t.csv", "\ufeffSPEAKER,TEXT,END,START\nAmy,Hi.,00:00:02,00:00:01.500\n"),
        ("t.csv", "start;end;text;speaker\n1,5;2,0;Hi.;Amy\n"),
        ("t.csv", "sep=;\nstart;end;text;speaker\n1,5;2,0;Hi.;Amy\n"),
        ("t.tsv", "start\tend\ttext\tspeaker\n1.5\t2\tHi.\tAmy\n"),
        ("t.csv", "start\tend\ttext\tspeaker\n1.5\t2\tHi.\tAmy\n"),
        ("t.tsv", "start\tend\tspeaker\ttext\n1500\t2000\tAmy\tHi.\n"),
        ("t.csv", "Start Time,End Time,Speaker Name,Transcript\n0:01.5,0:02,Amy,<i>Hi.</i>\n"),
        ("t.csv", "start (s),end (s),text,speaker\n\n1.5,2,Hi.,Amy\n,,,\n"),
        ("t.csv", "start,end,text\n1.5,2,Amy: Hi.\n"),
        ("t.csv", "start,end,text,speaker\n1.5,2,Hi.,['Amy']\n"),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str) -> None:
    assert rows(read(saved(tmp_path, name, text))) == [(1.5, 2.0, "Amy", "Hi.")]


def test_lines_of_a_table_are_those_of_the_file(tmp_path: Path) -> None:
    text = 'start,end,text\n0,1,"two\nlines"\nsoon,2,no time\n2,3\n3,4,fine\n'
    found = read(saved(tmp_path, "t.csv", text))
    assert [said.text for said in found.utterances] == ["two lines", "", "fine"]
    assert [(notice.code, notice.line) for notice in found.warnings] == [("cue_times", 4), ("cue_empty", 5)]
