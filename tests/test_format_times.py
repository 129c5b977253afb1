"""Units of times, and tables whose columns the user names."""

from __future__ import annotations

from pathlib import Path

import pytest
from formatkit import codes, read, saved, turns

from erc_cli.errors import UsageError
from erc_cli.specs import Reading
from erc_cli.times import unit_of
from erc_cli.transcripts import columns_from
from erc_cli.types import Notice


@pytest.mark.parametrize(
    ("spans", "names", "unit", "guessed"),
    [
        ([(1000, 2500), (3000, 4200)], (), 0.001, True),
        ([("1000", "2500"), ("3000", "4200.0")], (), 0.001, True),
        ([(1000.5, 2500.25), (3000.5, 4200.5)], (), 0.001, True),
        ([(1, 2), (3, 5)], (), 1, False),
        ([(0, 100), (100, 190)], (), 1, False),  # a talk with long turns, in seconds
        ([(0.5, 160.25), (161.0, 400.5)], (), 1, False),
        ([("0:01", "0:02"), ("5000", "9000")], (), 1, False),  # one clock time decides
        ([(None, 2), ("", "")], (), 1, False),
        ([], (), 1, False),
        ([(1, 2), (3, 5)], ("start_ms", "end_ms"), 0.001, False),
        ([(1000, 2500), (3000, 4200)], ("Begin (s)", "End (s)"), 1, False),
        ([(1000, 2500), (3000, 4200)], ("words", "pass"), 0.001, True),
    ],
)
def test_the_unit_is_decided_for_the_file(
    spans: list[tuple[object, object]], names: tuple[str, ...], unit: float, guessed: bool
) -> None:
    notices: list[Notice] = []
    assert unit_of(spans, notices, *names) == unit
    assert [notice.code for notice in notices] == ["times_in_ms"] * guessed


def test_json_in_milliseconds_is_told(tmp_path: Path) -> None:
    text = '{"utterances": [{"start": 250, "end": 1650, "text": "Hi.", "speaker": "A"}]}'
    found = read(saved(tmp_path, "t.json", text))
    assert turns(found) == [(0.25, 1.65, "A", "Hi.")]
    assert codes(found) == ["times_in_ms"]


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\ttext\tspeaker", "00:00:01.500\t00:00:03.000"),
        ("Begin Time - ss.msec\tEnd Time - ss.msec\ttext\tspeaker", "1.5\t3.0"),
        ("Begin Time - msec\tEnd Time - msec\ttext\tspeaker", "1500\t3000"),
        ("start (ms)\tduration (ms)\ttext\tspeaker", "1500\t1500"),
        ("onset\tduration\ttext\tspeaker", "1.5\t1.5"),
        ("start\tend\ttext\tspeaker", "0:01,5\t00:03"),
    ],
)
def test_headings_with_units(tmp_path: Path, head: str, row: str) -> None:
    found = read(saved(tmp_path, "t.tsv", f"{head}\n{row}\tHi.\tJoey\n"))
    assert turns(found) == [(1.5, 3.0, "Joey", "Hi.")]
    assert codes(found) == []


TABLE = 'Begin;Stop;Words, said;Who;start\n1,5;3;"Hi; you";Joey;x\n4;5,25;Bye.;Ross;y\n'


def named(*words: str) -> Reading:
    return Reading(columns=columns_from(words))


def test_the_user_names_the_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.csv", TABLE)
    found = read(path, named("start=Begin,end=stop,text=Words, said", "speaker=Who"))
    assert turns(found) == [(1.5, 3.0, "Joey", "Hi; you"), (4.0, 5.25, "Ross", "Bye.")]


def test_a_duration_in_place_of_the_end(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.csv", "Begin,Long,Said\n1000,500,Hi.\n2000,400,Bye.\n")
    found = read(path, named("start=Begin,duration=Long,text=Said"))
    assert turns(found) == [(1.0, 1.5, None, "Hi."), (2.0, 2.4, None, "Bye.")]
    assert codes(found) == ["times_in_ms"]


def test_columns_of_json(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.json", '[{"t0": 1.5, "t1": 2.5, "utt": "Hi.", "who": "Joey"}]')
    found = read(path, named("start=t0,end=t1,text=utt,speaker=who"), format="json")
    assert turns(found) == [(1.5, 2.5, "Joey", "Hi.")]


@pytest.mark.parametrize(
    ("name", "words", "said", "hint"),
    [
        ("t.csv", "start=Begn,text=Words, said", "no column 'Begn' for start", "Did you mean 'Begin'?"),
        ("t.csv", "start=Begin,end=Stop", "no column text", "--columns 'text=NAME'"),
        ("t.json", "start=t0", "no 't0' for start", "Its keys: start, end, text"),
        ("t.json", "duration=end", "duration is not read", "start, end, text, speaker"),
        ("t.srt", "start=Begin", "read as srt, which has no columns", "--transcript-format csv"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, name: str, words: str, said: str, hint: str) -> None:
    saved(tmp_path, "t.csv", TABLE)
    saved(tmp_path, "t.json", '[{"start": 1, "end": 2, "text": "Hi."}]')
    saved(tmp_path, "t.srt", "1\n0:0:1,0 --> 0:0:2,0\nHi.\n")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / name, named(words))
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["begin=start"], "no 'begin'"),
        (["strat=Begin"], "no 'strat'"),
        (["start"], "not COLUMN=NAME"),
        (["start="], "not COLUMN=NAME"),
        (["start=a", "start=b"], "start twice"),
        ([""], "not COLUMN=NAME"),
    ],
)
def test_maps_of_columns_that_are_none(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        columns_from(words)
    assert caught.value.hint
