"""From a transcriber's name to a transcript, and to a file that is read again; with a plugin of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import jsonschema
import numpy as np
import pytest
from audiokit import FILM
from conftest import ROOT, Erc
from speechkit import write_sound

from erc_cli.errors import ErcError, UsageError
from erc_cli.hookspecs import hookimpl
from erc_cli.learning import Progress, Report
from erc_cli.media import probe
from erc_cli.options import Between, schema
from erc_cli.registry import Registry, load_registry
from erc_cli.specs import TranscriberSpec
from erc_cli.transcribing import Plan, plan, split_settings, transcribe
from erc_cli.transcript_write import write_transcript
from erc_cli.transcripts import read_transcript
from erc_cli.types import MediaInfo, Transcriber, Transcript, Utterance


def _needs(*libraries: str) -> None:
    """Skip a test where a library is not installed."""
    absent = [library for library in libraries if find_spec(library) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}: pip install 'erc-cli[text,vad]'")


class _Turns:
    """Says `times` times something, the last first, and where it ran."""

    def __init__(self, times: int, device: str) -> None:
        self.times, self.device = times, device

    def transcribe(self, media: MediaInfo, report: Report) -> Transcript:
        report(Progress("turns", self.times, self.times))
        turns = [Utterance(i + 0.12345, i + 0.6, f"turn {i}", "Ann") for i in reversed(range(self.times))]
        return Transcript(tuple(turns), "whatever", detail={"where": self.device})


class _Plugin:
    def __init__(self, **spec: object) -> None:
        self.built = 0
        self.spec = spec

    def build(
        self, *, times: Annotated[int, Between(0)] = 2, threshold: float = 0.5, device: str = "?"
    ) -> Transcriber:
        self.built += 1
        return _Turns(times, device)

    @hookimpl
    def erc_transcribers(self) -> Sequence[TranscriberSpec]:
        return [TranscriberSpec("turns", "says something", self.build, **self.spec)]  # type: ignore[arg-type]


def _planned(*settings: str, plugin: _Plugin | None = None) -> Plan:
    made = plan("turns", settings, Registry.of(plugin or _Plugin()))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def hum(tmp_path_factory: pytest.TempPathFactory) -> MediaInfo:
    """Half a second of a hum."""
    time = np.arange(8000) / 16_000
    return probe(
        write_sound(tmp_path_factory.mktemp("hum") / "hum.wav", 0.1 * np.sin(2 * np.pi * 100 * time))
    )


# --- what is asked for ---------------------------------------------------------------------


def test_settings_are_the_presets_or_the_transcribers() -> None:
    typed = ("text.past=1", "transcriber.threshold=0.3", "fusion.use=late", " transcriber.pad=1")
    assert split_settings(typed) == (
        ("text.past=1", "fusion.use=late"),
        ("transcriber.threshold=0.3", " transcriber.pad=1"),
    )


def test_without_a_transcriber_there_is_no_plan_and_no_setting() -> None:
    assert plan(None, [], Registry()) is None
    with pytest.raises(UsageError, match="for --transcriber, which is not given") as caught:
        plan(None, ["transcriber.threshold=0.3"], Registry())
    assert caught.value.hint == "Add: --transcriber segments"


def test_a_name_that_nobody_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no transcriber called 'turn'\. Did you mean 'turns'") as caught:
        plan("turn", [], Registry.of(_Plugin()))
    assert caught.value.hint == "See: erc plugins list --kind transcriber"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("transcriber.time=3", "transcriber.time: .*Did you mean 'times'"),
        ("transcriber.times=-1", "transcriber.times: expected int of at least 0, got -1"),
        ("transcriber.times=often", "transcriber.times: expected int"),
        ("transcriber.times", "expected transcriber.NAME=VALUE"),
        ("transcriber.=3", "expected transcriber.NAME=VALUE"),
        ("transcriber.times=[", "is not a YAML value"),
    ],
)
def test_settings_are_checked_by_the_signature(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        _planned(setting)
    assert caught.value.hint


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"2 settings do not fit:\n  .*times.*\n  .*threshold"):
        _planned("transcriber.times=x", "transcriber.threshold=y")


def test_a_missing_library_is_told_before_anything_is_done() -> None:
    plugin = _Plugin(needs=("no_such_library",), extra="asr")
    with pytest.raises(ErcError, match="'turns' needs no_such_library") as caught:
        _planned(plugin=plugin)
    assert caught.value.hint == "Type: pip install 'erc-cli[asr]'"
    assert plugin.built == 0


# --- what comes of it ----------------------------------------------------------------------


def test_utterances_are_in_order_and_in_milliseconds_and_say_who_made_them(hum: MediaInfo) -> None:
    told: list[Progress] = []
    made = transcribe(_planned("transcriber.times=3"), hum, told.append)
    assert [(one.start, one.end, one.text) for one in made.utterances] == [
        (0.123, 0.6, "turn 0"),
        (1.123, 1.6, "turn 1"),
        (2.123, 2.6, "turn 2"),
    ]
    assert made.format == "turns"
    assert made.detail == {
        "name": "turns",
        "package": "local",
        "options": {"times": 3, "threshold": 0.5},
        "where": "cpu",
    }
    assert told == [Progress("turns", 3, 3)]
    json.dumps(made.detail)


def test_a_transcriber_is_built_once_for_many_recordings(hum: MediaInfo) -> None:
    plugin = _Plugin()
    planned = _planned(plugin=plugin)
    assert plugin.built == 0
    assert transcribe(planned, hum) == transcribe(planned, hum)
    assert plugin.built == 1


def test_a_medium_without_sound_is_refused_before_anything_is_built(hum: MediaInfo) -> None:
    plugin = _Plugin()
    with pytest.raises(UsageError, match=r"hum\.wav has no sound") as caught:
        transcribe(_planned(plugin=plugin), replace(hum, audio=False))
    assert caught.value.hint == "Name a transcript with --transcript FILE."
    assert plugin.built == 0


def test_no_speech_at_all_is_told_with_what_may_help(hum: MediaInfo) -> None:
    with pytest.raises(UsageError, match=r"No speech was found in .*hum\.wav \(0\.5 s\)") as caught:
        transcribe(_planned("transcriber.times=0"), hum)
    assert caught.value.hint is not None
    assert "--set transcriber.threshold=0.3" in caught.value.hint


def test_ours_are_there_with_their_licence() -> None:
    registry = load_registry()
    rows = {row.name: row for row in registry.rows() if row.kind == "transcriber"}
    assert {"segments", "whisper"} <= set(rows)
    assert "MIT" in rows["segments"].licence
    assert registry.transcriber("segments").extra == "vad"
    assert registry.transcriber("whisper").extra == "asr"


def test_every_option_of_ours_is_documented() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name in ("segments", "whisper"):
        section = page.partition(f"**`{name}`**")[2].partition("\n**`")[0].partition("\n#")[0]
        spec = load_registry().transcriber(name)
        assert [option for option in schema(spec.build) if f"`{option}`" not in section] == []


# --- on the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--transcriber", "segment"), "Did you mean 'segments'?"),
        (("--transcriber", "segments", "--set", "transcriber.treshold=0.3"), "Did you mean 'threshold'?"),
        (("--set", "transcriber.threshold=0.3"), "Add: --transcriber segments"),
        (("--save-transcript", "t.srt"), "Add: --transcriber segments"),
        (("--transcriber", "segments", "--transcript", "x.srt"), "exclude each other"),
        (("--transcriber", "segments", "--save-transcript", "t.doc"), "saved as .srt, .vtt, .json"),
        ((), "or have speech cut without words: --transcriber segments"),
    ],
)
def test_what_is_typed_wrong_is_answered_with_what_to_type(
    erc: Erc, hum: MediaInfo, arguments: tuple[str, ...], said: str
) -> None:
    _needs("silero_vad", "onnxruntime")
    done = erc("predict", hum.path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_recording_there_is_nothing_to_listen_to(erc: Erc) -> None:
    _needs("silero_vad", "onnxruntime")
    done = erc("predict", "--transcriber", "segments")
    assert done.returncode == 2
    assert "Type: erc predict talk.wav --transcriber segments" in done.stderr


def test_a_film_without_transcript_is_judged_by_voice_and_face_and_its_transcript_given_back(
    erc: Erc, tmp_path: Path
) -> None:
    _needs("silero_vad", "onnxruntime", "transformers", "tokenizers")
    film = tmp_path / "a film.mp4"
    film.write_bytes(FILM.read_bytes())
    names = tmp_path / "names.yaml"
    names.write_text("Speaker 1: Ann\n")
    done = erc(
        *("predict", film, "--drop", "audio", "--transcriber", "segments", "--speakers", names),
        *("--save-transcript", tmp_path / "made.srt", "--json", "--set", "transcriber.min_silence=0.35"),
    )
    assert done.returncode == 0, done.stderr
    assert f"Written: {tmp_path / 'made.srt'}" in done.stderr
    assert "The speakers are not told apart" in done.stderr
    result = json.loads(done.stdout)
    jsonschema.validate(result, json.loads((ROOT / "docs" / "result.schema.json").read_text()))
    assert result["transcript"] == {"path": str(tmp_path / "made.srt"), "format": "segments"}
    about = result["meta"]["transcriber"]
    assert (about["name"], about["options"]["min_silence"]) == ("segments", 0.35)
    rows = result["utterances"]
    assert len(rows) >= 7
    assert {row["modalities"]["text"]["status"] for row in rows} == {"no_text"}
    assert sum(row["modalities"]["visual"]["status"] == "ok" for row in rows) >= 4
    again = erc(
        *("predict", film, "--drop", "audio", "--transcript", tmp_path / "made.srt", "--json"), timeout=600
    )
    assert again.returncode == 0, again.stderr
    back = json.loads(again.stdout)
    assert back["transcript"]["format"] == "srt"
    assert "transcriber" not in back["meta"]
    keys = ("start", "end", "speaker", "text", "label", "confidence")
    assert [[row[key] for key in keys] for row in back["utterances"]] == [
        [row[key] for key in keys] for row in rows
    ]


# --- saved and read again ------------------------------------------------------------------

MADE = (
    Utterance(0.123, 1.456, "", "Speaker 1"),
    Utterance(1.5, 3.0, "Listen: it is mine.", "Speaker 2"),
    Utterance(3.2, 4.007, "", None),
    Utterance(3599.999, 3605.2, "Where is B & C, {really}?", "Speaker 1"),
    Utterance(36000.5, 36001.25, "Ten hours later", "Speaker 10"),
)


@pytest.mark.parametrize("ending", [".srt", ".vtt", ".json"])
@pytest.mark.parametrize("part", [slice(None), slice(0, 1), slice(1, 2), slice(2, 3), slice(4, 5)])
def test_what_was_saved_is_read_as_the_same(tmp_path: Path, ending: str, part: slice) -> None:
    file = tmp_path / f"made{ending}"
    write_transcript(Transcript(MADE[part], "segments"), file)
    found = read_transcript(file, load_registry().readers)
    assert found.utterances == MADE[part]
    assert found.warnings == ()


def test_words_put_in_by_hand_are_read(tmp_path: Path) -> None:
    file = tmp_path / "made.srt"
    write_transcript(Transcript(MADE, "segments"), file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("1\n00:00:00,123 --> 00:00:01,456\nSpeaker 1: [speech]\n\n2\n")
    file.write_text(text.replace("Speaker 1: [speech]", "Monica: Hello there!"), encoding="utf-8")
    first = read_transcript(file, load_registry().readers).utterances[0]
    assert (first.start, first.end, first.text, first.speaker) == (0.123, 1.456, "Hello there!", "Monica")


def test_words_that_look_like_subtitles_own_marks_stay_words(tmp_path: Path) -> None:
    odd = (Utterance(1, 2, "a <i> b --> c\n\n2\nd", "Ann <3"), Utterance(2, 3, "plain", "Ben"))
    for ending, same in ((".json", True), (".vtt", False), (".srt", False)):
        file = tmp_path / f"odd{ending}"
        write_transcript(Transcript(odd, "whisper"), file)
        found = read_transcript(file, load_registry().readers).utterances
        assert [(one.start, one.end) for one in found] == [(1, 2), (2, 3)]
        assert (found[0].text == "a <i> b --> c 2 d") is same or "b" in found[0].text
        assert found[1].speaker == "Ben"


def test_a_transcript_is_not_written_over_nor_as_something_else(tmp_path: Path) -> None:
    transcript = Transcript(MADE, "segments")
    (tmp_path / "t.srt").write_text("mine")
    with pytest.raises(UsageError, match="exists already and is kept"):
        write_transcript(transcript, tmp_path / "t.srt")
    assert (tmp_path / "t.srt").read_text() == "mine"
    write_transcript(transcript, tmp_path / "t.srt", force=True)
    with pytest.raises(UsageError, match=r"saved as \.srt, \.vtt, \.json") as caught:
        write_transcript(transcript, tmp_path / "t.docx")
    assert caught.value.hint == f"For instance: --save-transcript {tmp_path / 't.srt'}"
    with pytest.raises(UsageError, match="no folder"):
        write_transcript(transcript, tmp_path / "none" / "t.srt")
    assert [path.name for path in tmp_path.iterdir()] == ["t.srt"]
