"""`--min-confidence`: `uncertain` instead of a label that is not probable enough, in every output alike."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import certaintykit
import numpy as np
import pytest
from certaintykit import MEDIA, SAID, check
from conftest import Erc
from reportkit import Page, browser
from rich.console import Console

from erc_cli import LoadedPreset, Result, UsageError, predict, view
from erc_cli.emotion_colours import GREY, colour_of
from erc_cli.live_view import TableRows
from erc_cli.prediction import Wanted, choose, load
from erc_cli.registry import load_registry
from erc_cli.result import to_dict
from erc_cli.result_read import result_from
from erc_cli.transcripts import read_transcript
from erc_cli.types import UNCERTAIN, Modality

# fixtures: the example's result without a limit, the limit, the labels wanted with it, what the command made
model, plain, least, wanted = certaintykit.model, certaintykit.plain, certaintykit.least, certaintykit.wanted
run, folder, unsure = certaintykit.run, certaintykit.folder, certaintykit.unsure


# --- the document ----------------------------------------------------------------------------


def test_the_fixture_has_some_of_both(wanted: list[str]) -> None:
    assert wanted.count(UNCERTAIN) == 3
    assert len(wanted) == 8


def test_the_json_differs_in_the_label_alone(
    folder: Path, plain: Result, wanted: list[str], least: float
) -> None:
    document, before = json.loads((folder / "talk.json").read_text(encoding="utf-8")), to_dict(plain)
    check(document)
    assert document["meta"]["min_confidence"] == least
    assert "min_confidence" not in before["meta"]
    assert document["labels"] == before["labels"]
    for row, other, label in zip(document["utterances"], before["utterances"], wanted, strict=True):
        assert row["label"] == label
        assert row.pop("most_probable", other["label"]) == other["label"]
        assert {**row, "label": ""} == {**other, "label": ""}
        assert row["confidence"] == max(row["probabilities"].values())
    rows = [json.loads(line) for line in (folder / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["label"] for row in rows] == wanted
    assert [i for i, row in enumerate(rows) if "most_probable" in row] == [
        i for i, label in enumerate(wanted) if label == UNCERTAIN
    ]
    counts: Counter[str] = Counter()
    for speaker in document["speakers"]:
        counts.update(speaker["labels"])
        assert list(speaker["labels"]).index(UNCERTAIN) == len(speaker["labels"]) - 1 or (
            UNCERTAIN not in speaker["labels"]
        )
    assert counts == Counter(wanted)


@pytest.mark.parametrize(
    ("key", "value"), [("min_confidence", 0), ("min_confidence", 1.5), ("min_confidence", "0.6")]
)
def test_the_schema_refuses(plain: Result, key: str, value: object) -> None:
    document = to_dict(replace(plain, min_confidence=0.6))
    check(document)
    document["meta"][key] = value
    with pytest.raises(Exception, match=str(value)):
        check(document)


def test_it_comes_back_from_json(unsure: Result, plain: Result, wanted: list[str], least: float) -> None:
    assert unsure.min_confidence == least
    assert "min_confidence" not in unsure.meta
    assert [unsure.label(found) for found in unsure.predictions] == wanted
    assert [found.best for found in unsure.predictions] == [found.best for found in plain.predictions]
    again = result_from(json.loads(unsure.to_json()), "it")
    assert [again.label(found) for found in again.predictions] == wanted
    without = to_dict(replace(again, min_confidence=0.0))
    assert "min_confidence" not in without["meta"]
    assert UNCERTAIN not in {row["label"] for row in without["utterances"]}


def test_an_answer_that_has_just_the_least_probability_has_a_label(plain: Result) -> None:
    """Also after a round, in which shares are divided by their sum again."""
    for found in plain.predictions:
        result = replace(plain, min_confidence=found.confidence)
        for _ in range(3):
            answers = zip(result.predictions, plain.predictions, strict=True)
            same = next(one for one, other in answers if other is found)
            assert result.label(same) == plain.label(found)
            result = result_from(json.loads(result.to_json()), "it")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"min_confidence": 1.5}, "meta.min_confidence is 1.5, expected a probability from 0 to 1"),
        ({"min_confidence": -1}, "meta.min_confidence is -1"),
        ({"min_confidence": "0.6"}, "meta.min_confidence is '0.6', expected a number"),
    ],
)
def test_a_damaged_limit_is_named(plain: Result, change: dict[str, object], words: str) -> None:
    document = to_dict(plain)
    document["meta"].update(change)
    with pytest.raises(UsageError) as caught:
        result_from(document, "it")
    assert words in caught.value.message


def test_a_document_whose_uncertain_means_two_things_is_refused(plain: Result) -> None:
    odd = replace(plain, labels=(*plain.labels[:-1], UNCERTAIN))
    assert result_from(to_dict(odd), "it").labels == odd.labels
    with pytest.raises(UsageError, match="another meaning"):
        result_from(to_dict(replace(odd, min_confidence=0.5)), "it")


# --- the other formats -----------------------------------------------------------------------


def test_tables(folder: Path, plain: Result, wanted: list[str], tmp_path: Path) -> None:
    plain.save(tmp_path / "plain.csv")
    with (folder / "talk.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "plain.csv").open(encoding="utf-8", newline="") as file:
        before = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == wanted
    assert [{**row, "label": ""} for row in rows] == [{**row, "label": ""} for row in before]


def test_parquet(folder: Path, wanted: list[str], least: float) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (pip install 'erc-cli[parquet]')")
    table = parquet.read_table(folder / "talk.parquet")
    assert table["label"].to_pylist() == wanted
    assert f"p_{UNCERTAIN}" not in table.column_names
    assert json.loads(table.schema.metadata[b"erc"])["meta"]["min_confidence"] == least


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(unsure: Result, wanted: list[str], library: Any) -> None:
    pytest.importorskip(library, reason=f"needs {library} (pip install 'erc-cli[{library}]')")
    frame = unsure.to_frame(library)
    assert list(frame["label"]) == wanted
    assert f"p_{UNCERTAIN}" not in frame.columns
    whole = replace(unsure, min_confidence=0.0).to_frame(library)
    assert UNCERTAIN not in set(whole["label"])


@pytest.mark.parametrize("ending", [".srt", ".vtt", ".ass"])
def test_subtitles(folder: Path, plain: Result, wanted: list[str], ending: str) -> None:
    text = (folder / f"talk{ending}").read_text(encoding="utf-8")
    shown = re.findall(rf"\[({'|'.join(plain.labels)}|{UNCERTAIN})(?: (\d+)%)?\]", text)
    sure = [f"{round(100 * found.confidence)}" for found in plain.predictions]
    pairs = zip(wanted, sure, strict=True)
    assert shown == [(label, "" if label == UNCERTAIN else share) for label, share in pairs]
    if ending == ".vtt":
        assert re.findall(r"<c\.emotion\.(\w+)>", text) == wanted
        assert f"::cue(.{UNCERTAIN}) {{ color: #ffffff; background-color: {GREY}; }}" in text
    elif ending == ".srt":
        colours = [colour_of(label, plain.labels) for label in wanted]
        assert re.findall(r'<font color="(#\w+)">', text) == colours
        assert colours.count(GREY) == 3
    else:
        assert re.findall(r"^Dialogue: [^,]*,[^,]*,[^,]*,(\w+),", text, re.MULTILINE) == wanted
    readers = load_registry().readers
    again = read_transcript(folder / f"talk{ending}", readers)
    assert [said.text for said in again.utterances] == [said.text for said in plain.utterances]


def test_elan(folder: Path, wanted: list[str], plain: Result) -> None:
    root = ElementTree.parse(folder / "talk.eaf").getroot()
    found = {}
    for tier in root.iterfind("TIER[@LINGUISTIC_TYPE_REF='erc-emotion']"):
        for one in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            found[one.get("ANNOTATION_REF")] = one.findtext("ANNOTATION_VALUE")
    assert [found[f"a{i + 1}"] for i in range(len(wanted))] == wanted
    words = [one.text for one in root.iterfind("CONTROLLED_VOCABULARY/CV_ENTRY_ML/CVE_VALUE")]
    assert words == [*plain.labels, UNCERTAIN]


def test_praat(folder: Path, wanted: list[str]) -> None:
    text = (folder / "talk.TextGrid").read_text(encoding="utf-8")
    tiers = re.split(r"item \[\d+\]:", text)
    emotions = [tier for tier in tiers if re.search(r'name = ".* emotion"', tier)]
    found = re.findall(r'xmin = (\S+)\s+xmax = \S+\s+text = "(\w+)"', "".join(emotions))
    assert [label for _, label in sorted(found, key=lambda one: float(one[0]))] == wanted


def test_rttm(folder: Path, wanted: list[str]) -> None:
    lines = (folder / "talk.rttm").read_text(encoding="utf-8").splitlines()
    assert [line.split()[5] for line in lines if line.startswith("NON-LEX")] == wanted


def test_the_annotated_video_has_the_grey_badge(unsure: Result, wanted: list[str]) -> None:
    pytest.importorskip("PIL", reason="needs pillow (pip install 'erc-cli[video]')")
    pytest.importorskip("matplotlib", reason="needs matplotlib (pip install 'erc-cli[video]')")
    from erc_format_video.scene import Screen, colour, patches

    grey = colour(UNCERTAIN, unsure.labels)
    assert f"#{grey[0]:02x}{grey[1]:02x}{grey[2]:02x}" == GREY
    for i, label in enumerate(wanted):
        panel = patches(unsure, [i], Screen(640, 360))[0].rgba
        assert bool((panel == np.array(grey, np.uint8)).all(-1).any()) is (label == UNCERTAIN)


def test_the_timeline_as_a_picture(unsure: Result, wanted: list[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (pip install 'erc-cli[report]')")
    from matplotlib.colors import to_hex

    from erc_cli.timeline_png import timeline_figure

    figure = timeline_figure(unsure)
    boxes = [to_hex(colour) for colour in figure.axes[0].collections[0].get_facecolor()]
    assert boxes == [colour_of(label, unsure.labels) for label in wanted]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[-1] == "U  uncertain (3)"
    assert len(words) == len(unsure.labels) + 1


def test_the_notebook(unsure: Result, wanted: list[str]) -> None:
    assert "uncertain 3" in repr(unsure)
    rows = re.findall(r'<span style="color:(#\w+)">&#9632;</span> (\w+)</td>', unsure._repr_html_())
    assert rows == [(colour_of(label, unsure.labels), label) for label in wanted]


# --- the terminal ----------------------------------------------------------------------------


def shown(console: Console, *parts: object) -> str:
    with console.capture() as capture:
        console.print(*parts)
    return capture.get()


@pytest.mark.parametrize("width", [60, 120])
def test_the_table_on_the_terminal(unsure: Result, wanted: list[str], width: int) -> None:
    console = Console(width=width, color_system=None)
    lines = shown(console, view.result_table(unsure, width))
    shares = [
        f"{label} {found.confidence:.0%}" for label, found in zip(wanted, unsure.predictions, strict=True)
    ]
    sure = [share for share in shares if not share.startswith(UNCERTAIN)]
    assert re.findall(rf"\b(?:{'|'.join(unsure.labels)}) \d+%", lines) == sure
    assert lines.count(UNCERTAIN) == wanted.count(UNCERTAIN) == 3
    assert not re.search(r"uncertain +\d", lines)
    speakers = shown(console, view.speakers_table(unsure, width))
    assert sum(map(int, re.findall(r"uncertain (\d)", speakers))) == 3


def test_uncertain_is_not_in_the_colour_of_an_emotion(unsure: Result) -> None:
    styles = {str(view.emotion(p, unsure.labels, unsure.min_confidence).style) for p in unsure.predictions}
    assert view.GREY in styles
    assert not any(view.GREY.split()[-1] in colour for colour in view.COLOURS)


def test_rows_that_come_one_by_one(unsure: Result, wanted: list[str]) -> None:
    console = Console(width=100, color_system=None)
    rows = TableRows(console, unsure.utterances, unsure.labels, tuple(Modality), unsure.min_confidence)
    with console.capture() as capture:
        for i, found in enumerate(unsure.predictions):
            rows(i, [found])
    sure, unknown = rf"({'|'.join(unsure.labels)}) \d+%", "(uncertain)"
    found = re.findall(rf"\b(?:{sure}|{unknown})", capture.get())
    assert [label or other for label, other in found] == wanted


def test_what_the_command_says(
    run: tuple[subprocess.CompletedProcess[str], Path], least: float, wanted: list[str]
) -> None:
    done, _ = run
    line = f"3 of 8 utterances are uncertain: no emotion has a probability of {least:g} or more"
    told = [text for text in done.stderr.splitlines() if " uncertain" in text]
    assert told == [f"{line} (--min-confidence)."]
    assert len(re.findall(r"\buncertain\b(?! +\d)", done.stdout)) == 3  # with a number: counts of speakers
    assert not re.search(r"uncertain \d+%", done.stdout)


# --- the page --------------------------------------------------------------------------------


def test_the_page_of_a_saved_result_is_that_of_the_command(
    erc: Erc, folder: Path, tmp_path: Path, wanted: list[str]
) -> None:
    pytest.importorskip("jinja2", reason="needs jinja2 (pip install 'erc-cli[report]')")
    page = tmp_path / "again.html"
    done = erc("report", folder / "talk.json", "-o", page, "--media", MEDIA)
    assert done.returncode == 0, done.stderr
    data = []
    for path in (folder / "talk.html", page):
        text = path.read_text(encoding="utf-8")
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
        assert found is not None
        data.append({**json.loads(found[1]), "media": None})
        assert "where no emotion has a probability of at least" in text
    assert data[0] == data[1]
    assert data[0]["labels"][-1] == UNCERTAIN
    assert data[0]["colours"][-1] == GREY
    assert data[0]["uncertain"] == [i for i, label in enumerate(wanted) if label == UNCERTAIN]


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    pytest.importorskip("jinja2", reason="needs jinja2 (pip install 'erc-cli[report]')")
    with browser(tmp_path_factory.mktemp("browser")) as made:
        made.open(folder / "talk.html")
        yield made


def test_the_page_in_a_browser(page: Page, unsure: Result, wanted: list[str]) -> None:
    assert page.complaints() == []
    rows = page.rows()
    assert [row[3].split()[-1] for row in rows] == wanted
    sure = [f"{100 * found.confidence:.0f} %" for found in unsure.predictions]
    assert [row[4] for row in rows] == sure
    places = [i for i, label in enumerate(wanted) if label == UNCERTAIN]
    page.run("document.querySelector(`#row-${arguments[0]}`).click()", places[0])
    best = unsure.labels[unsure.predictions[places[0]].best]
    verdict = page.one("#detail .verdict").text
    assert verdict.split() == ["U", *f"uncertain (most probable: {best} {sure[places[0]]})".split()]
    assert page.one("#detail .figures tr.best th").text.split()[-1] == best
    assert len(page.run("return [...document.querySelectorAll('#detail .figures tbody tr')]")) == 7


def test_the_page_filters_counts_and_colours_what_is_uncertain(page: Page, wanted: list[str]) -> None:
    chips = page.run("return [...document.querySelectorAll('.chip')].map((one) => one.innerText)")
    assert [chip.split() for chip in chips][-1] == ["U", "uncertain", "3"]
    counts = Counter(wanted)
    assert [int(chip.split()[-1]) for chip in chips] == [counts[chip.split()[1]] for chip in chips]
    page.click(".chip:last-child")
    assert [row[3].split()[-1] for row in page.rows()] == [UNCERTAIN] * 3
    badge = "return getComputedStyle(document.querySelector('#rows .row .badge')).backgroundColor"
    assert page.run(badge) == f"rgb{tuple(int(GREY[i : i + 2], 16) for i in (1, 3, 5))}"
    page.click("#show-all")
    steps = page.run("return [...document.querySelectorAll('#turns tbody td')].map((one) => one.innerText)")
    assert sum(int(step) for step in steps if step.isdigit()) == len(wanted) - 1
    heads = page.run("return [...document.querySelectorAll('#turns thead th')].map((one) => one.innerText)")
    assert heads[-1].split() == ["U", "uncertain"]


# --- Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf, "0.6", None, True])
def test_so_it_is_in_python(model: LoadedPreset, value: Any) -> None:
    for preset in (model, "default"):
        with pytest.raises(UsageError, match="a probability from 0 to 1") as caught:
            predict(None, SAID, preset, min_confidence=value)
        assert "min_confidence=0.6" in (caught.value.hint or "")


def test_from_python(model: LoadedPreset, plain: Result, wanted: list[str], least: float) -> None:
    for limit in (least, np.float64(least)):
        result = predict(None, SAID, model, min_confidence=limit)
        assert (result.min_confidence, type(result.min_confidence)) == (least, float)
    assert predict(None, SAID, model).min_confidence == 0
    chosen = choose(Wanted("text-only", min_confidence=np.float32(0.5)), load_registry())  # type: ignore[arg-type]
    assert type(load(chosen, load_registry()).min_confidence) is float
    every = model.predict(None, SAID, min_confidence=1)
    assert [every.label(found) for found in every.predictions] == [UNCERTAIN]
    assert every.to_dict()["utterances"][0]["most_probable"] == "joy"
    told = replace(plain, min_confidence=least)
    assert [told.label(found) for found in told.predictions] == wanted
    assert told.shown_labels == (*plain.labels, UNCERTAIN)
    assert plain.shown_labels == plain.labels
