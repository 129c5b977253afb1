"""`segments`: where somebody speaks, on real speech; the cutting with numbers by hand."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from audiokit import FILM, long_speech, speech
from conftest import ROOT, needs
from speechkit import RATE, write_sound

from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Progress
from erc_cli.media import probe
from erc_cli.registry import load_registry
from erc_cli.transcribing import plan, transcribe
from erc_cli.types import Notice, Transcript

needs("vad", "silero_vad", "onnxruntime")

from erc_cli.nets import silero  # noqa: E402
from erc_cli.nets.silero import FRAME, SECONDS, load_silero  # noqa: E402
from erc_cli.speech_spans import WINDOW, Cutting, cut, find_speech  # noqa: E402


def _heard(path: Path, *settings: str) -> Transcript:
    made = plan("segments", settings, load_registry())
    assert made is not None
    return transcribe(made, probe(path))


def _film_sound() -> np.ndarray:
    (clip,) = speech(spans=[(0.0, 28.5)])
    assert clip.sound is not None
    return clip.sound


def _cues() -> list[tuple[float, float]]:
    text = (ROOT / "examples" / "conversation.srt").read_text()
    stamps = re.findall(r"00:00:(\d\d),(\d{3}) --> 00:00:(\d\d),(\d{3})", text)
    return [(int(a) + int(b) / 1000, int(c) + int(d) / 1000) for a, b, c, d in stamps]


def _inside(spans: list[tuple[float, float]], times: np.ndarray) -> np.ndarray:
    return np.any([(times >= start) & (times < end) for start, end in spans], axis=0)


# --- the network ---------------------------------------------------------------------------


def test_probabilities_are_those_of_the_packages_own_model_frame_by_frame() -> None:
    import onnxruntime

    sound = _film_sound()[: FRAME * 300]
    session = onnxruntime.InferenceSession(
        str(Path(load_silero()._path).with_name("silero_vad.onnx")), providers=["CPUExecutionProvider"]
    )
    state, before, wanted = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32), []
    for start in range(0, len(sound), FRAME):
        frame = np.concatenate([before, sound[None, start : start + FRAME]], axis=1)
        said, state = session.run(None, {"input": frame, "state": state, "sr": np.array(RATE)})
        before = frame[:, -64:]
        wanted.append(said[0, 0])
    assert np.abs(load_silero().probabilities(sound) - wanted).max() < 1e-5


def test_pieces_are_heard_as_one_sound_until_it_forgets() -> None:
    sound = _film_sound()
    whole = load_silero().probabilities(sound)
    meter = load_silero()
    parts = [meter.probabilities(sound[i : i + 100 * FRAME]) for i in range(0, len(sound), 100 * FRAME)]
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-6
    meter.forget()
    assert np.abs(meter.probabilities(sound) - whole).max() < 1e-6
    assert len(load_silero().probabilities(sound[: FRAME + 1])) == 2
    assert load_silero().probabilities(sound[:0]).shape == (0,)


def test_numbers_that_are_none_do_not_deafen_it() -> None:
    sound = _film_sound()
    broken = sound.copy()
    broken[: 5 * FRAME] = np.nan
    meter = load_silero()
    assert np.isfinite(meter.probabilities(broken)).all()
    assert meter.probabilities(sound).max() > 0.9


def test_a_package_without_the_file_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "_FILE", Path("data", "gone.onnx"))
    with pytest.raises(ErcError, match=r"gone\.onnx, is not installed") as caught:
        load_silero()
    assert caught.value.hint == "Type: pip install -U 'silero-vad>=6.2.2,<7'"


# --- the cutting ---------------------------------------------------------------------------

BARE = Cutting(min_speech=0.0, min_silence=2 * SECONDS, pad=0.0, max_seconds=100)


def _frames(*spans: tuple[float, float]) -> list[tuple[int, int]]:
    return [(round(a / SECONDS), round(b / SECONDS)) for a, b in spans]


def test_a_run_begins_at_the_threshold_and_ends_well_below_it() -> None:
    chances = np.array([0.1, 0.49, 0.5, 0.4, 0.36, 0.34, 0.34, 0.9, 0.2, 0.9, 0.1, 0.1], np.float32)
    assert _frames(*cut(chances, BARE)) == [(2, 5), (7, 10)]
    assert cut(np.zeros(0, np.float32), BARE) == []
    assert _frames(*cut(np.array([0.9], np.float32), BARE)) == [(0, 1)]


def test_a_pause_is_as_long_as_asked_and_a_click_is_no_speech() -> None:
    chances = np.repeat(np.array([0, 1, 0, 1, 0, 1], np.float32), [10, 40, 10, 40, 14, 3])
    long = Cutting(min_silence=12 * SECONDS, min_speech=5 * SECONDS, pad=0.0)
    assert _frames(*cut(chances, long)) == [(10, 100)]
    short = Cutting(min_silence=5 * SECONDS, min_speech=5 * SECONDS, pad=0.0)
    assert _frames(*cut(chances, short)) == [(10, 50), (60, 100)]


def test_what_is_too_long_is_cut_where_speech_is_least_likely_in_the_second_half() -> None:
    chances = np.ones(100, np.float32)
    chances[[5, 33, 60]] = 0.6  # 5 is in the first half of the first part
    parts = _frames(*cut(chances, Cutting(pad=0.0, max_seconds=40 * SECONDS)))
    assert parts[0] == (0, 33)
    assert parts[1] == (33, 60)
    assert parts[-1][1] == 100
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert max(end - start for start, end in parts) <= 40


def test_what_is_kept_around_does_not_overlap_nor_make_it_too_long() -> None:
    chances = np.repeat(np.array([0, 1, 0, 1, 0], np.float32), [1, 50, 20, 50, 100])
    wide = Cutting(min_silence=10 * SECONDS, pad=1.0)
    (a, b), (c, d) = cut(chances, wide)
    assert (a, b, c) == (0.0, round(61 * SECONDS, 3), round(61 * SECONDS, 3))
    assert d == round(121 * SECONDS + 1.0, 3)
    tight = Cutting(min_silence=10 * SECONDS, pad=1.0, max_seconds=60 * SECONDS)
    assert max(end - start for start, end in cut(chances, tight)) <= 60 * SECONDS + 0.001


# --- recordings ----------------------------------------------------------------------------


def test_the_utterances_of_a_film_are_found() -> None:
    made = _heard(FILM)
    spans = [(one.start, one.end) for one in made.utterances]
    assert made.format == "segments"
    assert {(one.text, one.speaker) for one in made.utterances} == {("", None)}
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    times = np.arange(0, 28.5, 0.01)
    spoken, found = _inside(_cues(), times), _inside(spans, times)
    assert (spoken & found).sum() / spoken.sum() > 0.88
    assert (found & ~spoken).sum() * 0.01 < 2.0  # of 4.7 s between the cues
    clear = [cue for cue in _cues() if cue[1] - cue[0] > 2]  # all but one that is silent
    assert all(any(abs(start - cue[0]) < 0.3 for start, _ in spans) for cue in clear)


def test_who_made_it_is_told_with_versions_and_options() -> None:
    made = _heard(FILM, "transcriber.threshold=0.6", "transcriber.speaker_model=null")
    assert made.detail["name"] == "segments"
    assert re.fullmatch(r"erc-cli \d.*", made.detail["package"])
    assert set(made.detail["libraries"]) == {"silero_vad", "onnxruntime"}
    assert made.detail["options"]["threshold"] == 0.6
    assert made.detail["options"]["min_silence"] == 0.4
    assert [notice.code for notice in made.warnings] == ["speakers_unknown"]
    assert "erc models pull ecapa-voxceleb" in made.warnings[0].message


def test_real_speech_and_real_silence(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "media"
    jfk = _heard(folder / "audio" / "fw_jfk.flac").utterances
    assert 7 < sum(one.end - one.start for one in jfk) < 11
    assert jfk[0].start < 0.4
    with pytest.raises(UsageError, match="No speech was found"):
        _heard(folder / "talking" / "two_people_film.mp4")  # a street with its noises


@pytest.mark.parametrize("seconds", [0.01, 0.2, 3.0])
def test_silence_and_noise_hold_no_speech(tmp_path: Path, seconds: float) -> None:
    random = np.random.default_rng(0)
    for name, level in (("silence", 0.0), ("noise", 0.05)):
        file = write_sound(tmp_path / f"{name}.wav", random.normal(0, level, round(seconds * RATE)))
        with pytest.raises(UsageError, match=rf"No speech was found in .*{name}\.wav"):
            _heard(file)


def test_speech_over_the_edge_of_a_window_is_one_span(tmp_path: Path) -> None:
    edge = WINDOW * FRAME
    sound = np.zeros(edge + 4 * RATE, np.float32)
    said = _film_sound()[int(0.45 * RATE) : int(3.7 * RATE)]
    sound[edge - len(said) // 2 : edge - len(said) // 2 + len(said)] = said
    (one,) = _heard(write_sound(tmp_path / "edge.wav", sound), "transcriber.min_silence=0.6").utterances
    assert one.start < edge / RATE - 1
    assert one.end > edge / RATE + 1


def test_a_file_that_is_longer_than_it_says_is_heard_to_its_end(tmp_path: Path) -> None:
    """mp3 of two bit rates without a table of contents: its length is guessed from the first frames."""
    sound = np.concatenate([_film_sound()[: 4 * RATE], _film_sound()])
    parts = []
    for name, rate, piece in (("a", 128_000, sound[: 4 * RATE]), ("b", 32_000, sound[4 * RATE :])):
        with av.open(str(tmp_path / f"{name}.mp3"), "w", options={"write_xing": "0"}) as container:
            stream = container.add_stream("mp3", rate=RATE, layout="mono")
            stream.bit_rate = rate
            frame = av.AudioFrame.from_ndarray((piece[None] * 32767).astype("<i2"), "s16", "mono")
            frame.sample_rate = RATE
            for made in (frame, None):
                container.mux(stream.encode(made))
        parts.append((tmp_path / f"{name}.mp3").read_bytes())
    file = tmp_path / "talk.mp3"
    file.write_bytes(b"".join(parts))
    info = probe(file)
    assert info.duration < 25
    assert _heard(file).utterances[-1].end > 31


def test_a_file_that_is_cut_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "cut.flac"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((_film_sound()[None] * 32767).astype("<i2"), "s16", "mono")
        frame.sample_rate = RATE
        for made in (frame, None):
            container.mux(stream.encode(made))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    made = _heard(file)
    assert 5 < made.utterances[-1].end < 20
    assert made.warnings[0].code in ("media_cut", "media_damaged")


def test_progress_goes_up_and_damage_is_told() -> None:
    shares: list[float] = []
    notices: list[Notice] = []
    found = find_speech(
        probe(FILM), load_silero(), Cutting(), on_progress=shares.append, on_warning=notices.append
    )
    assert found
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert notices == []
    steps: list[Progress] = []
    made = plan("segments", [], load_registry())
    assert made is not None
    transcribe(made, probe(FILM), steps.append)
    assert {(step.stage, step.total) for step in steps} == {("speech", 100)}


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the memory of a process is POSIX")

    def peak() -> int:
        found: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return found

    sound = long_speech(60).sound
    assert sound is not None
    short = write_sound(tmp_path / "short.wav", sound)
    long = write_sound(tmp_path / "long.wav", np.tile(sound, 12))
    _heard(short)
    before = peak()
    made = _heard(long)
    assert made.utterances[-1].end > 700
    assert peak() - before < 25  # 12 min of sound are 46 MB
