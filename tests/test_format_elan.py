"""ELAN files: read as people have them, written so that ELAN's own library reads them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from formatkit import AWKWARD, DATA, NAMELESS, SAID, WRITERS, codes, read, result, saved, turns, written

from erc_cli.errors import UsageError
from erc_cli.types import Utterance

SHELL = """<?xml version="1.0" encoding="{encoding}"?>
{doctype}<ANNOTATION_DOCUMENT FORMAT="3.0"><HEADER TIME_UNITS="{units}">{media}</HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2000"/>
</TIME_ORDER><TIER TIER_ID="{tier}"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>
"""


def shell(**parts: str) -> str:
    usual = {"encoding": "UTF-8", "doctype": "", "units": "milliseconds", "media": "", "tier": "Joey"}
    return SHELL.format(**{**usual, "text": "Hé!", **parts})


def eaf(path: Path) -> Any:
    return pytest.importorskip("pympi.Elan", reason="needs pympi-ling").Eaf(str(path))


# --- in -------------------------------------------------------------------------------------


def test_tiers_are_speakers_and_their_dependants_are_not() -> None:
    found = read(DATA / "workshop.eaf")
    assert found.format == "elan"
    assert turns(found) == [
        (1.0, 2.0, "Monica", "There's nothing to tell & that’s it!"),
        (2.0, 3.0, "Monica", "He's just some guy I work with."),  # ends at a slot without a value
        (4.5, 6.25, "Joey", "שלום 😀"),
        (7.0, 8.0, "Ross", "I just want to be married again."),  # the words are in another tier
    ]
    assert sorted(codes(found)) == ["cue_times", "tier_words", "tiers_left_out"]
    messages = " ".join(notice.message for notice in found.warnings)
    assert "'Never ends.'" in messages
    assert "'A_translation'" in messages
    assert "'Ross words'" in messages


def test_the_tier_of_a_new_file_is_nobodys_and_names_are_sought(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.eaf", shell(tier="default", text="MONICA: Hi!"))
    assert turns(read(path)) == [(1.0, 2.0, "MONICA", "Hi!")]


def test_other_encodings_are_those_that_the_file_names(tmp_path: Path) -> None:
    for encoding in ("ISO-8859-1", "UTF-16"):
        path = tmp_path / f"{encoding}.eaf"
        path.write_bytes(shell(encoding=encoding).encode(encoding))
        assert turns(read(path)) == [(1.0, 2.0, "Joey", "Hé!")]


def test_a_medium_that_begins_later_moves_the_times(tmp_path: Path) -> None:
    media = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///v.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="1500"/>'
    found = read(saved(tmp_path, "t.eaf", shell(media=media)))
    assert turns(found) == [(2.5, 3.5, "Joey", "Hé!")]
    assert codes(found) == ["time_origin"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (shell(doctype='<!DOCTYPE x [<!ENTITY e "boom">]>\n', text="&e;"), "document type"),
        (shell(doctype='<!DOCTYPE x SYSTEM "file:///etc/passwd">\n'), "document type"),
        (shell(text="&nbsp;"), "undefined entity"),
        (shell().replace("</TIER>", ""), "mismatched tag"),
        (shell()[:200], "line 3"),
        (shell(units="PAL-frames"), "PAL-frames"),
        (shell(encoding="EBCDIC-37"), "encoding"),
        (shell().replace("ANNOTATION_DOCUMENT", "x:ANNOTATION_DOCUMENT"), "prefix|root"),
        ("<html/>", "<html>"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = saved(tmp_path, "t.eaf", text)
    with pytest.raises(UsageError) as caught:
        read(path, format="elan")
    assert re.search(said, caught.value.message)
    assert caught.value.hint


def test_an_entity_bomb_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = shell(doctype=f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>', text="&e11;")
    with pytest.raises(UsageError, match="refused"):
        read(saved(tmp_path, "t.eaf", bomb))


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    text = shell(text="<a>" * 50_000 + "Hi" + "</a>" * 50_000)
    assert read(saved(tmp_path, "t.eaf", text)).utterances[0].text == "Hi"


# --- out ------------------------------------------------------------------------------------


def test_pympi_reads_words_emotion_and_each_modality(tmp_path: Path) -> None:
    found = eaf(written(tmp_path, "elan", *SAID))
    assert list(found.get_tier_names())[:5] == [
        *("Monica", "Monica emotion", "Monica confidence", "Monica by text", "Monica by visual"),
    ]
    assert found.get_annotation_data_for_tier("Monica") == [
        (480, 2100, SAID[0].text),
        (2750, 4000, SAID[2].text),
    ]
    below = {
        name: [row[2] for row in found.get_ref_annotation_data_for_tier(f"Monica {name}")]
        for name in ("emotion", "confidence", "by text", "by visual")
    }
    assert below == {
        "emotion": ["anger", "anger"],
        "confidence": ["0.61", "0.61"],
        "by text": ["anger 0.61", "anger 0.61"],
        "by visual": ["no_face", "no_face"],
    }
    assert found.get_parameters_for_tier("Phoebe Buffay emotion")["PARTICIPANT"] == "Phoebe Buffay"
    entries = found.get_cv_entries("erc-emotion").values()
    assert [values[0][0] for values, _ in entries] == ["neutral", "joy", "anger"]


def test_the_medium_is_linked_from_the_files_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "out"
    folder.mkdir(parents=True)
    medium = tmp_path / "a b" / "täl<k>.mp4"
    made = result(*SAID)
    assert made.media is not None
    path = folder / "t.eaf"
    WRITERS["elan"].write(replace(made, media=replace(made.media, path=medium)), path)
    assert eaf(path).get_linked_files() == [
        {
            "MEDIA_URL": f"file://{medium.as_posix()}",
            "MIME_TYPE": "video/mp4",
            "RELATIVE_MEDIA_URL": "../täl<k>.mp4",
        }
    ]
    WRITERS["elan"].write(replace(made, media=None), path)
    assert eaf(path).get_linked_files() == []


def test_awkward_words_and_names_are_the_same_for_pympi(tmp_path: Path) -> None:
    path = written(tmp_path, "elan", *AWKWARD)
    found = eaf(path)
    names = [
        name for name in found.get_tier_names() if "PARENT_REF" not in found.get_parameters_for_tier(name)
    ]
    rows = [row for name in names for row in found.get_annotation_data_for_tier(name)]
    assert sorted(row[2] for row in rows) == sorted(u.text for u in AWKWARD)
    # Who talks over himself has a tier more, and no tier overlaps itself.
    assert names[:2] == ["A & B <c>", "A & B <c> (2)"]
    assert "x, y (2)" in names  # because "x, y emotion" is somebody, too
    for name in names:
        spans = sorted(row[:2] for row in found.get_annotation_data_for_tier(name))
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_no_names_are_sought_in_our_own(tmp_path: Path) -> None:
    assert read(written(tmp_path, "elan", *NAMELESS)).utterances == NAMELESS


def test_we_read_back_what_we_write(tmp_path: Path) -> None:
    for said in (SAID, AWKWARD):
        found = read(written(tmp_path, "elan", *said))
        assert found.utterances == said
        assert not {"tiers_left_out", "tier_words"} & set(codes(found))


def test_what_xml_cannot_hold_is_left_out(tmp_path: Path) -> None:
    said = Utterance(1.0, 1.0, "a\x00b\x1b\ufffe\ud800c\nd", "N\x07ame\n")
    found = read(written(tmp_path, "elan", said))
    assert turns(found) == [(1.0, 1.001, "Name", "abc d")]


def test_nobody_and_who_is_called_like_that(tmp_path: Path) -> None:
    said = (Utterance(1, 2, "a", None), Utterance(3, 4, "b", "(nobody)"))
    assert read(written(tmp_path, "elan", *said)).utterances == said


def test_a_tier_that_somebody_added_to_our_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "elan", *SAID)
    text = path.read_text(encoding="utf-8")
    added = '<TIER LINGUISTIC_TYPE_REF="x" TIER_ID="gaze"><ANNOTATION><REF_ANNOTATION/></ANNOTATION></TIER>'
    path.write_text(text.replace("    <LINGUISTIC_TYPE", f"{added}<LINGUISTIC_TYPE", 1), encoding="utf-8")
    found = read(path)
    assert found.utterances == SAID
    assert "'gaze'" in found.warnings[0].message
