"""`whisper`: a small Whisper that was taught a film's words, through the real code, on the real film."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from audiokit import FILM, change_tensors, speech
from conftest import needs
from speechkit import config_of, teach, write_ecapa, write_sound, write_whisper

from erc_cli.errors import UsageError
from erc_cli.learning import Progress
from erc_cli.media import probe
from erc_cli.options import bind
from erc_cli.registry import load_registry
from erc_cli.transcribing import plan, transcribe
from erc_cli.types import Transcript

needs("asr", "transformers", "tokenizers", "silero_vad", "onnxruntime")

from erc_cli.nets.silero import load_silero  # noqa: E402
from erc_cli.speech_spans import Cutting, Span, find_speech  # noqa: E402
from erc_transcriber_whisper import build  # noqa: E402
from erc_transcriber_whisper.tokens import Said, read_tokens  # noqa: E402
from erc_transcriber_whisper.transcriber import packed  # noqa: E402

QUIET = "transcriber.speaker_model=null"
WORDS = ("We did it!", "I am so happy!", "What? Wow", "The launch is on", "Tuesday, at nine")


def _parts() -> list[Span]:
    """The parts that the small model reads of the film's first eleven seconds."""
    cutting = Cutting(min_silence=0.4, pad=0.2, max_seconds=5.0)
    spans = [span for span in find_speech(probe(FILM), load_silero(), cutting) if span[1] < 11]
    return packed(spans, 5.0)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows what is said in the film's first eleven seconds, two segments in each part."""
    folder = write_whisper(tmp_path_factory.mktemp("whisper") / "tiny-film")
    parts = _parts()
    lessons = []
    for (start, end), clip, first, second in zip(parts, speech(spans=parts), WORDS, WORDS[1:], strict=False):
        assert clip.sound is not None
        middle, last = 1.0, int((end - start) / 0.02) * 0.02 - 0.1
        segments = [(0.1, middle, f" {first}"), (middle, last, f" {second}")]
        lessons.append((clip.sound, "de" if start > 8 else "en", segments))
    teach(folder, lessons)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film's first eleven seconds, as sound."""
    (clip,) = speech(spans=[(0.0, 10.95)])
    assert clip.sound is not None
    return write_sound(tmp_path_factory.mktemp("scene") / "scene.wav", clip.sound)


def _written(path: Path, *settings: str) -> Transcript:
    made = plan("whisper", settings, load_registry())
    assert made is not None
    return transcribe(made, probe(path))


# --- from sound to words -------------------------------------------------------------------


def test_words_come_with_the_times_that_the_model_gives_them(taught: Path) -> None:
    made = _written(FILM, f"transcriber.weights={taught}", QUIET, "transcriber.language=en")
    parts = _parts()
    first = [one for one in made.utterances if one.end < parts[0][1] + 0.01]
    assert [one.text for one in first] == ["We did it!", "I am so happy!"]
    start = parts[0][0]
    assert (first[0].start, first[0].end) == (round(start + 0.1, 3), round(start + 1.0, 3))
    assert all(a.end <= b.start + 1e-9 for a, b in zip(made.utterances, made.utterances[1:], strict=False))
    assert made.format == "whisper"
    assert made.detail["model"] == "tiny-film"
    assert made.detail["language"] == "en"
    assert made.detail["options"]["weights"] == str(taught)
    assert {"transformers", "silero_vad"} <= set(made.detail["libraries"])


def test_one_by_one_or_several_at_once_is_the_same(taught: Path, scene: Path) -> None:
    found = [
        _written(scene, f"transcriber.weights={taught}", QUIET, f"transcriber.batch={n}").utterances
        for n in (1, 2, 8)
    ]
    assert len(found[0]) >= 4
    assert found[0] == found[1] == found[2]


def test_the_language_is_heard_where_it_is_not_given(taught: Path, scene: Path) -> None:
    settings = (f"transcriber.weights={taught}", QUIET, "transcriber.batch=2")
    assert _written(scene, *settings).detail["language"] == "en"  # of the first two parts
    one = plan("whisper", [*settings, "transcriber.language=FR"], load_registry())
    assert one is not None
    assert transcribe(one, probe(scene)).detail["language"] == "fr"


def test_speakers_are_told_apart_where_there_is_a_model(taught: Path, scene: Path, tmp_path: Path) -> None:
    needs("speechbrain", "speechbrain", "scipy")
    ecapa = write_ecapa(tmp_path / "ecapa")
    model = (f"transcriber.weights={taught}", f"transcriber.speaker_model={ecapa}")
    made = _written(scene, *model, "transcriber.speakers=2")
    long = {one.speaker for one in made.utterances if one.end - one.start >= 1.0}
    assert long == {"Speaker 1", "Speaker 2"}
    assert made.detail["speakers"]["found"] == 2


