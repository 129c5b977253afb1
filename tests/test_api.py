"""erc from Python: the same answers as the command line, from files, records and frames."""

from __future__ import annotations

import csv
import dataclasses
import doctest
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from reportkit import made

import erc_cli
from erc_cli import ErcError, LoadedPreset, Result, UsageError, Utterance, load_preset, predict, read_result
from erc_cli.frames import to_frame
from erc_cli.types import Modality, Opinion, Prediction, Status, Transcript

MEDIA = Path("examples/conversation.mp4")
SCRIPT = Path("examples/conversation.srt")
SAID = [
    {"start": 0.45, "end": 3.7, "text": "We did it! I am so happy!", "speaker": "ANNA"},
    {"start": 4.1, "end": 7.5, "text": "What? Wow, I can't believe it!", "speaker": "BEN"},
]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are as a user types them in the checkout."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def model() -> LoadedPreset:
    """The words alone: quick, and real."""
    return load_preset("default", keep="text", device="cpu")


@pytest.fixture(scope="module")
def whole() -> LoadedPreset:
    """All three branches."""
    return load_preset(ROOT / "presets" / "default", device="cpu")


def test_the_answer_is_that_of_the_command_line(
    whole: LoadedPreset, erc: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = erc("predict", ROOT / MEDIA, "-t", ROOT / SCRIPT, "--device", "cpu", "--json", "-q")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    steps: list[str] = []
    result = whole.predict(ROOT / MEDIA, ROOT / SCRIPT, progress=lambda step: steps.append(step.stage))
    assert {"media", "features"} <= set(steps)
    ours = json.loads(result.to_json())
    for document in (told, ours):
        assert document["meta"].pop("created")
    assert ours == told
    assert len(result.utterances) == 8
    assert whole.modalities == ("text", "audio", "visual")
    again = read_result(result.save(tmp_path / "talk.json"))
    for one, other in zip(again.predictions, result.predictions, strict=True):
        assert one.best == other.best
        assert np.allclose(one.probabilities, other.probabilities, rtol=0, atol=1e-12)


def test_nothing_is_printed(model: LoadedPreset, capfd: pytest.CaptureFixture[str]) -> None:
    result = model.predict(transcript=SCRIPT, speakers={"NOBODY": "X"})
    assert [one.code for one in result.warnings] == ["speaker_unknown"]
    assert "NOBODY" in result.warnings[0].message
    assert capfd.readouterr() == ("", "")


def test_records_frames_and_files_give_the_same(model: LoadedPreset, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas (pip install 'erc-cli[pandas]')")
    polars = pytest.importorskip("polars", reason="needs polars (pip install 'erc-cli[polars]')")
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["start", "end", "text", "speaker"])
        table.writeheader()
        table.writerows(SAID)
    wanted = model.predict(transcript=path)
    assert wanted.transcript.format == "csv"
    turned = {"Begin": "start", "Stop": "end", "Words": "text", "Who": "speaker"}
    named = {ours: theirs for theirs, ours in turned.items()}
    frame = pandas.DataFrame(SAID)
    other = frame.rename(columns=named)
    timed = [{**row, "start": timedelta(seconds=row["start"]), "end": np.float32(row["end"])} for row in SAID]
    lengths = [{"start": r["start"], "duration": r["end"] - r["start"], "text": r["text"]} for r in SAID]
    given: list[tuple[object, dict[str, str]]] = [
        (SAID, {}),
        (tuple(Utterance(**row) for row in SAID), {}),  # type: ignore[arg-type]
        (timed, {}),
        (frame, {}),
        (other, named),
        (polars.DataFrame(SAID), {}),
        (Transcript(wanted.utterances, "mine"), {}),
    ]
    for rows, columns in given:
        found = model.predict(transcript=rows, columns=columns)  # type: ignore[arg-type]
        assert found.utterances == wanted.utterances, type(rows)
        assert found.predictions == wanted.predictions
        assert found.to_dict()["transcript"]["path"] is None
    by_length = model.predict(transcript=lengths)
    assert [(u.start, u.end) for u in by_length.utterances] == [(0.45, 3.7), (4.1, 7.5)]


def test_what_is_absent_in_a_frame_is_nobody(model: LoadedPreset) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas (pip install 'erc-cli[pandas]')")
    frame = pandas.DataFrame({"start": [2, 0], "end": [3, 1.5], "text": ["b", None], "speaker": [None, "A"]})
    result = model.predict(transcript=frame)
    assert result.utterances == (Utterance(0.0, 1.5, "", "A"), Utterance(2.0, 3.0, "b", None))
    assert result.predictions[0].opinions[Modality.TEXT].status is Status.NO_TEXT
    assert {one.code for one in result.warnings} == {"cue_order", "cue_empty", "nothing_present"}


def test_speakers_and_settings(model: LoadedPreset, tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("ANNA: Ada\nBEN: Ada\n")
    by_file = model.predict(transcript=SCRIPT, speakers=names)
    by_map = model.predict(transcript=SCRIPT, speakers={"ANNA": "Ada", "BEN": "Ada"})
    assert by_file.predictions == by_map.predictions
    assert {u.speaker for u in by_map.utterances} == {"Ada"}
    changed = load_preset("default", drop=("audio", "visual"), settings={"text.past": 0}, device="cpu")
    assert changed.modalities == ("text",)
    result = changed.predict(transcript=SCRIPT)
    assert result.meta["settings"] == ["text.past=0"]
    assert result.predictions != model.predict(transcript=SCRIPT).predictions


def test_a_transcriber_makes_the_transcript() -> None:
    for library in ("silero_vad", "onnxruntime"):
        pytest.importorskip(library, reason="needs the extra vad (pip install 'erc-cli[vad]')")
    voice = load_preset("default", keep="audio", device="cpu")
    asked = {"use": "segments", "speaker_model": None, "min_silence": 0.3}
    result = voice.predict(MEDIA, transcriber=asked, speakers={"": "Somebody"})
    assert len(result.utterances) >= 3
    assert {(u.text, u.speaker) for u in result.utterances} == {("", "Somebody")}
    assert result.transcript.format == "segments"
    again = voice.predict(MEDIA, transcriber=asked)
    assert [p.probabilities for p in again.predictions] == [p.probabilities for p in result.predictions]
    assert len(voice.plans) == 1  # what it needs is loaded once


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ({}, "nothing to judge", "Give media"),
        ({"media": "nothing.mp4", "transcript": SCRIPT}, "nothing.mp4", ""),
        ({"transcript": "https://example.org/t.srt"}, "local files only", "Download"),
        ({"transcript": []}, "no utterances", "mapping such as"),
        ({"transcript": 7}, "cannot be made of int", "A row is"),
        ({"transcript": [{"start": 0, "finish": 1, "text": "x"}]}, "has no 'end'", "finish"),
        ({"transcript": [{"start": "soon", "end": 1, "text": "x"}]}, "'soon', no time", "1:02.5"),
        ({"transcript": [{"start": math.nan, "end": 1, "text": "x"}]}, "nan, no time", "seconds"),
        ({"transcript": SAID, "columns": {"begin": "start"}}, "'begin'", "Keys: start"),
        ({"transcript": [b"x"]}, "Row 0 of the transcript is bytes", "Utterance"),
        ({"transcript": SAID, "transcriber": "segments"}, "exclude each other", "one of the two"),
        ({"transcript": SCRIPT, "transcriber": "segments"}, "exclude each other", "one of the two"),
        ({"media": MEDIA, "transcriber": {"speed": 2}}, "has no name", "'use'"),
        ({"media": MEDIA, "transcriber": "segmnts"}, "Did you mean 'segments'", ""),
        ({"transcript": SCRIPT, "columns": {"start": "x"}}, "no columns to name", ""),
        ({"transcript": SCRIPT, "preset": "defalt"}, "Did you mean 'default'", "erc presets list"),
    ],
)
def test_what_can_be_mended_is_told(arguments: dict[str, object], said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        predict(**arguments)  # type: ignore[arg-type]
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_wrong_option_is_told_before_anything_is_loaded() -> None:
    for arguments, said in (
        ({"drop": "smell"}, "no modality 'smell'"),
        ({"settings": {"text.pats": 1}}, "pats"),
        ({"settings": {"text.past": object()}}, "none of YAML's"),
        ({"device": "abacus"}, "unknown device"),
    ):
        with pytest.raises(UsageError, match=said):
            load_preset("default", **arguments)  # type: ignore[arg-type]


# --- what a result can do ------------------------------------------------------------------


def test_frames_have_the_columns_of_the_tables(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (pip install 'erc-cli[pandas]')")
    result = made(7, speakers=("Anna", None))
    frame = result.to_frame()
    with result.save(tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) < set(frame.columns)
    assert [float(row["p_joy"]) for row in rows] == frame["p_joy"].tolist()
    assert [row["label"] for row in rows] == frame["label"].tolist()
    assert frame["label"].cat.categories.tolist() == list(result.labels)
    assert frame["speaker"].isna().tolist() == [False, True, False, True, False, True, False]
    unseen = frame["visual_status"] == "no_face"
    assert unseen.sum() == 2
    assert frame.loc[unseen, "visual_p_joy"].isna().all()
    assert np.allclose(frame[[f"text_p_{label}" for label in result.labels]].sum(axis=1), 1)
    arrow = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (pip install 'erc-cli[parquet]')")
    read = arrow.read_table(result.save(tmp_path / "t.parquet")).to_pydict()
    assert list(read) == list(frame.columns)
    assert read["text_p_joy"] == frame["text_p_joy"].tolist()


def test_polars_has_the_same_frame() -> None:
    polars = pytest.importorskip("polars", reason="needs polars (pip install 'erc-cli[polars]')")
    result = made(7, speakers=("Anna", None))
    frame = result.to_frame("polars")
    assert frame["label"].dtype == polars.Enum(result.labels)
    assert frame["visual_p_joy"].null_count() == 2
    assert frame["speaker"].to_list()[:2] == ["Anna", None]
    assert frame.filter(polars.col("text_status") == "ok").height == 7


def test_no_utterance_and_odd_words_fit_in_a_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (pip install 'erc-cli[pandas]')")
    pytest.importorskip("polars", reason="needs polars (pip install 'erc-cli[polars]')")
    odd = Utterance(0.0, 1.0, "half \ud800", "a\n'b")
    opinions = {Modality.TEXT: Opinion(Status.NO_TEXT)}
    one = dataclasses.replace(
        made(1), utterances=(odd,), predictions=(Prediction((1.0,) + (0.0,) * 6, opinions),)
    )
    for library in ("pandas", "polars"):
        assert len(to_frame(made(0), library)) == 0
        frame = to_frame(one, library)
        assert frame["text"][0] == "half \ufffd"
        assert frame["label"][0] == "neutral"
    assert "half" in one.save(tmp_path / "t.csv").read_text(encoding="utf-8")


def test_a_frame_of_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no frames of 'panda'\. Did you mean 'pandas'"):
        to_frame(made(1), "panda")
    monkeypatch.setattr("erc_cli.frames.find_spec", lambda name: None)
    with pytest.raises(ErcError, match="polars is not installed") as missing:
        made(1).to_frame("polars")
    assert "pip install 'erc-cli[polars]'" in str(missing.value.hint)


def test_saving_is_whole_or_not_at_all(tmp_path: Path) -> None:
    result = made(3)
    path = tmp_path / "t.srt"
    assert result.save(str(path)) == path
    with pytest.raises(UsageError, match="exists already"):
        result.save(path)
    result.save(path, format="json", force=True)
    assert read_result(path).labels == result.labels
    for name, said in (("t.srtt", "ends in '.srtt'. Did you mean '.srt'"), ("t", "has no ending")):
        with pytest.raises(UsageError, match=said):
            result.save(tmp_path / name)
    with pytest.raises(UsageError, match="no folder"):
        result.save(tmp_path / "nowhere" / "t.json")
    assert [p.name for p in tmp_path.iterdir()] == ["t.srt"]


def test_a_result_is_short_on_the_screen() -> None:
    result = made(200)
    line = repr(result)
    assert line.startswith("<erc result: 200 utterances of talk.srt; ")
    assert len(line) < 120
    assert str(result) == line
    assert repr(made(0)) == "<erc result: 0 utterances of talk.srt; nothing; 1 warnings>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = ()  # type: ignore[misc]


class _Cells(HTMLParser):
    """Texts of a page, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_notebook_shows_escaped_text() -> None:
    result = made(12, speakers=("<b>Eve</b>",), words=lambda i: f"<script>{i}</script>" + "x" * 200)
    page = _Cells()
    page.feed(result._repr_html_())
    assert page.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "span", "p", "code"}
    assert page.words.count("<b>Eve</b>") == 10
    assert "and 2 more: " in page.words
    assert max(map(len, page.words)) < 100


# --- the package ---------------------------------------------------------------------------


def test_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, erc_cli\n"
        "heavy = lambda: {'torch', 'numpy', 'av', 'click', 'yaml'} & set(sys.modules)\n"
        "assert not heavy(), heavy()\n"
        "assert set(erc_cli.__all__) <= set(dir(erc_cli))\n"
        "erc_cli.Result, erc_cli.UsageError, erc_cli.Progress\n"
        "assert not heavy(), heavy()\n"
        "assert all(getattr(erc_cli, name).__doc__ for name in erc_cli.__all__)\n"
        "try:\n    erc_cli.predikt\nexcept AttributeError as error:\n    print(error)\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'erc_cli' has no attribute 'predikt'\n"


def test_a_type_checker_sees_the_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs mypy")
    good = "from erc_cli import Result, load_preset, predict\n"
    good += "result: Result = predict('a.mp4', [{'start': 0, 'end': 1, 'text': 'x'}])\n"
    good += "result = load_preset('default', drop='visual').predict(transcript='t.srt')\n"
    bad = "from erc_cli import predikt\nfrom erc_cli import predict\npredict(nonsense=1).laebls\n"
    for name, text in (("good.py", good), ("bad.py", bad)):
        (tmp_path / name).write_text(text)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--python-executable", sys.executable]
    done = subprocess.run(
        [*command, "good.py", "bad.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert "good.py" not in done.stdout, done.stdout
    assert 'has no attribute "predikt"' in done.stdout
    assert '"Result" has no attribute "laebls"' in done.stdout
    assert 'Unexpected keyword argument "nonsense"' in done.stdout


@pytest.mark.parametrize("name", ["erc_cli", "erc_cli.api"])
def test_the_examples_of_the_docstrings_run(name: str) -> None:
    module = erc_cli if name == "erc_cli" else sys.modules[name]
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for test in finder.find(module, name) if test.examples]
    assert tests
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert Result.__doc__
