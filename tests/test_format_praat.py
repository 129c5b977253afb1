"""TextGrids: both text formats in, tiers that Praat and praatio read out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from formatkit import AWKWARD, DATA, NAMELESS, SAID, codes, read, saved, turns, written

from erc_cli.errors import UsageError
from erc_cli.types import Utterance

HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0 9 <exists> '


def tier(name: str, *rows: tuple[float, float, str]) -> str:
    return f'"IntervalTier" "{name}" 0 9 {len(rows)}\n' + "".join(f'{a} {b} "{t}"\n' for a, b, t in rows)


def grid(folder: Path, *tiers: str) -> Path:
    return saved(folder, "t.TextGrid", f"{HEAD}{len(tiers)}\n" + "".join(tiers))


def praatio(path: Path) -> Any:
    textgrid = pytest.importorskip("praatio.textgrid", reason="needs praatio")
    return textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")


# --- in -------------------------------------------------------------------------------------

EXPECTED = [
    (1.0, 2.5, "Monica", 'She said "no", ! and 3 < 4'),
    (2.0, 6.5, "Joey", "C'mon!"),
    (4.25, 6.5, "Monica", "שלום 😀"),
]


@pytest.mark.parametrize("name", ["long.TextGrid", "short.TextGrid"])
def test_both_text_formats_are_one(name: str) -> None:
    found = read(DATA / name)
    assert found.format == "textgrid"
    assert turns(found) == EXPECTED
    assert codes(found) == ["tiers_left_out"]
    assert "'clicks'" in found.warnings[0].message


def test_lines_are_those_of_the_intervals(tmp_path: Path) -> None:
    path = grid(tmp_path, tier("Joey", (0, 1, "a"), (0.5, 2, "b")))
    found = read(path)
    assert codes(found) == ["cue_overlap"]
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines[(found.warnings[0].line or 0) - 1] == '0.5 2 "b"'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_praats_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.TextGrid"
    path.write_bytes((DATA / "long.TextGrid").read_text(encoding="utf-8").encode(encoding))
    assert turns(read(path)) == EXPECTED


def test_a_tier_that_names_its_content_is_nobodys(tmp_path: Path) -> None:
    path = grid(tmp_path, tier("Sentences", (1, 2, "MONICA: Hi!"), (2, 3, "Oh.")))
    assert turns(read(path)) == [(1, 2, "MONICA", "Hi!"), (2, 3, None, "Oh.")]


def test_an_aligners_words_are_joined(tmp_path: Path) -> None:
    words = ((0, 1, ""), (1, 1.5, "come"), (1.5, 2, "on"), (2, 2.4, "sp"), (2.4, 3, "Joe"), (4, 5, "yes"))
    path = grid(tmp_path, tier("Ross - words", *words), tier("Ross - phones", (1, 1.2, "k")))
    found = read(path)
    assert turns(found) == [(1, 3, "Ross", "come on Joe"), (4, 5, "Ross", "yes")]
    assert codes(found) == ["tiers_left_out", "words_joined"]


def test_an_aligners_tiers_are_left_out_beside_others(tmp_path: Path) -> None:
    path = grid(tmp_path, tier("Ross", (1, 3, "come on Joe")), tier("words", (1, 2, "come"), (2, 3, "on")))
    found = read(path)
    assert turns(found) == [(1, 3, "Ross", "come on Joe")]
    assert "'words'" in found.warnings[0].message


def test_a_grid_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    text = (DATA / "long.TextGrid").read_text(encoding="utf-8")
    found = read(saved(tmp_path, "t.TextGrid", text[: text.index("intervals [3]")]))
    assert turns(found) == EXPECTED[:1]
    assert codes(found) == ["cut_off"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('File type = "ooTextFile"\nObject class = "Pitch 1"\n0 1', "begins with 'ooTextFile', 'Pitch 1'"),
        ('"Praat chronological TextGrid text file"\n0 1', "begins with 'Praat chronological"),
        ("0 1 2", "not a TextGrid"),
        (HEAD + '1\n"IntervalTier" "a" 0 9 1e99\n', "the file ends where a number is due"),
        (HEAD + '-1\n"IntervalTier" "a"', "-1.0 is no count"),
        (HEAD + '1 "PitchTier" "a" 0 9 1', "'PitchTier'"),
        (HEAD + '1 "IntervalTier" "a" 0 9 1 0 1 2', "a number where a text is due"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(saved(tmp_path, "t.TextGrid", text), format="textgrid")
    assert said in caught.value.message
    assert caught.value.hint


def test_many_quotes_take_no_long_time(tmp_path: Path) -> None:
    for piece in ('"', '""', '"a', "! ", "<", "1 ", "[1]: "):
        with pytest.raises(UsageError):
            read(saved(tmp_path, "t.TextGrid", HEAD + piece * 100_000), format="textgrid")


# --- out ------------------------------------------------------------------------------------


def test_praatio_reads_words_and_emotions(tmp_path: Path) -> None:
    found = praatio(written(tmp_path, "textgrid", *SAID))
    assert found.tierNames == (
        *("Monica", "Monica emotion", "Joey", "Joey emotion"),
        *("Phoebe Buffay", "Phoebe Buffay emotion", "-", "- emotion"),
    )
    assert found.maxTimestamp == 3663.0  # later than the end of the medium
    rows = [tuple(row) for row in found.getTier("Monica").entries]
    assert rows == [
        (0, 0.48, ""),
        (0.48, 2.1, SAID[0].text),
        (2.1, 2.75, ""),
        (2.75, 4, SAID[2].text),
        (4, 3663, ""),
    ]
    emotions = [row[2] for row in found.getTier("Monica emotion").entries]
    assert emotions == ["", "anger", "", "anger", ""]


def test_praat_itself_reads_it(tmp_path: Path) -> None:
    parselmouth = pytest.importorskip("parselmouth", reason="needs praat-parselmouth")
    call = parselmouth.praat.call
    found = parselmouth.Data.read(str(written(tmp_path, "textgrid", *AWKWARD)))
    count = call(found, "Get number of tiers")
    assert call(found, "Get end time") == 9.0  # as long as the medium
    words = []
    for number in range(1, count + 1):
        if not call(found, "Get tier name", number).endswith(" emotion"):
            rows = range(1, call(found, "Get number of intervals", number) + 1)
            words += [call(found, "Get label of interval", number, row) for row in rows]
    assert sorted(filter(None, words))[:3] == sorted(u.text for u in AWKWARD)[:3]
    assert count == 10  # five speakers' tiers, one of them twice, each with its emotions


def test_no_names_are_sought_in_our_own(tmp_path: Path) -> None:
    assert read(written(tmp_path, "textgrid", *NAMELESS)).utterances == NAMELESS


def test_we_read_back_what_we_write(tmp_path: Path) -> None:
    found = read(written(tmp_path, "textgrid", *SAID))
    assert found.utterances == SAID
    assert codes(found) == []
    # Only a name that is another tier's with an ending keeps its number.
    renamed = tuple(replace(u, speaker="x, y (2)") if u.speaker == "x, y" else u for u in AWKWARD)
    assert read(written(tmp_path, "textgrid", *AWKWARD)).utterances == renamed


def test_turns_without_words_and_words_like_silence_come_back(tmp_path: Path) -> None:
    said = (Utterance(1, 2, "", "Ann"), Utterance(3, 4, "sil", "Ann"), Utterance(5, 6, "", "words"))
    assert read(written(tmp_path, "textgrid", *said)).utterances == said


def test_lines_and_control_characters_become_blanks(tmp_path: Path) -> None:
    said = Utterance(1.0, 1.0, "a\nb\x00\u2028c\ud800", 'N"n\n')
    assert turns(read(written(tmp_path, "textgrid", said))) == [(1.0, 1.001, 'N"n', "a b c")]


def test_no_utterances_and_no_medium_are_still_a_grid(tmp_path: Path) -> None:
    assert praatio(written(tmp_path, "textgrid")).maxTimestamp == 9.0
