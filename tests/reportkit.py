"""Results made up for the report's tests, and a browser to look at them with."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from erc_cli.types import (
    MediaInfo,
    Modality,
    Notice,
    Opinion,
    Prediction,
    Result,
    Status,
    Transcript,
    Utterance,
)

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
WORDS = (
    "well",
    "what",
    "did",
    "you",
    "say",
    "about",
    "the",
    "house",
    "we",
    "saw",
    "in",
    "rain",
    "my",
    "dear",
)
#: what Chromium does on its own account is switched off, so that requests are the page's
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def made(
    count: int,
    *,
    speakers: Sequence[str | None] = ("Anna", "Ben"),
    labels: Sequence[str] = MELD,
    modalities: Sequence[Modality] = tuple(Modality),
    media: Path | None = None,
    words: Callable[[int], str] | None = None,
) -> Result:
    """A conversation of so many utterances, always the same one; every fifth face is not to be seen."""
    dice = random.Random(7)
    said, found, now = [], [], 0.0
    for i in range(count):
        end = now + dice.uniform(0.8, 4)
        text = words(i) if words else " ".join(dice.choices(WORDS, k=dice.randint(2, 14)))
        said.append(Utterance(now, end, text, speakers[i % len(speakers)]))
        opinions = {m: Opinion(Status.OK, _shares(dice, labels), dice.gauss(0.5, 1)) for m in modalities}
        if i % 5 == 0 and Modality.VISUAL in opinions:
            opinions[Modality.VISUAL] = Opinion(Status.NO_FACE)
        found.append(Prediction(_shares(dice, labels), opinions))
        now = end + dice.uniform(0, 0.5)
    info = None if media is None else MediaInfo(media, "0" * 64, now or 1.0, True, True)
    meta = {"erc": "0.1.0", "preset": "default", "created": "2026-11-21T12:00:00+00:00", "device": "cpu"}
    script = Transcript(tuple(said), "srt", path=Path("talk.srt"))
    told = (Notice("cue_times", "The cue at 0:03 was lengthened.", 12),)
    return Result(tuple(labels), tuple(said), tuple(found), info, script, told, meta)


def _shares(dice: random.Random, labels: Sequence[str]) -> tuple[float, ...]:
    weights = [dice.gammavariate(0.4, 1) + 1e-4 for _ in labels]
    return tuple(weight / sum(weights) for weight in weights)


class Page:
    """A page in the browser: what a reader sees and does."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1360, height: int = 900) -> None:
        """Load the page from disk and wait until it can be used."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.forget()
        self.driver.get(path.resolve().as_uri())
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def forget(self) -> None:
        """Leave behind what was logged so far, and what the last page kept."""
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)

    def run(self, script: str, *arguments: object) -> Any:
        """The answer of a script."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: object, seconds: float = 30) -> Any:
        """The first true answer of a script."""
        end = time.monotonic() + seconds
        while not (answer := self.run(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.03)
        return answer

    def click(self, css: str) -> None:
        """A click as a hand makes it."""
        self.one(css).click()

    def one(self, css: str) -> Any:
        """The one element."""
        return self.driver.find_element("css selector", css)

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def rows(self) -> list[list[str]]:
        """The words of the cells of the rows in the page, from the top."""
        return self.run(
            "return [...document.querySelectorAll('#rows .row')].filter((row) => !row.hidden)"
            ".sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))"
            ".map((row) => [...row.children].map((cell) => cell.innerText.trim()))"
        )

    def chosen(self) -> int:
        """The number of the utterance whose card is shown, from 0."""
        where = self.one("#detail .where").text
        return int(where.rpartition("· ")[2].partition(" of ")[0].replace(",", "")) - 1

    def complaints(self) -> list[str]:
        """What the console was told: errors, warnings, words."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What the page asked for, without what it had in itself."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("blob:", "data:", "about:"))]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Chromium with a profile of its own in `folder`; skips where there is none."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install selenium)")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs a browser: chromium, chromium-browser or google-chrome")
    driver_program = shutil.which("chromedriver")
    if driver_program is None:
        pytest.skip("needs chromedriver (Debian: chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(driver_program))
    try:
        yield Page(driver)
    finally:
        driver.quit()
