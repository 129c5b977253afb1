"""Subtitles and Parquet as others read them, and all formats on what is long or awkward."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pysubs2
import pytest
from formatkit import AWKWARD, LABELS, SAID, WRITERS, codes, read, result, turns, written

from erc_cli.emotion_colours import colour_of
from erc_cli.types import MediaInfo, Modality, Opinion, Status, Utterance

NEEDS_ARROW = pytest.mark.skipif(
    not import_module("importlib.util").find_spec("pyarrow"), reason="needs pyarrow (extra parquet)"
)


# --- subtitles ------------------------------------------------------------------------------


def test_webvtt_py_reads_voices_words_and_styles(tmp_path: Path) -> None:
    webvtt = pytest.importorskip("webvtt", reason="needs webvtt-py")
    found = webvtt.read(str(written(tmp_path, "vtt", *SAID[:3])))
    assert [(c.voice, c.start, c.end) for c in found] == [
        ("Monica", "00:00:00.480", "00:00:02.100"),
        ("Joey", "00:00:02.500", "00:00:03.001"),
        ("Monica", "00:00:02.750", "00:00:04.000"),
    ]
    assert found[0].text == f"{SAID[0].text} [anger 61%]"
    assert "<c.emotion.anger>[anger 61%]</c>" in found[0].raw_text
    assert f"background-color: {colour_of('anger', LABELS)}" in found.styles[0].text


def test_nothing_in_a_webvtt_is_markup_but_ours(tmp_path: Path) -> None:
    path = written(tmp_path, "vtt", *AWKWARD, labels=("a b", "Ärger", "<c> --> x"))
    text = path.read_text(encoding="utf-8")
    cues = text.split("\n\n")[3:]
    assert len(cues) == len(AWKWARD)
    for cue in cues:
        assert cue.count("-->") == 1
        tags = re.findall(r"<[^<>]*>", cue.split("\n", 2)[2])
        assert [tag.split()[0].rstrip(">") for tag in tags] == ["<v", "</v", "<c.emotion.c-x", "</c"]
    found = read(path).utterances
    assert [u.speaker for u in found] == [u.speaker for u in AWKWARD]
    # Only what would be a tag of ASS is taken for one, because people's files have them.
    assert found[0].text == "<b>&amp; ]]> --> 1"
    assert [u.text for u in found[1:]] == [u.text for u in AWKWARD[1:]]


def test_pysubs2_reads_a_style_for_each_emotion(tmp_path: Path) -> None:
    found = pysubs2.SSAFile.load(str(written(tmp_path, "ass", *AWKWARD)))
    assert set(LABELS) <= set(found.styles)
    box = found.styles["anger"].outlinecolor
    assert f"#{box.r:02x}{box.g:02x}{box.b:02x}" == colour_of("anger", LABELS)
    assert [event.style for event in found] == ["anger"] * len(AWKWARD)
    assert found[0].name == "A & B <c>"
    # What would be a tag or a line break is words.
    assert found[0].plaintext.replace("\u2060", "") == (
        "A & B <c>: <b>&amp; ]]> ｛\\an8｝ \\N --> 1 [anger 61%]"
    )
    assert found[5].name == "x; y"


@pytest.mark.filterwarnings("error")
def test_ass_holds_ten_hours_and_odd_labels(tmp_path: Path) -> None:
    said = (Utterance(35_000.0, 36_500.0, "Late.", None), Utterance(40_000.0, 40_001.0, "Later.", None))
    found = pysubs2.SSAFile.load(str(written(tmp_path, "ass", *said, labels=("a,b", "a;b", "Default"))))
    times = [(event.start, event.end) for event in found]
    assert times == [(35_000_000, 35_999_990), (35_999_980, 35_999_990)]
    assert list(found.styles) == ["Default", "a;b", "a;b 2", "Default 3"]


def test_srt_colours_only_the_emotion(tmp_path: Path) -> None:
    found = pysubs2.SSAFile.load(str(written(tmp_path, "srt", SAID[0])), keep_html_tags=True)
    colour = colour_of("anger", LABELS)
    assert found[0].text == f'Monica: {SAID[0].text} <font color="{colour}">[anger 61%]</font>'


# --- Parquet --------------------------------------------------------------------------------


@NEEDS_ARROW
def test_pyarrow_reads_typed_columns_and_where_they_come_from(tmp_path: Path) -> None:
    parquet = import_module("pyarrow.parquet")
    made = result(*SAID)
    opinions = {**made.predictions[0].opinions, Modality.TEXT: Opinion(Status.SILENT)}
    first = replace(made.predictions[0], opinions=opinions)
    changed = replace(made, predictions=(first, *made.predictions[1:]))
    WRITERS["parquet"].write(changed, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    rows = table.to_pylist()
    assert [row["text"] for row in rows] == [u.text for u in SAID]
    assert [row["speaker"] for row in rows] == [u.speaker for u in SAID]
    assert [(row["start"], row["end"]) for row in rows] == [(u.start, u.end) for u in SAID]
    assert {str(table.schema.field(name).type) for name in ("start", "p_joy", "text_p_joy")} == {"double"}
    assert rows[0]["text_status"] == "silent"
    assert rows[0]["text_p_anger"] is None
    assert rows[1]["text_p_anger"] == 0.61
    assert rows[1]["text_contribution"] == 0.25
    assert [row["visual_label"] for row in rows] == [None] * 5
    about = json.loads(table.schema.metadata[b"erc"])
    assert about["schema"] == "erc.result/1"
    assert about["speakers"][0]["name"] == "Monica"
    assert "utterances" not in about


@NEEDS_ARROW
def test_a_parquet_without_utterances_has_its_columns(tmp_path: Path) -> None:
    parquet = import_module("pyarrow.parquet")
    table = parquet.read_table(written(tmp_path, "parquet"))
    assert table.num_rows == 0
    assert {"start", "text", "p_anger"} <= set(table.column_names)


# --- all of them ----------------------------------------------------------------------------

WITH_WORDS = ("json", "jsonl", "csv", "elan", "textgrid", "srt", "vtt", "ass")


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_writer_says_what_it_leaves_out(name: str) -> None:
    spec = WRITERS[name]
    assert bool(spec.leaves_out) is (name not in ("json", "jsonl", "parquet"))


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"parquet"}))
def test_lone_surrogates_and_controls_are_no_crash(tmp_path: Path, name: str) -> None:
    said = Utterance(1.0, 2.0, "a\x00\ud800\x1b[31m\u202e\ufffeb\r\n\n1\n", "\ud800\x07N")
    path = written(tmp_path, name, said, labels=("neutral", "joy", "an\nger"))
    path.read_text(encoding="utf-8")
    assert len(read(path).utterances) == 1


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_any_name_of_a_file_that_the_system_takes(tmp_path: Path, name: str) -> None:
    """The medium beside it has such a name, too."""
    if name == "parquet":
        pytest.importorskip("pyarrow")
    spec = WRITERS[name]
    odd = tmp_path / os.fsdecode(b"-caf\xe9 \"q\" 'x'\n\x1b[31m <&>")
    media = MediaInfo(odd.with_suffix(".mp4"), "0" * 64, 9.0, video=True, audio=True)
    path = odd.with_suffix(spec.extensions[0])
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    spec.write(replace(result(*SAID), media=media), path)
    assert path.stat().st_size > 0
    if name == "parquet":
        found = import_module("pyarrow.parquet").read_table(io.BytesIO(path.read_bytes()))
        assert found.num_rows == len(SAID)
    elif name in WITH_WORDS:
        assert [u.text for u in read(path).utterances] == [u.text for u in SAID]


NAMES = ("Monica", "Joey", "Ross", "Rachel", "Phoebe", "Chandler", "Janice")


def lines(count: int) -> tuple[Utterance, ...]:
    return tuple(Utterance(i * 1.5, i * 1.5 + 1.25, f"Line {i}.", NAMES[i % 7]) for i in range(count))


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"parquet"}))
def test_twenty_thousand_utterances_can_be_written(tmp_path: Path, name: str) -> None:
    text = written(tmp_path, name, *lines(20_000)).read_text(encoding="utf-8")
    assert text.count("anger") >= 20_000


@pytest.mark.parametrize("name", WITH_WORDS)
def test_thousands_of_utterances_come_back(tmp_path: Path, name: str) -> None:
    found = read(written(tmp_path, name, *lines(3_000)))
    assert len(found.utterances) == 3_000
    assert turns(found)[-1] == (4_498.5, 4_499.75, NAMES[2_999 % 7], "Line 2999.")
    assert codes(found) == []
