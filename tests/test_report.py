"""The report without a browser: reading results back, links, what the page holds, the command."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Erc
from reportkit import MELD, made

import erc_format_html
import erc_format_json
from erc_cli.commands.predict import choose_writers
from erc_cli.errors import UsageError
from erc_cli.registry import load_registry
from erc_cli.result import to_dict
from erc_cli.result_read import read_result, result_from
from erc_cli.types import Modality, Result
from erc_format_html.data import as_script, page_data
from erc_format_html.medium import LARGEST, link

PAGE = erc_format_html.erc_writers()[0]
JSON = erc_format_json.erc_writers()[0]
TALK = ROOT / "examples" / "conversation.mp4"


def saved(result: Result, path: Path) -> Path:
    JSON.write(result, path)
    return path


# --- a result read back ----------------------------------------------------------------------


@pytest.mark.parametrize("media", [None, TALK])
def test_a_result_comes_back_as_it_was(tmp_path: Path, media: Path | None) -> None:
    result = made(20, media=media, speakers=("Anna", None))
    path = saved(result, tmp_path / "r.json")
    again = read_result(path)
    # shares are divided by their sum again, which may move a last digit
    rounded = re.compile(r"(\.\d{12})\d+")
    first, second = (rounded.sub(r"\1", json.dumps(to_dict(one))) for one in (result, again))
    assert first == second
    assert again.utterances == result.utterances
    assert again.warnings == result.warnings
    assert [p.best for p in again.predictions] == [p.best for p in result.predictions]


def test_keys_of_a_newer_version_are_passed_over() -> None:
    document = to_dict(made(2))
    document["new"] = document["utterances"][0]["new"] = {"a": 1}
    assert len(result_from(document, "it").utterances) == 2


def without(document: dict[str, Any], *path: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no labels": (lambda d: d.update(labels=[]), "labels must be some"),
    "a label twice": (lambda d: d.update(labels=["joy", "joy"]), "each once"),
    "no utterances": (lambda d: without(d, "utterances"), "utterances is missing, expected a list"),
    "a time is text": (
        lambda d: d["utterances"][1].update(start="1"),
        "utterances[1].start is '1', expected a number",
    ),
    "a time is infinite": (lambda d: d["utterances"][1].update(end=1e999), "utterances[1].end is inf"),
    "it ends early": (lambda d: d["utterances"][1].update(end=0.0), "utterances[1] ends before it begins"),
    "the text is a number": (
        lambda d: d["utterances"][0].update(text=3),
        "utterances[0].text is int, expected text",
    ),
    "a share is missing": (
        lambda d: without(d, "utterances", 0, "probabilities", "joy"),
        "utterances[0].probabilities.joy is missing",
    ),
    "shares of two": (
        lambda d: d["utterances"][0]["probabilities"].update(joy=1.5),
        "utterances[0].probabilities are no shares of one",
    ),
    "a strange label": (
        lambda d: d["utterances"][0]["probabilities"].update(glee=0.0),
        "has 'glee', which is none of the labels",
    ),
    "a strange modality": (lambda d: d["utterances"][0]["modalities"].update(smell={}), "has 'smell'"),
    "a strange status": (
        lambda d: d["utterances"][1]["modalities"]["text"].update(status="tired"),
        "modalities.text.status is 'tired'",
    ),
    "an utterance is a list": (
        lambda d: d["utterances"].append([]),
        "utterances[3] is list, expected an object",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_place(name: str) -> None:
    spoil, words = DAMAGE[name]
    document = to_dict(made(3))
    spoil(document)
    with pytest.raises(UsageError, match=r"^it is a damaged result: ") as caught:
        result_from(document, "it")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00\x80\x81", "it is not a text file"),
        (b"[1, 2]", "the JSON holds a list"),
        (b"{", "it is not JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "one JSON object per line"),
        (b'{"segments": []}', "it has no schema erc.result/1 (but 'segments')"),
        (b'{"schema": "erc.evaluation/1"}', "it is erc.evaluation/1, of another command"),
        (b'{"schema": "erc.result/2"}', "it is erc.result/2, and this version of erc reads erc.result/1"),
        (b"[" * 100_000, "is no result"),
    ],
)
def test_what_is_no_result_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_result(path)
    assert words in caught.value.message
    assert "erc predict" in (caught.value.hint or "")
    for odd in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError):
            read_result(odd)


# --- the page --------------------------------------------------------------------------------


class Reading(HTMLParser):
    """The scripts, styles and meta of a page, and its links to other files."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: dict[str, str] = {}
        self.links: list[str] = []
        self.policy = ""
        self._now = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._now = (found.get("id") or tag) if tag in ("script", "style") else ""
        self.links += [found[name] or "" for name in ("src", "href") if name in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        assert "style" not in found, "the policy forbids it"
        assert not any(name.startswith("on") for name in found)

    def handle_endtag(self, tag: str) -> None:
        self._now = ""

    def handle_data(self, data: str) -> None:
        if self._now:
            self.blocks[self._now] = self.blocks.get(self._now, "") + data


def read_page(path: Path) -> Reading:
    return Reading(path.read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_its_policy_fits_it(tmp_path: Path) -> None:
    PAGE.write(made(10, media=TALK), tmp_path / "r.html")
    found = read_page(tmp_path / "r.html")
    assert [target for target in found.links if not target.startswith("#")] == []
    assert "default-src 'none'" in found.policy
    assert "http" not in found.policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(found.blocks[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in found.policy
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", found.blocks["script"])


def test_the_data_say_what_the_result_says(tmp_path: Path) -> None:
    result = made(12, media=tmp_path / "talk.mp4")
    PAGE.write(result, tmp_path / "r.html")
    data = json.loads(read_page(tmp_path / "r.html").blocks["data"])
    assert data["labels"] == list(MELD)
    assert data["text"] == [said.text for said in result.utterances]
    assert [data["speakers"][i] for i in data["who"]] == [said.speaker for said in result.utterances]
    assert data["best"] == [found.best for found in result.predictions]
    assert data["media"] == {"kind": "video", "name": "talk.mp4", "type": "video/mp4", "src": "talk.mp4"}
    status = list(data["statuses"])
    for i, found in enumerate(result.predictions):
        shown = data["p"][7 * i : 7 * i + 7]
        assert shown == pytest.approx([1000 * p for p in found.probabilities], abs=1)
        assert [f"{k / 1000 + 1e-9:.0%}" for k in shown] == [f"{p:.0%}" for p in found.probabilities]
        for modality in Modality:
            side, opinion = data["modalities"][modality], found.opinions[modality]
            assert status[side["status"][i]] == opinion.status
            assert side["share"][i] == pytest.approx(1000 * opinion.contribution, abs=0.5)


def test_nothing_leaves_the_script_it_stands_in() -> None:
    evil = "</script><!--<script>\u2028\u2029&\ud800"
    data = page_data(made(1, words=lambda i: evil), None)
    text = as_script(data)
    assert not set("<>&\u2028\u2029\ud800") & set(text)
    assert json.loads(text)["text"] == [evil]


def test_faces_that_were_found_are_told(tmp_path: Path) -> None:
    """Whether the extractor's words stand in `detail` or beside the status."""
    document = to_dict(made(2))
    faces = {"faces": 1.4, "frames_with_face": 12}
    document["utterances"][0]["modalities"]["visual"]["detail"] = {"faces": 0.0, "frames_with_face": 0}
    who = {"identity": "face 2", "identity_confidence": 0.91, "people": [1], "light": "low"}
    document["utterances"][1]["modalities"]["visual"].update(faces | who)
    data = page_data(result_from(document, "it"), None)
    words = "a face in 12 frames, 1.4 a frame, taken for face 2 (91% sure), light: low"
    assert data["modalities"]["visual"]["notes"] == ["", words]
    assert "notes" not in data["modalities"]["text"]


def test_dropped_modalities_are_not_there(tmp_path: Path) -> None:
    PAGE.write(made(4, modalities=(Modality.TEXT,)), tmp_path / "r.html")
    found = read_page(tmp_path / "r.html")
    assert list(json.loads(found.blocks["data"])["modalities"]) == ["text"]
    assert "visual</b>" not in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("talk.mp4", "talk.mp4"),
        ("a b#1?.mp4", "a%20b%231%3F.mp4"),
        ("x:y.mp4", "x%3Ay.mp4"),
        ("-v.mp4", "-v.mp4"),
        ("50%.mp4", "50%25.mp4"),
        ("caf\udce9.mp4", "caf%E9.mp4"),
        ("../é.mp4", "../%C3%A9.mp4"),
    ],
)
def test_links_are_relative_to_the_page(tmp_path: Path, name: str, url: str) -> None:
    assert link(tmp_path / "in" / name, tmp_path / "in") == url


def test_predict_writes_pages_too(tmp_path: Path) -> None:
    registry = load_registry()
    for ending in (".html", ".htm", ".HTML"):
        assert choose_writers((tmp_path / f"r{ending}",), registry, [], force=False)[0][1].name == "html"


# --- the command -----------------------------------------------------------------------------


def test_report_writes_beside_the_result(erc: Erc, tmp_path: Path) -> None:
    shutil.copy(TALK, tmp_path / "talk.mp4")
    path = saved(made(5, media=Path("gone/talk.mp4")), tmp_path / "r.json")
    done = erc("report", path, "--title", "Our <talk>")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Written: {tmp_path / 'r.html'}" in done.stderr
    assert "talk.mp4 is another file than the one that the result is about" in done.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<title>Our &lt;talk&gt;: emotions</title>" in page
    assert json.loads(Reading(page).blocks["data"])["media"]["src"] == "talk.mp4"
    again = erc("report", path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json", "talk.mp4"]


def test_report_embeds_what_is_named(erc: Erc, tmp_path: Path) -> None:
    path = saved(made(5), tmp_path / "r.json")
    done = erc("report", path, "--media", TALK, "--embed", "-o", tmp_path / "page.htm", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    content = read_page(tmp_path / "page.htm").blocks["content"]
    assert base64.b64decode(content) == TALK.read_bytes()


def test_wrong_use_says_what_to_type(erc: Erc, tmp_path: Path) -> None:
    path = saved(made(3, media=Path("gone.mp4")), tmp_path / "r.json")
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as stream:
        stream.truncate(LARGEST + 1)
    tries: list[tuple[tuple[object, ...], str]] = [
        ((TALK,), "erc predict"),
        ((path, "-o", tmp_path / "r.pdf"), "Endings: "),
        ((path, "-o", tmp_path / "r.png"), "--png"),
        ((path, "-o", tmp_path / "r.csv", "--embed"), "is about the page"),
        ((path, "-o", tmp_path / "none" / "r.html"), "mkdir -p"),
        ((path, "--png", path), "Give another name"),
        ((path, "--png", tmp_path / "t.png", "--embed"), "Name one with -o"),
        ((path, "--embed"), "Leave out --embed"),
        ((path, "--media", huge, "--embed"), "a page holds at most 64 MB"),
        ((path, "--media", tmp_path / "none.mp4"), "There is no recording"),
    ]
    for arguments, words in tries:
        done = erc("report", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["huge.mp4", "r.json"]