def test_half_precision_is_taken(taught: Path, scene: Path) -> None:
    made = plan("whisper", [f"transcriber.weights={taught}", QUIET], load_registry(), precision="bf16")
    assert made is not None
    assert transcribe(made, probe(scene)).utterances[0].text == "We did it!"


def test_progress_is_told_for_each_stage(taught: Path, scene: Path) -> None:
    told: list[Progress] = []
    made = plan("whisper", [f"transcriber.weights={taught}", QUIET, "transcriber.batch=1"], load_registry())
    assert made is not None
    transcribe(made, probe(scene), told.append)
    words = [(step.done, step.total) for step in told if step.stage == "words"]
    assert words == [(i, len(_parts())) for i in range(len(_parts()) + 1)]


def test_a_model_that_knows_nothing_makes_no_utterance_without_length(tmp_path: Path, scene: Path) -> None:
    folder = write_whisper(tmp_path / "new", seed=3)
    made = plan("whisper", [f"transcriber.weights={folder}", QUIET], load_registry())
    assert made is not None
    found = made.transcriber.transcribe(probe(scene), lambda step: None)
    assert all(0 <= one.start < one.end <= 10.96 and one.text for one in found.utterances)


# --- parts and tokens ----------------------------------------------------------------------


def test_neighbours_are_packed_as_far_as_they_fit() -> None:
    spans = [(0.0, 4.0), (5.0, 9.0), (9.5, 12.0), (40.0, 44.0), (44.0, 49.5)]
    assert packed(spans, 10.0) == [(0.0, 9.0), (9.5, 12.0), (40.0, 49.5)]
    assert packed(spans, 5.0) == [(0.0, 4.0), (5.0, 9.0), (9.5, 12.0), (40.0, 44.0), (44.0, 49.5)]
    assert packed([], 5.0) == []


def test_rows_of_tokens_become_segments(taught: Path) -> None:
    tokens = read_tokens(taught / "tokenizer.json", "de", "transcriber.weights")
    times, encode = tokens.times, tokens.tokenizer.encode
    hi, ho = encode(" Hi").ids, encode(" ho!").ids

    def said(*row: int, seconds: float = 4.0) -> list[tuple[float, float, str]]:
        return [(round(s.start, 2), round(s.end, 2), s.text) for s in tokens.said(row, seconds)]

    marks = (tokens.start, tokens.languages["<|de|>"], tokens.tasks["transcribe"])
    whole = (times + 5, *hi, times + 60, times + 75, *ho, times + 150, tokens.end, tokens.end)
    assert said(*marks, *whole) == [(0.1, 1.2, "Hi"), (1.5, 3.0, "ho!")]
    assert said(times, *hi) == [(0.0, 4.0, "Hi")]  # without an end: to the end of the sound
    assert said(times, *hi, times + 300) == [(0.0, 4.0, "Hi")]  # an end behind that of the sound
    assert said(times + 300, *hi, times + 310) == []  # words in the padding
    assert said(times + 50, *hi, times + 50, times + 50, *ho, times + 50) == []  # no length
    assert said(times, times + 50) == []
    assert said() == []
    assert tokens.said([times, *hi, times + 25], 0.5) == [Said(0.0, 0.5, "Hi")]


def test_a_model_for_english_only_takes_no_language(tmp_path: Path, scene: Path) -> None:
    folder = write_whisper(tmp_path / "small.en")
    (folder / "generation_config.json").write_text(json.dumps({"is_multilingual": False}))
    made = plan("whisper", [f"transcriber.weights={folder}", QUIET], load_registry())
    assert made is not None
    transcriber = made.transcriber
    transcriber.transcribe(probe(scene), lambda step: None)
    assert transcriber.network.language is None  # type: ignore[attr-defined]
    for language, fine in (("en", True), ("de", False)):
        settings = [f"transcriber.weights={folder}", f"transcriber.language={language}"]
        wanted = plan("whisper", settings, load_registry())
        assert wanted is not None
        if fine:
            assert wanted.transcriber
        else:
            with pytest.raises(UsageError, match=r"small\.en does not know 'de'"):
                assert wanted.transcriber


