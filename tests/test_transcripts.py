"""The front of all transcript formats: encodings, choosing a reader, speakers, turns and times."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

import erc_format_json
import erc_format_subtitles
import erc_format_table
from erc_cli.errors import UsageError
from erc_cli.specs import ReaderSpec
from erc_cli.textfile import tidy
from erc_cli.transcripts import (
    MOST_OF_A_KIND,
    Cue,
    build_transcript,
    parse_time,
    read_bytes_as_text,
    read_transcript,
)
from erc_cli.types import Transcript

DATA = Path(__file__).parent / "data" / "transcripts"
MELD = Path(os.environ.get("ERC_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "meld"
PLUGINS = (erc_format_subtitles, erc_format_json, erc_format_table)
READERS: dict[str, ReaderSpec] = {spec.name: spec for plugin in PLUGINS for spec in plugin.erc_readers()}
SRT = "1\n00:00:01,000 --> 00:00:02,000\nÉmile: Ça va, «très» bien…\n"


def codes(transcript: Transcript) -> list[tuple[str, int | None]]:
    return [(notice.code, notice.line) for notice in transcript.warnings]


# --- bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp1252"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes((SRT * 4).replace("\n", end).encode(encoding))
    assert read_bytes_as_text(path) == SRT * 4


def test_big_endian_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes(b"\xfe\xff" + SRT.encode("utf-16-be"))
    assert read_bytes_as_text(path) == SRT


def test_a_legacy_encoding_of_another_alphabet_is_guessed(tmp_path: Path) -> None:
    words = "Привет, как дела? Всё хорошо, спасибо. Мне нечего рассказать, он просто друг.\n" * 20
    path = tmp_path / "t.txt"
    path.write_bytes(words.encode("cp1251"))
    assert read_bytes_as_text(path) == words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Caf\xe9 na\xefve \x93quote\x94", "Café naïve “quote”"),
        (b"\x93Oui\x94 \x96 c'est l'\xe9t\xe9 \x85", "“Oui” – c'est l'été …"),
        (b"\xabBonsoir\xbb, \x84gut\x93", "«Bonsoir», „gut“"),
    ],
)
def test_marks_of_cp1252_are_no_accented_letters(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes(data)
    assert read_bytes_as_text(path) == words


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\nПривет, как дела? Всё хорошо, спасибо.\n", "cp1251"),
        ("1\n00:00:01,000 --> 00:00:02,000\n元気ですか。私はとても嬉しいです、ありがとう。\n", "shift_jis"),
        ("1\n00:00:01,000 --> 00:00:02,000\nスーパーマーケットのレストラン、テレビとラジオ。\n", "shift_jis"),
    ],
)
def test_other_alphabets_are_not_taken_for_cp1252(tmp_path: Path, words: str, encoding: str) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes((words * 20).encode(encoding))
    assert read_bytes_as_text(path) == words * 20


def test_utf8_with_a_broken_byte_stays_utf8(tmp_path: Path) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes((SRT * 4).encode() + b"\xe9\n")
    assert read_bytes_as_text(path) == SRT * 4 + "\ufffd\n"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("clip.srt", b"\0\0\0\x20ftypisom" + bytes(range(256)) * 8, "MP4"),
        ("clip.srt", b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 8, "Matroska"),
        ("noise.srt", bytes(range(256)) * 8, "not a text file"),
        ("book.csv", b"PK\x03\x04" + bytes(300), "xlsx"),
        ("paper.srt", b"%PDF-1.7 and more", "PDF"),
        ("empty.srt", b"", "0 bytes"),
        ("blank.srt", b"\xef\xbb\xbf \n\n", "is empty"),
        ("zeros.srt", b"hello" + bytes(3) + b"world", "not a text file"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UsageError, match=words) as caught:
        read_transcript(path, READERS)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_missing_file_offers_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").write_text(SRT, encoding="utf-8")
    with pytest.raises(UsageError, match="There is no transcript") as caught:
        read_transcript(tmp_path / "tolk.srt", READERS)
    assert caught.value.hint is not None
    assert "'talk.srt'" in caught.value.hint


@pytest.mark.parametrize("name", ["x" * 400, "nowhere/t.srt", "a\0b"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="There is no transcript"):
        read_bytes_as_text(tmp_path / name)


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        read_transcript(tmp_path, READERS)


def test_tidy_mends_control_characters() -> None:
    assert (
        tidy("It\x92s\u200b  a\ttest\x07 \ud800\n\n  of\u2028lines\ufeff ") == "It’s a test \ufffd\nof\nlines"
    )


# --- choosing a reader ----------------------------------------------------------------------


def test_format_by_ending_and_by_name() -> None:
    assert read_transcript(DATA / "messy.srt", READERS).format == "srt"
    assert read_transcript(DATA / "whisperx.json", READERS, format="json").format == "json"


@pytest.mark.parametrize("name", ["messy.srt", "voices.vtt", "signs.ass", "whisperx.json", "meld.csv"])
def test_content_decides_without_a_known_ending(tmp_path: Path, name: str) -> None:
    path = tmp_path / "transcript"
    path.write_bytes((DATA / name).read_bytes())
    assert read_transcript(path, READERS).utterances == read_transcript(DATA / name, READERS).utterances


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("voices.vtt", ".srt"),
        ("messy.srt", ".vtt"),
        ("signs.ass", ".srt"),
        ("meld.csv", ".srt"),
        ("messy.srt", ".csv"),
    ],
)
def test_content_wins_over_the_ending(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"wrong{ending}"
    path.write_bytes((DATA / name).read_bytes())
    found = read_transcript(path, READERS)
    assert found.utterances == read_transcript(DATA / name, READERS).utterances
    assert found.warnings[0].code == "content_differs"
    assert found.path == path


def test_unknown_format_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="Unknown transcript format 'webvt'") as caught:
        read_transcript(DATA / "voices.vtt", READERS, format="webvt")
    assert caught.value.hint is not None
    assert "'vtt'" in caught.value.hint


def test_html_saved_as_subtitles() -> None:
    with pytest.raises(UsageError, match=r"page\.srt has no srt cue.*web page") as caught:
        read_transcript(DATA / "page.srt", READERS)
    assert caught.value.hint is not None
    assert "00:00:01,000 --> 00:00:02,500" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.srt", "Just some prose.\nNothing else.", "has no srt cue"),
        ("t.vtt", "WEBVTT\n\nNOTE nothing here\n", "has no vtt cue"),
        ("t.ass", "[Script Info]\nTitle: empty\n", "has no ass cue"),
        ("t.srt", "{10}{50}MicroDVD", "MicroDVD"),
        ("t.srt", "[00:12.00]la la", "LRC"),
        ("t.srt", '<?xml version="1.0"?><tt></tt>', "TTML"),
        ("t.srt", '{"a": 1}', "JSON"),
        ("t.srt", "1\n00:00:01,000 --> 00:00:02,000\n[laughs]\n", "no words"),
        ("t.srt", "1\n00:00:01,000 --> 00:00:xx,000\nHello.\n", "times of a cue cannot be read"),
        ("t.json", '{"a": 1}', "another shape: an object with 'a'"),
        ("t.json", "[1, 2]", "has no json cue"),
        ("t.json", '"hello"', "another shape: str"),
        ("t.json", "-1", "another shape: int"),
        ("t.json", '{"segments": [}', "is not JSON"),
        ("t.json", "[" * 100_000, "cannot be read"),
        ("t.jsonl", '{"start": 1}\n{"start": \n', "line 2 of"),
        ("t.csv", "a,b,c\n1,2,3\n", "has no columns start, end, text; its first row is: a, b, c"),
        ("t.csv", "start,text\n1,2\n", "has no column end; its first row is: start, text"),
        ("t.csv", "start,end,text\n", "has no csv cue"),
        ("t.csv", "start,end,text\n1,2," + "x" * 200_000, "damaged at line 2"),
        ("t.xyz", "Just some prose.", "no known transcript format"),
        ("t", "<html></html>", "web page"),
    ],
)
def test_other_texts_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_transcript(path, READERS)
    assert words in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_reader_of_others_without_sniff_or_example(tmp_path: Path) -> None:
    path = tmp_path / "t.mine"
    path.write_text("nothing", encoding="utf-8")
    spec = ReaderSpec("mine", (".mine",), "", lambda p: Transcript((), "mine", path=p))
    with pytest.raises(UsageError, match="has no mine cue"):
        read_transcript(path, {**READERS, "mine": spec})


# --- times ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1.5, 1.5),
        (3, 3.0),
        ("1.5", 1.5),
        ("1,5", 1.5),
        ("00:20:57,256", 1257.256),
        ("0:1:2.5", 62.5),
        ("01:02", 62.0),
        ("00:00:75,000", 75.0),
        ("-0:01", -1.0),
        (" 7 ", 7.0),
        ("", None),
        ("soon", None),
        ("1:2:3:4", None),
        (None, None),
        (True, None),
        (math.nan, None),
        (math.inf, None),
        (10**400, None),
    ],
)
def test_parse_time(value: object, seconds: float | None) -> None:
    assert parse_time(value) == (seconds if seconds is None else pytest.approx(seconds))


def test_odd_times_are_mended_and_told() -> None:
    cues = [
        Cue(5, 6, "Last.", None, 1),
        Cue(1, 1, "No length.", None, 2),
        Cue(1.4, 3, "Next.", None, 3),
        Cue(3, 2.5, "Backwards.", None, 4),
        Cue(-1, 0.5, "Early.", None, 5),
        Cue(-3, -2, "Before.", None, 6),
        Cue(math.nan, 2, "Nothing.", None, 7),
        Cue(5, 6, "Last.", None, 8),
        Cue(9, 9, "End.", None, 9),
    ]
    found = build_transcript(cues, "srt")
    assert [(said.text, said.start, said.end) for said in found.utterances] == [
        ("Early.", 0, 0.5),
        ("No length.", 1, 1.4),
        ("Next.", 1.4, 3),
        ("Backwards.", 2.5, 3),
        ("Last.", 5, 6),
        ("End.", 9, 10),
    ]
    assert codes(found) == [
        ("cue_order", 2),
        ("cue_times", 2),
        ("cue_times", 4),
        ("cue_overlap", 4),
        ("cue_times", 5),
        ("cue_times", 6),
        ("cue_times", 7),
        ("cue_duplicate", 8),
        ("cue_times", 9),
    ]


def test_notices_of_a_kind_are_not_endless() -> None:
    cues = [Cue(i, i + 5, f"Line {i}.", None, i + 1) for i in range(100)]
    found = build_transcript(cues, "srt").warnings
    assert len(found) == MOST_OF_A_KIND + 1
    assert found[-1].message == "And 79 more of this kind."


def test_rows_stay_rows_without_markup() -> None:
    cues = [Cue(0, 1, "- Hi.\n- <b>Hello.</b>"), Cue(1, 2, ""), Cue(2, 3, "[laughs]")]
    found = build_transcript(cues, "csv", speakers_from_text=False, markup=False)
    assert [said.text for said in found.utterances] == ["- Hi. - <b>Hello.</b>", "", "[laughs]"]
    assert codes(found) == [("cue_empty", None)]
