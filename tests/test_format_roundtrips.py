"""What the format plugins write they read back, and no text at all makes them fail oddly."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from formatkit import DATA, READERS, SAID, WRITERS, read, result, saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erc_cli.errors import UsageError
from erc_cli.transcripts import read_transcript
from erc_cli.types import Utterance
from erc_format_table.cells import guard, unguard

# --- round trips ----------------------------------------------------------------------------

HARD = (
    Utterance(4000.0, 4001.0, "=1+1", "@amy"),
    Utterance(4001.0, 4002.0, "'=quoted, \\N and <i>tags</i> &amp; {\\an8}", "- Joe"),
    Utterance(4002.0, 4003.0, "[laughs]", "Note"),
    Utterance(4003.0, 4003.0005, "", None),
    Utterance(4004.0, 4005.0, "Amy: - Hi. - Hello.", None),
)


@pytest.mark.parametrize("name", ["json", "jsonl", "csv"])
def test_data_formats_give_back_the_same_utterances(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"out.{name}"
    said = (*SAID, *(replace(u, end=u.end if u.text else 4003.5) for u in HARD))
    WRITERS[name].write(result(*said), path)
    found = read(path)
    assert found.utterances == said
    assert found.format == name


@pytest.mark.parametrize(("name", "exact"), [("srt", 0.001), ("vtt", 0.001), ("ass", 0.01)])
def test_subtitles_give_back_the_same_utterances(tmp_path: Path, name: str, exact: float) -> None:
    path = tmp_path / f"out.{name}"
    WRITERS[name].write(result(*SAID), path)
    found = read(path)
    assert [(u.speaker, u.text) for u in found.utterances] == [(u.speaker, u.text) for u in SAID]
    for back, said in zip(found.utterances, SAID, strict=True):
        assert back.start == pytest.approx(said.start, abs=exact)
        assert back.end == pytest.approx(said.end, abs=exact)


def test_what_subtitles_look_like(tmp_path: Path) -> None:
    path = tmp_path / "out.srt"
    WRITERS["srt"].write(
        result(SAID[0], Utterance(99.9996, 100.5, "a\n\nb --> c"), Utterance(101, 102, "")), path
    )
    assert path.read_text(encoding="utf-8") == (
        '1\n00:00:00,480 --> 00:00:02,100\nMonica: There\'s nothing to tell, "really"; no? '
        '<font color="#aa332a">[anger 61%]</font>\n\n'
        '2\n00:01:40,000 --> 00:01:40,500\na b → c <font color="#aa332a">[anger 61%]</font>\n\n'
        '3\n00:01:41,000 --> 00:01:42,000\n<font color="#aa332a">[anger 61%]</font>\n'
    )


def test_brackets_of_others_are_no_emotions(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nIt says [battery 61%]\n\n2\n00:00:03,000 --> 00:00:04,000\nOh.\n"
    )
    assert read(saved(tmp_path, "t.srt", text)).utterances[0].text == "It says [battery 61%]"


def test_what_tables_look_like(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    WRITERS["csv"].write(result(SAID[0], HARD[0]), path)
    table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert table[0] == [
        *("index", "start", "end", "speaker", "text", "label", "confidence"),
        *("p_neutral", "p_joy", "p_anger"),
        *("text_status", "text_label", "text_contribution"),
        *("visual_status", "visual_label", "visual_contribution"),
    ]
    assert table[1][:6] == ["0", "0.48", "2.1", "Monica", SAID[0].text, "anger"]
    assert [float(cell) for cell in table[1][6:10]] == pytest.approx([0.61, 0.2, 0.19, 0.61])
    assert table[1][10:] == ["ok", "anger", "0.25", "no_face", "", "0.0"]
    assert table[2][3:5] == ["'@amy", "'=1+1"]


def test_json_lines_are_the_utterances_of_the_document(tmp_path: Path) -> None:
    WRITERS["json"].write(result(*SAID), tmp_path / "out.json")
    WRITERS["jsonl"].write(result(*SAID), tmp_path / "out.jsonl")
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == document["utterances"]
    assert document["schema"] == "erc.result/1"


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"parquet"}))
def test_a_result_without_utterances_can_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"out.{name}"
    WRITERS[name].write(result(), path)
    assert path.exists()


@given(st.text(alphabet="'=+-@\t\rab ", max_size=8))
def test_guarded_cells_come_back(text: str) -> None:
    assert unguard(guard(text)) == text
    assert not guard(text).startswith(("=", "+", "-", "@", "\t", "\r"))


WORDS = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Co", "Zs", "Zl", "Zp", "Cf")), min_size=1, max_size=12
)
SPOKEN = st.lists(
    st.builds(
        Utterance,
        st.integers(0, 500_000).map(lambda ms: ms / 1000),
        st.just(0.0),
        st.lists(WORDS, max_size=4).map(" ".join),
        st.none() | WORDS.filter(lambda name: name != "-"),  # TextGrid calls nobody so
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda said: said.start,
)


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "elan", "textgrid"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoken=SPOKEN)
def test_any_words_come_back(tmp_path: Path, name: str, spoken: list[Utterance]) -> None:
    said = tuple(replace(u, end=round(u.start + 0.25, 3)) for u in sorted(spoken, key=lambda u: u.start))
    path = tmp_path / f"out{WRITERS[name].extensions[0]}"
    WRITERS[name].write(result(*said), path)
    assert read(path).utterances == said


# --- anything at all ------------------------------------------------------------------------

FILES = sorted(DATA.iterdir())
SNIPPETS = st.sampled_from(
    [
        *(
            "\n",
            "\n\n",
            " ",
            "-->",
            "00:00:01,000 --> 00:00:02,000",
            "0:1 -> 0:2",
            "9:99:99,9999999999 --> 1",
        ),
        *(
            "WEBVTT",
            "NOTE",
            "<v ",
            "<v A>",
            ">",
            "<",
            "{\\p1}",
            "{",
            "}",
            "\\N",
            "Dialogue: ",
            "[Events]",
            "Format:",
        ),
        *(
            "MONICA: ",
            "[",
            "]",
            "(",
            ")",
            "- ",
            "♪",
            ":",
            "&#0;",
            "&#xd800;",
            "&#xe001;",
            "&lt;",
            "\ue000",
            "\ue001",
        ),
        *(
            '"',
            "'",
            ",",
            ";",
            "\t",
            "NaN",
            "1e999",
            "null",
            "{}",
            "[]",
            '"start": ',
            "-1",
            "٣:٤",
            "²",
            "\x85",
            "\x0b",
        ),
        *(
            "<ANNOTATION_VALUE>",
            "</TIER>",
            "<!DOCTYPE x [",
            "&#1;",
            "TIME_VALUE=",
            '"IntervalTier"',
            "<exists>",
            "1e99",
            "-3",
            "SPEAKER a 1 1 1 x x x",
            "<NA>",
            "tStartMs",
            "segs",
        ),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A name and the bytes of a fixture, cut, doubled, and strewn with what formats are made of."""
    source = draw(st.sampled_from(FILES))
    text = source.read_text(encoding="utf-8") if draw(st.integers(0, 5)) else ""
    for _ in range(draw(st.integers(0, 6))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        middle = draw(st.one_of(SNIPPETS, st.lists(SNIPPETS, max_size=8).map("".join), st.text(max_size=8)))
        text = text[:at] + middle + (text[at:] if draw(st.booleans()) else text[to:])
    ending = draw(st.sampled_from([source.suffix, source.suffix, ".srt", ".csv", ".eaf", ".TextGrid", ""]))
    return f"t{ending}", text.encode(draw(st.sampled_from(["utf-8", "utf-16", "cp1252"])), errors="replace")


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=mutated())
def test_any_text_gives_a_transcript_or_a_usage_error(tmp_path: Path, made: tuple[str, bytes]) -> None:
    path = tmp_path / made[0]
    path.write_bytes(made[1])
    for spec in (None, *READERS):
        try:
            found = read_transcript(path, READERS, format=spec)
        except UsageError as error:
            assert error.hint
            continue
        assert found.utterances
        starts = [said.start for said in found.utterances]
        assert starts == sorted(starts)
        for said in found.utterances:
            assert 0 <= said.start <= said.end
            assert "\ue001" not in f"{said.text}{said.speaker}"
            assert "\n" not in f"{said.text}{said.speaker}"
        lines = path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 1
        assert all(notice.line is None or 1 <= notice.line <= lines for notice in found.warnings)


@pytest.mark.parametrize(
    "piece", ["[", "(", "<", "<v ", "{\\", "a:", "- ", "1:", "--", "\n", " ", "&", "=", "♪ ", "*", "A "]
)
@pytest.mark.parametrize("name", ["t.srt", "t.vtt", "t.ass"])
def test_long_lines_of_one_kind_take_no_long_time(tmp_path: Path, name: str, piece: str) -> None:
    # Patterns that go back and forth over a line would need minutes for these.
    head = {"t.vtt": "WEBVTT\n\n0:01.0 --> 0:02.0\n", "t.ass": "Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,"}
    text = head.get(name, "1\n0:0:1 --> 0:0:2\n") + "Hello. " + piece * 50_000 + "\n0:03 " + piece * 50_000
    assert read(saved(tmp_path, name, text)).utterances[0].text.startswith("Hello")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_give_a_transcript_or_a_usage_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.srt"
    path.write_bytes(data)
    try:
        assert read_transcript(path, READERS).utterances
    except UsageError as error:
        assert error.hint