def test_what_is_never_said_is_not_said(taught: Path, scene: Path, tmp_path: Path) -> None:
    """`suppress_tokens` of config.json (older models) and of generation_config.json (newer ones)."""
    folder = tmp_path / "mute"
    shutil.copytree(taught, folder)
    tokens = read_tokens(folder / "tokenizer.json", None, "transcriber.weights")
    letters = list(range(tokens.end))
    keep = tokens.tokenizer.encode(" ").ids
    banned = [n for n in letters if n not in keep]
    config = config_of(folder)
    (folder / "config.json").write_text(json.dumps({**config, "suppress_tokens": banned}))
    with pytest.raises(UsageError, match="No speech was found"):
        _written(scene, f"transcriber.weights={folder}", QUIET)
    (folder / "config.json").write_text(json.dumps(config))
    text = json.dumps({"begin_suppress_tokens": [10**6], "suppress_tokens": banned})
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(UsageError, match="No speech was found"):
        _written(scene, f"transcriber.weights={folder}", QUIET)


# --- what is refused -----------------------------------------------------------------------


def test_without_a_model_it_is_said_what_to_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: Path
) -> None:
    monkeypatch.setenv("ERC_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UsageError, match="needs a model, and none is on this computer") as caught:
        _written(scene)
    assert re.search(r"erc models pull whisper-base.*--transcriber segments", caught.value.hint or "")
    with pytest.raises(UsageError, match="erc models pull whisper-tiny") as caught:
        plan("whisper", ["transcriber.weights=whisper-tiny"], load_registry())
    assert caught.value.hint == "Type: erc models pull whisper-tiny"


def test_the_models_of_the_lock_have_all_files_that_it_reads() -> None:
    from erc_cli.model_lock import load_lock
    from erc_transcriber_whisper.network import CONFIG, SOUND, TOKENIZER, WEIGHTS
    from erc_transcriber_whisper.transcriber import MODELS

    lock = load_lock()
    for name in MODELS:
        assert {CONFIG, SOUND, TOKENIZER, WEIGHTS} <= {file.path for file in lock[name].files}
        assert lock[name].licence == "Apache-2.0"


@pytest.mark.parametrize("gone", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(taught: Path, tmp_path: Path, scene: Path, gone: str) -> None:
    folder = tmp_path / "part"
    shutil.copytree(taught, folder)
    (folder / gone).unlink()
    with pytest.raises(UsageError, match=f"has no {re.escape(gone)}") as caught:
        _written(scene, f"transcriber.weights={folder}")
    assert "--set transcriber.weights=FOLDER" in (caught.value.hint or "")


def test_files_that_do_not_belong_together_are_refused(taught: Path, tmp_path: Path, scene: Path) -> None:
    def spoilt(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(taught, folder)
        return folder

    other = spoilt("other")
    (other / "config.json").write_text(json.dumps({**config_of(other), "model_type": "wav2vec2"}))
    with pytest.raises(UsageError, match="model_type is 'wav2vec2', not whisper"):
        _written(scene, f"transcriber.weights={other}")
    damaged = spoilt("damaged")
    (damaged / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"tokenizer\.json cannot be read"):
        _written(scene, f"transcriber.weights={damaged}")
    foreign = spoilt("foreign")
    text = (foreign / "tokenizer.json").read_text().replace("notimestamps", "othermark")
    (foreign / "tokenizer.json").write_text(text)
    with pytest.raises(UsageError, match="not the tokenizer of a Whisper model"):
        _written(scene, f"transcriber.weights={foreign}")
    small = spoilt("small")
    (small / "config.json").write_text(json.dumps({**config_of(small), "vocab_size": 262}))
    with pytest.raises(UsageError, match="its tokens do not fit the network"):
        _written(scene, f"transcriber.weights={small}")
    half = spoilt("half")
    change_tensors(half, lambda t: {k: v for k, v in t.items() if "decoder.layers" not in k})
    with pytest.raises(UsageError, match="is missing, and"):
        _written(scene, f"transcriber.weights={half}")
    with pytest.raises(UsageError, match=r"'xx'.*tiny-film|tiny-film does not know 'xx'"):
        _written(scene, f"transcriber.weights={taught}", "transcriber.language=xx")


def test_its_options_are_bound() -> None:
    _, wrong = bind(build, {"batch": 0, "max_seconds": 31, "threshold": 1}, Path())
    assert sorted(one.option for one in wrong) == ["batch", "max_seconds", "threshold"]


def test_sound_that_is_no_number_does_not_harm(taught: Path, tmp_path: Path) -> None:
    from erc_cli.device import Placement
    from erc_transcriber_whisper.network import load_network

    network = load_network(taught, "en", Placement(), "transcriber.weights")
    broken = np.full(16_000, np.nan, np.float32)
    assert all(one.end <= 1.0 for one in network.write([broken])[0])
