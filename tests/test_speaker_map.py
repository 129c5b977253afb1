"""`--speakers map.yaml`: other names, merged names, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from formatkit import saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erc_cli.errors import ErcError, UsageError
from erc_cli.speaker_map import read_speaker_map
from erc_cli.types import Transcript, Utterance


def spoken(*names: str | None) -> Transcript:
    said = tuple(Utterance(i, i + 1, "Hi.", name) for i, name in enumerate(names))
    return Transcript(said, "srt")


def renamed(folder: Path, text: str, *names: str | None) -> list[str | None]:
    found = read_speaker_map(saved(folder, "map.yaml", text)).applied(spoken(*names))
    return [said.speaker for said in found.utterances]


def test_names_are_changed_and_merged(tmp_path: Path) -> None:
    text = "SPEAKER_00: Monica\nMon: Monica\nChandler: [SPEAKER_01, 'chan  bing']\n"
    names = ("SPEAKER_00", "Mon", "SPEAKER_01", "Chan Bing", "Ross", None)
    assert renamed(tmp_path, text, *names) == ["Monica", "Monica", "Chandler", "Chandler", "Ross", None]


def test_two_names_can_be_exchanged(tmp_path: Path) -> None:
    assert renamed(tmp_path, "a: b\nb: a\n", "a", "b") == ["b", "a"]


def test_capitals_are_heeded_only_where_the_file_does(tmp_path: Path) -> None:
    assert renamed(tmp_path, "MONICA: Mon\n", "Monica", "MONICA") == ["Mon", "Mon"]
    assert renamed(tmp_path, "ann: x\nAnn: y\n", "ann", "Ann") == ["x", "y"]


def test_nobody_gets_a_name_and_a_name_is_taken_away(tmp_path: Path) -> None:
    for nobody in ("''", "~", "null"):
        assert renamed(tmp_path, f"{nobody}: Narrator\nX: {nobody}\n", None, "X") == ["Narrator", None]


def test_numbers_and_yes_are_names(tmp_path: Path) -> None:
    assert renamed(tmp_path, "1: yes\nno: 2.50\n", "1", "no") == ["yes", "2.50"]


def test_names_that_nobody_has_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "map.yaml", "Monca: Mon\nZ: Mon\n'': Narrator\n")
    found = read_speaker_map(path).applied(spoken("Monica", "Ross"))
    assert [notice.code for notice in found.warnings] == ["speaker_unknown"] * 3
    assert "Did you mean 'Monica'?" in found.warnings[0].message
    assert "Speakers: Monica, Ross." in found.warnings[1].message
    assert "everybody here has one" in found.warnings[2].message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A: !!python/object/apply:os.system [ls]\n", "line 1 .* YAML tag, .*os.system"),
        ("A: !!str x\n", "YAML tag"),
        ("A: &a x\nB: *a\n", "line 1 .* YAML anchor"),
        ("A: x\nA: y\n", "line 2 .* 'A' gets two names, 'x' and 'y'"),
        ("A: x\nB: [A]\n", "line 2 .* 'A' gets two names, 'x' and 'B'"),
        ("A: {b: c}\n", "a name, or a list of names"),
        ("? [a]\n: b\n", "a name, or a list of names"),
        ("A: [b, [c]]\n", "line 1 .* no map of names"),
        ("[" * 10_000, "no map of names"),
        ("- A\n- B\n", "not a map of names"),
        ("A\n", "not a map of names"),
        ("{}\n", "not a map of names"),
        ("A: x\n---\nB: y\n", "line 2 .* no map of names"),
        ("A: [\n", "is not YAML"),
        ("A:\tx\n", "line 1 .* is not YAML"),
        ("", "is empty"),
        ("A: " + "x" * 2_000_000, "too large"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_speaker_map(saved(tmp_path, "map.yaml", text))
    assert caught.value.hint


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(UsageError, match="There is no map of speakers"):
            read_speaker_map(path)


PIECES = st.sampled_from([*"AB:-[]{}!&*?|>'\"#%@`,~ \n", ": ", "- ", "\n  ", "!!", "<<: ", "---\n", "é"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=25).map("".join))
def test_any_text_is_a_map_or_a_clear_error(tmp_path: Path, text: str) -> None:
    try:
        found = read_speaker_map(saved(tmp_path, "map.yaml", text))
    except ErcError as error:
        assert error.hint
        return
    assert found.names
    assert all(isinstance(name, str) for pair in found.names.items() for name in pair)
