"""Explanations in files: JSON there and back, the schema, and the page in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT, needs
from reportkit import Page, browser, made

import erc_format_html
import erc_format_json
from erc_cli.errors import UsageError
from erc_cli.result import to_dict
from erc_cli.result_read import read_result, result_from
from erc_cli.types import ContextChange, Explanation, Result, WordChange

PAGE = erc_format_html.erc_writers()[0]
JSON = erc_format_json.erc_writers()[0]
SAID = "Oh 😀 no,\nthat <b>was</b> awful!"


def word(text: str, change: float) -> WordChange:
    start = SAID.index(text)
    return WordChange(text, start, start + len(text), change)


def explained() -> Result:
    """Six utterances; the second is explained with words, the third without, the last has none."""
    result = made(6, words=lambda i: SAID if i < 5 else "")
    words = (
        word("Oh", -0.3),
        word("no,", 0.04),
        word("that", 0.2),
        word("<b>was</b>", -0.9),
        word("awful!", 2.5),
    )
    found = list(result.predictions)
    found[1] = replace(
        found[1], explanation=Explanation((ContextChange(0, -0.7), ContextChange(2, 0.01)), words)
    )
    found[2] = replace(found[2], explanation=Explanation((ContextChange(1, 1.25),)))
    found[5] = replace(found[5], explanation=Explanation((), ()))
    return replace(result, predictions=tuple(found))


def test_a_result_comes_back_with_its_explanations(tmp_path: Path) -> None:
    result = explained()
    JSON.write(result, tmp_path / "r.json")
    again = read_result(tmp_path / "r.json")
    assert [p.explanation for p in again.predictions] == [p.explanation for p in result.predictions]


def test_the_schema_holds() -> None:
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    document = to_dict(explained())
    jsonschema.validate(document, schema)
    assert document["utterances"][1]["explanation"]["words"][4]["change"] == 2.5
    assert "words" not in document["utterances"][2]["explanation"]
    assert "explanation" not in document["utterances"][0]
    document["utterances"][1]["explanation"]["context"][0]["index"] = -1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda d: d.update(explanation=[]), "explanation is list"),
    "no context": (lambda d: d["explanation"].pop("context"), "explanation.context is missing"),
    "an index is text": (lambda d: d["explanation"]["context"][0].update(index="0"), "index is '0'"),
    "nobody there": (
        lambda d: d["explanation"]["context"][0].update(index=6),
        "names an utterance that is not",
    ),
    "a word beyond": (lambda d: d["explanation"]["words"][0].update(end=999), "has one outside the text"),
    "a word backwards": (lambda d: d["explanation"]["words"][0].update(start=2, end=1), "outside the text"),
    "a change is text": (lambda d: d["explanation"]["words"][0].update(change="?"), "expected a number"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name: str) -> None:
    spoil, words = DAMAGE[name]
    document = to_dict(explained())
    spoil(document["utterances"][1])
    with pytest.raises(UsageError, match="damaged result") as caught:
        result_from(document, "it")
    assert words in caught.value.message


# --- the page --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    needs("report", "jinja2")
    with browser(tmp_path_factory.mktemp("browser")) as made_page:
        yield made_page


@pytest.mark.parametrize("width", [1360, 390])
def test_the_card_shows_words_and_context(page: Page, tmp_path: Path, width: int) -> None:
    path = tmp_path / "r.html"
    PAGE.write(explained(), path)
    page.open(path, width=width)
    assert page.run("return document.querySelector('#detail .why')") is None, "the first is not explained"
    page.click("#after")
    assert page.one("#detail blockquote").text == "Oh− 😀 no,\nthat+ <b>was</b>−− awful!++"
    lists = page.one("#detail .why").text
    assert re.sub(r"\s+", " ", lists) == (
        "Words that matter +2.50 awful! −0.90 <b>was</b> −0.30 Oh +0.20 that "
        "Utterances around it −0.70 1 before: Oh 😀 no, that <b>was</b> awful!"
    )
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.complaints() == []


def test_signs_are_told_apart_without_colours(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    PAGE.write(explained(), path)
    page.open(path)
    page.click("#after")
    lines = page.run(
        "const marks = [...document.querySelectorAll('mark.word')];"
        "return marks.map((mark) => getComputedStyle(mark).borderBottomStyle)"
    )
    assert lines == ["dashed", "solid", "dashed", "solid"]
    for theme in ("light", "dark"):
        page.run("document.documentElement.dataset.theme = arguments[0]", theme)
        for mark in ("mark.for.strong", "mark.against.strong"):
            ink, paper = page.run(
                "const s = getComputedStyle(document.querySelector(arguments[0]));"
                "return [s.color, s.backgroundColor]",
                mark,
            )
            assert contrast(ink, paper) >= 4.5, (theme, mark)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two `rgb(r, g, b)`."""
    from erc_cli.emotion_colours import luminance

    def code(text: str) -> str:
        return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", text)[:3])

    low, high = sorted(luminance(code(text)) for text in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_keyboard_goes_to_a_neighbour_and_back(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    PAGE.write(explained(), path)
    page.open(path)
    page.click("#after")
    page.click("#after")
    assert "none moved" not in page.one("#detail .why").text
    page.run("document.querySelector('#detail button.go').focus()")
    page.press("\ue007")  # Enter
    assert page.chosen() == 1
    assert page.run("return document.activeElement.className") == "go"
    page.press("\ue007")
    assert page.chosen() == 0
    assert page.complaints() == []


def test_a_page_without_explanations_is_as_before(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    PAGE.write(made(3), path)
    assert '"why":' not in path.read_text()
    page.open(path)
    page.click("#after")
    assert page.run("return document.querySelectorAll('mark, .why').length") == 0
    assert page.complaints() == []
