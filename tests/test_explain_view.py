"""Explanations as people see them: words and their marks, the table, and `erc explain` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, Erc, needs
from test_explain import LABELS, talk

from erc_cli.explain_view import explained_table, marked
from erc_cli.explain_words import marks, silenced, strength, without_word, words_of
from erc_cli.types import Explanation, Prediction, Result, Transcript, Utterance, WordChange

# --- words and marks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("There's nothing to tell!", ["There's", "nothing", "to", "tell!"]),
        (" \n a\tb ", ["a", "b"]),
        ("", []),
        ("你好 world", ["你", "好", "world"]),
        ("はがき", ["は", "が", "き"]),
        ("no 😀👩‍👩‍👧 e\u0301t", ["no", "😀👩‍👩‍👧", "e\u0301t"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in words_of(text)] == words


def test_a_word_goes_with_the_blank_before_it() -> None:
    said = Utterance(0, 1, "one two  three", "Anna")
    left = [without_word(said, word).text for word in words_of(said.text)]
    assert left == ["two  three", "one  three", "one two"]
    assert silenced(said) == Utterance(0, 1, "", None)


def test_strength_and_marks() -> None:
    values = (0.0, 0.09, 0.1, 0.5, -0.1, -2.0)
    assert [strength(value) for value in values] == [0, 0, 1, 2, -1, -2]
    assert [marks(value) for value in values] == ["", "", "+", "++", "-", "--"]


def shown(result: Result, width: int) -> str:
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(explained_table(result, width))
    return capture.get()


def made() -> Result:
    conversation = talk("Oh no, stop it", "你好 :-)", "")
    why = Explanation(
        (), (WordChange("Oh", 0, 2, -0.3), WordChange("no,", 3, 6, 1.5), WordChange("stop", 7, 11, 0.01))
    )
    found = tuple(Prediction((0.3, 0.7), {}, one) for one in (why, Explanation((), ()), None))
    return Result(
        LABELS, conversation.utterances, found, None, Transcript(conversation.utterances, "srt"), (), {}
    )


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_the_table_marks_words_without_colours(width: int) -> None:
    text = shown(made(), width)
    assert "Oh- no,++ stop it" in " ".join(text.split()) or width == 40
    assert "你好" in text
    assert max(map(len, text.splitlines())) <= width
    assert " 3 " not in text, "what is not explained is not shown"


def test_marked_words_are_coloured_by_sign_and_strength() -> None:
    result = made()
    why = result.predictions[0].explanation
    assert why is not None
    text = marked(result.utterances[0], why)
    assert text.plain == "Oh- no,++ stop it"
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert styles["Oh-"] != styles["no,++"]
    assert "bold" in styles["no,++"]


def test_the_command_end_to_end(erc: Erc, tmp_path: Path) -> None:
    needs("text", "transformers", "tokenizers")
    script = ROOT / "examples" / "conversation.srt"
    page, saved = tmp_path / "a.html", tmp_path / "a.json"
    done = erc("explain", "-t", script, "-p", "text-only", "-u", "2,4-5", "-o", saved, "-o", page, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads(saved.read_text()) == document
    assert [("explanation" in one) for one in document["utterances"]] == [
        False,
        True,
        False,
        True,
        True,
        *[False] * 3,
    ]
    fear = document["utterances"][3]
    words = {one["text"]: one["change"] for one in fear["explanation"]["words"]}
    assert max(words, key=words.__getitem__) == "scared."
    for one in fear["explanation"]["words"]:
        assert fear["text"][one["start"] : one["end"]] == one["text"]
    assert '"why":' in page.read_text()
    table = erc("explain", "-t", script, "-p", "text-only", "-u", "4", "--no-words")
    assert "I'm scared. What if" in " ".join(table.stdout.split())
    assert "before" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--utterance", "9"), "there are 8"),
        (("--utterance", "0"), "expected numbers"),
        (("--utterance", "3-1"), "expected numbers"),
        (("--utterance", "joy"), "expected numbers"),
        (("-o", "a.xyz"), "no result format"),
    ],
)
def test_wrong_use_says_what_to_type(erc: Erc, arguments: tuple[str, ...], words: str) -> None:
    script = ROOT / "examples" / "conversation.srt"
    done = erc("explain", "-t", script, "-p", "text-only", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_explain(erc: Erc) -> None:
    done = erc("explain")
    assert done.returncode == 2
    assert "erc explain video.mp4" in done.stderr
