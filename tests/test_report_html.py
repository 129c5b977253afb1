"""The report in a real browser: it opens from disk, plays, filters, sorts, prints, and asks no network."""

from __future__ import annotations

import base64
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import ROOT
from reportkit import IEMOCAP, MELD, Page, browser, made

import erc_format_html
from erc_cli.emotion_colours import mark_of
from erc_cli.types import Modality, Result

WRITER = erc_format_html.erc_writers()[0]
TALK = ROOT / "examples" / "conversation.mp4"
EVIL = (
    "</script><script>window.hurt=1</script><img src=x onerror='window.hurt=1'><!-- \u2028\u2029 & \"quoted\""
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as made_page:
        yield made_page


@pytest.fixture(scope="module")
def talk() -> Result:
    """The example's utterances as they are said in its recording, with answers made up."""
    times = [
        (0.45, 3.7),
        (4.15, 7.53),
        (7.97, 10.75),
        (11.2, 13.56),
        (14.0, 16.4),
        (16.85, 21.85),
        (22.3, 23.9),
    ]
    rows = made(len(times), media=TALK)
    said = [replace(u, start=start, end=end) for (start, end), u in zip(times, rows.utterances, strict=True)]
    assert rows.media is not None
    return replace(rows, utterances=tuple(said), media=replace(rows.media, duration=28.6))


def write(result: Result, path: Path, **options: Any) -> Path:
    WRITER.write(result, path, **options)
    return path


# --- opening ---------------------------------------------------------------------------------


def test_it_opens_from_disk_without_a_word_or_a_request(page: Page, talk: Result, tmp_path: Path) -> None:
    path = write(talk, tmp_path / "talk.html")
    page.open(path)
    page.until("return document.querySelector('#player').readyState >= 1")
    assert page.complaints() == []
    assert {url.partition("?")[0] for url in page.requests()} == {path.as_uri(), TALK.as_uri()}
    assert page.one("h1").text == "conversation.mp4"
    assert page.one("[role=note]").text.startswith("The emotion that each utterance expresses")
    assert len(page.rows()) == 7


def test_its_policy_lets_nothing_out(page: Page, talk: Result, tmp_path: Path) -> None:
    """A server that would answer hears nothing, whatever a script tries."""
    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

    page.open(write(talk, tmp_path / "talk.html"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        tried = "return fetch(arguments[0]).then(() => 'out', (error) => error.name)"
        assert page.run(tried, address) == "TypeError"
        for tag in ("img", "script", "iframe", "video", "link"):
            page.run(
                "const made = document.createElement(arguments[0]); made.rel = 'stylesheet';"
                "made.href = made.src = arguments[1]; document.body.append(made)",
                tag,
                address,
            )
        page.run(
            "const made = document.createElement('script'); made.textContent = 'window.hurt = 1';"
            "document.body.append(made)"
        )
        time.sleep(0.5)
        server.shutdown()
    assert heard == []
    assert page.run("return window.hurt") is None
    assert any("Content Security Policy" in words for words in page.complaints())


VARIANTS: dict[str, dict[str, Any]] = {
    "no recording": {},
    "no face": {"modalities": (Modality.TEXT, Modality.AUDIO)},
    "text only": {"modalities": (Modality.TEXT,)},
    "nothing to judge by": {"modalities": ()},
    "one utterance": {"count": 1},
    "no utterance": {"count": 0},
    "40 speakers": {"count": 200, "speakers": [f"Person {i}" for i in range(40)]},
    "long names": {"speakers": ["N" * 200, "name " * 40, None]},
    "IEMOCAP": {"labels": IEMOCAP},
    "28 labels": {"labels": [f"feeling {chr(97 + i % 26)}{i}" for i in range(28)], "count": 60},
    "no words": {"words": lambda i: ""},
    "other scripts": {"words": lambda i: "שלום עולם 你好 🙂" * 20, "speakers": ["ليلى", "𝔘𝔫𝔦"]},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("width", [1360, 390])
def test_whatever_the_result_is_like(page: Page, tmp_path: Path, name: str, width: int) -> None:
    settings = {"count": 8, **VARIANTS[name]}
    result = made(settings.pop("count"), **settings)
    page.open(write(result, tmp_path / "r.html"), width=width)
    assert page.complaints() == []
    assert page.run("return document.documentElement.scrollWidth") <= width, "wider than the screen"
    count = len(result.utterances)
    assert page.one("#found").text == f"{count} utterance{'' if count == 1 else 's'}"
    assert len(page.rows()) == count or count > 8
    if count:
        page.press("\ue00c")  # Escape: no harm
        page.click("#after")
        assert page.chosen() == min(1, count - 1)
        for i in range(len(result.labels)):
            assert page.one(f".chip.e{i} b").text == mark_of(result.labels[i], result.labels)
    assert page.complaints() == []


def test_hostile_words_are_words(page: Page, tmp_path: Path) -> None:
    labels = ("neutral", EVIL)
    result = made(6, speakers=[EVIL, "Ben"], words=lambda i: EVIL, labels=labels)
    page.open(write(result, tmp_path / "r.html", title=EVIL))
    page.click("#after")
    assert page.run("return window.hurt") is None
    assert page.run("return document.images.length") == 0
    plain = EVIL.replace("\u2028", " ").replace("\u2029", " ")
    assert " ".join(page.one("h1").text.split()) == " ".join(plain.split())
    assert "</script><script>" in page.one("#detail blockquote").text
    assert "</script><script>" in page.rows()[0][1]
    assert page.complaints() == []


# --- playing ---------------------------------------------------------------------------------


def test_a_click_on_a_row_plays_that_utterance_to_its_end(page: Page, talk: Result, tmp_path: Path) -> None:
    page.open(write(talk, tmp_path / "talk.html"))
    page.click("#row-6 .c-text")
    page.until("const p = document.querySelector('#player'); return !p.paused && p.currentTime >= 22.3")
    assert page.chosen() == 6
    assert page.one("#play").text == "Pause"
    page.until("return document.querySelector('#player').paused")
    assert page.run("return document.querySelector('#player').currentTime") == pytest.approx(23.9, abs=0.6)
    assert page.chosen() == 6
    assert page.complaints() == []


def test_a_click_on_the_timeline_seeks(page: Page, talk: Result, tmp_path: Path) -> None:
    page.open(write(talk, tmp_path / "talk.html"))
    frame = page.run(
        "const r = document.querySelector('#pane').getBoundingClientRect(); return [r.x, r.y, r.width]"
    )
    scale = (frame[2] - 130 - 10) / 28.6
    place = {"x": round(frame[0] + 130 + 12.4 * scale), "y": round(frame[1] + 22 + 38 + 30)}
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(page.driver)
    chain.w3c_actions.pointer_action.move_to_location(**place)
    chain.perform()
    assert "0:11.2" in page.one("#tip").text
    chain.w3c_actions.pointer_action.click()
    chain.perform()
    page.until("return document.querySelector('#player').currentTime >= 11.2")
    assert page.chosen() == 3


def test_the_current_utterance_follows_the_recording(page: Page, talk: Result, tmp_path: Path) -> None:
    page.open(write(talk, tmp_path / "talk.html"))
    page.click("#stop")
    page.click("#play")
    page.until("return !document.querySelector('#player').paused")
    page.run("document.querySelector('#player').currentTime = 16.0")
    page.until(
        "return document.querySelector('#row-5').classList.contains('chosen')"
    )  # plays on into the next
    assert page.chosen() == 5
    head = page.run("return document.querySelector('#head').hidden")
    assert head is False
    page.click("#play")


def test_an_embedded_recording_plays_from_the_page_alone(page: Page, talk: Result, tmp_path: Path) -> None:
    path = write(talk, tmp_path / "talk.html", embed=True)
    page.open(path)
    page.until("return document.querySelector('#player').readyState >= 1")
    assert page.run("return document.querySelector('#player').src").startswith("blob:")
    page.click("#row-4 .c-text")
    page.until("return document.querySelector('#player').currentTime >= 14")
    assert page.complaints() == []
    assert page.requests() == [path.as_uri()]


def test_a_recording_that_is_not_there_can_be_chosen(page: Page, talk: Result, tmp_path: Path) -> None:
    moved = tmp_path / "lost & found #1.mp4"
    shutil.copy(TALK, moved)
    document = made(3, media=moved)
    path = write(document, tmp_path / "talk.html")
    page.open(path)
    page.until("return document.querySelector('#player').readyState >= 1")  # the odd name is found
    moved.rename(tmp_path / "else.mp4")
    page.open(path)
    page.until("return !document.querySelector('#lost').hidden")
    assert "lost & found #1.mp4" in page.one("#lost-words").text
    page.one("#pick").send_keys(str(tmp_path / "else.mp4"))
    page.until(
        "return document.querySelector('#player').readyState >= 1 && document.querySelector('#lost').hidden"
    )


# --- finding ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def five_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["Anna", "Ben", "Cleo", "Dan", None]
    result = made(5000, speakers=names)
    return write(result, tmp_path_factory.mktemp("big") / "big.html")


def test_filters_by_words_speaker_emotion_and_confidence(page: Page, tmp_path: Path) -> None:
    result = made(60)
    page.open(write(result, tmp_path / "r.html"))
    pairs = list(zip(result.utterances, result.predictions, strict=True))

    def count() -> int:
        return int(page.one("#found").text.partition(" of ")[0].partition(" ")[0])

    page.press("/", "house rain")
    assert page.run("return document.activeElement.id") == "words"
    assert count() == sum("house" in said.text and "rain" in said.text for said, _ in pairs)
    page.press("\ue00c")  # Escape
    assert page.one("#found").text == "60 utterances"
    assert page.run("return document.activeElement.id") == "table"
    page.run("const w = document.querySelector('#who'); w.value = '1'; w.dispatchEvent(new Event('change'))")
    assert count() == 30
    page.click(".chip.e4")
    joyful = [said for said, found in pairs if said.speaker == "Ben" and found.best == 4]
    assert count() == len(joyful)
    assert page.one(".chip.e4").get_attribute("aria-pressed") == "true"
    assert [row[1] for row in page.rows()] == ["Ben"] * len(joyful)
    page.click("#show-all")
    page.run("const r = document.querySelector('#least'); r.value = 60; r.dispatchEvent(new Event('input'))")
    assert count() == sum(round(found.confidence * 1000) >= 600 for _, found in pairs)
    page.press("/", "nobody says this")
    assert page.one("#none").text == "No utterance is like that. Press Esc to show all."


def test_sorting(page: Page, tmp_path: Path) -> None:
    result = made(15)
    page.open(write(result, tmp_path / "r.html"))
    page.click(".c-sure .sort")
    sure = [int(row[4].removesuffix(" %")) for row in page.rows()]
    assert sure == sorted(sure, reverse=True)
    assert page.one(".titles .c-sure").get_attribute("aria-sort") == "descending"
    page.click(".c-sure .sort")
    assert [int(row[4].removesuffix(" %")) for row in page.rows()] == sorted(sure)
    page.click(".c-text .sort")
    words = [row[2] for row in page.rows()]
    assert words == sorted(words)
    page.click("[data-key=visual] .sort")
    assert page.rows()[-1][-1] == "no face visible"  # what did not contribute comes last


def test_the_keyboard_is_enough(page: Page, talk: Result, tmp_path: Path) -> None:
    page.open(write(talk, tmp_path / "talk.html"))
    right, left, down, enter, tab = "\ue014", "\ue012", "\ue015", "\ue007", "\ue004"
    page.press(right, right, left)
    assert page.chosen() == 1
    page.until("return Math.abs(document.querySelector('#player').currentTime - 4.15) < 0.2")
    page.press(" ")
    page.until("return !document.querySelector('#player').paused")
    page.press(" ")
    page.until("return document.querySelector('#player').paused")
    page.press("?")
    assert page.one("#keys").is_displayed()
    page.press("\ue00c")
    assert not page.one("#keys").is_displayed()
    seen = []
    for _ in range(40):  # everything is reached, and what has the focus shows it
        page.press(tab)
        seen.append(page.run("return document.activeElement.id"))
        if seen[-1] == "table":
            break
    assert {"player", "play", "words", "who", "least", "timeline", "table"} <= set(seen)
    assert page.run("return getComputedStyle(document.querySelector('#table')).outlineStyle") == "solid"
    page.press(down, down)
    assert page.chosen() == 3
    assert page.one("#table").get_attribute("aria-activedescendant") == "row-3"
    page.press("\ue010")  # End
    assert page.chosen() == 6
    page.press(enter)
    page.until("return document.querySelector('#player').currentTime >= 22.3")


# --- large -----------------------------------------------------------------------------------


def test_5000_utterances_fit_and_few_are_in_the_page(page: Page, five_thousand: Path) -> None:
    assert five_thousand.stat().st_size < 3e6
    page.open(five_thousand)
    assert page.complaints() == []
    assert page.one("#found").text == "5,000 utterances"
    assert page.run("return document.querySelectorAll('#rows .row').length") < 60
    page.run("document.querySelector('#table').scrollTop = 1e9")
    page.until("return document.querySelector('#row-4999')")
    assert page.run("return document.querySelectorAll('#rows .row').length") < 60
    for _ in range(6):
        page.click("#zoom-in")
    page.run("document.querySelector('#pane').scrollLeft = 1e9")
    page.press("/", "house", "\ue007")
    shown = page.one("#found").text
    assert re.fullmatch(r"[\d,]+ of 5,000 utterances", shown)
    assert all("house" in row[2] for row in page.rows())
    assert page.complaints() == []


# --- looks -----------------------------------------------------------------------------------


def light(page: Page) -> bool:
    colour = page.run("return getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) > 380


def test_dark_and_light(page: Page, talk: Result, tmp_path: Path) -> None:
    path = write(talk, tmp_path / "talk.html")
    page.open(path)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.until("return document.querySelector('#theme').getAttribute('aria-pressed') === 'true'")
    assert not light(page)
    page.click("#theme")
    assert light(page)
    page.open(path)
    assert light(page), "the choice is kept"
    page.run("localStorage.clear()")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_paper_has_every_row_in_light_colours(page: Page, tmp_path: Path) -> None:
    page.open(write(made(120), tmp_path / "r.html"))
    page.click("#theme")
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("return document.querySelectorAll('#rows .row').length") == 120
    pen = "document.querySelector('#lanes').getContext('2d')"
    corner = f"return [...{pen}.getImageData(4, 4, 1, 1).data]"
    assert page.run(corner)[:3] == [255, 255, 255]
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run("return document.querySelectorAll('#rows .row').length") < 60
    assert page.run(corner)[0] < 60
    paper = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 4
    page.run("localStorage.clear()")


def test_every_emotion_has_a_letter_beside_its_colour(page: Page, talk: Result, tmp_path: Path) -> None:
    page.open(write(talk, tmp_path / "talk.html"))
    marks = page.run("return [...document.querySelectorAll('.chip b')].map((b) => b.textContent)")
    assert len(set(marks)) == len(MELD)
    assert page.run("return document.querySelectorAll('.c-side[aria-label]').length") == 3 * 7 - 2
    assert page.one("#row-0 .c-side:last-child").text == "no face visible"
