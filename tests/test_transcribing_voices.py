"""Whose voice it is: clusters with numbers by hand, and a small ECAPA-TDNN on real sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from audiokit import FILM
from conftest import needs
from speechkit import write_ecapa, write_sound

from erc_cli import voices
from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Progress
from erc_cli.media import probe
from erc_cli.types import Utterance
from erc_cli.voices import Voices, clustered, speaker_file, with_speakers

needs("speechbrain", "speechbrain", "scipy")

CUES = ((0.45, 3.7), (4.15, 7.5), (8.0, 10.7), (11.2, 13.5), (14.0, 16.4), (16.9, 21.8), (22.3, 23.2))


def _at(*degrees: float) -> np.ndarray:
    """Directions in the plane: their cosines are those of the angles between them."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _silent(step: Progress) -> None:
    del step


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ecapa(tmp_path_factory.mktemp("voices") / "my-ecapa")


# --- clusters ------------------------------------------------------------------------------


def test_voices_are_numbered_by_first_appearance() -> None:
    assert clustered(_at(90, 0, 92, 2, 88), 0.5) == [0, 1, 0, 1, 0]
    assert clustered(_at(0, 90, 180), 0.5) == [0, 1, 2]
    assert clustered(_at(10), 0.5) == [0]
    assert clustered(np.zeros((0, 2), np.float32), 0.5) == []


def test_the_threshold_is_the_mean_cosine_distance() -> None:
    # 60 degrees: cosine 0.5, distance 0.5
    assert clustered(_at(0, 60), 0.51) == [0, 0]
    assert clustered(_at(0, 60), 0.49) == [0, 1]
    # 0 and 20 are one; from 80 to them on the average: 1 - (cos 80 + cos 60) / 2 = 0.663
    assert clustered(_at(0, 20, 80), 0.67) == [0, 0, 0]
    assert clustered(_at(0, 20, 80), 0.65) == [0, 0, 1]


def test_only_the_direction_counts_and_a_known_number_is_kept_to() -> None:
    assert clustered(_at(0, 1, 90) * np.array([[1], [500], [0.01]], np.float32), 0.3) == [0, 0, 1]
    assert clustered(_at(0, 1, 90, 91), 0.0001, count=2) == [0, 0, 1, 1]
    assert clustered(_at(0, 1, 90, 91), 2.0, count=2) == [0, 0, 1, 1]
    assert clustered(_at(0, 90), 0.5, count=7) == [0, 1]
    assert clustered(np.ones((3, 2), np.float32), 1e-6) == [0, 0, 0]


def test_of_very_many_some_are_compared_and_the_others_join(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    whose = random.integers(0, 3, 400)
    degrees = whose * 100 + random.uniform(-10, 10, 400)
    wanted = clustered(_at(*degrees), 0.5)
    assert len(set(wanted)) == 3
    monkeypatch.setattr(voices, "MOST", 50)
    assert clustered(_at(*degrees), 0.5) == wanted


# --- with a network ------------------------------------------------------------------------


def test_the_same_sound_is_the_same_speaker(model: Path, tmp_path: Path) -> None:
    """A second and a half of speech, and of a hum, by turns: sounds that any network tells apart."""
    from audiokit import speech

    (clip,) = speech(spans=[(0.6, 2.1)])
    assert clip.sound is not None
    hum = 0.3 * np.sin(2 * np.pi * 90 * np.arange(len(clip.sound)) / 16_000)
    file = write_sound(tmp_path / "turns.wav", np.concatenate([hum, clip.sound] * 3))
    turns = [Utterance(1.5 * i, 1.5 * i + 1.5, "") for i in range(6)]
    told: list[Progress] = []
    named = with_speakers(probe(file), turns, Voices(speaker_file(model), 0.0001), "cpu", told.append)
    assert [one.speaker for one in named.utterances] == ["Speaker 1", "Speaker 2"] * 3
    assert [(one.start, one.end) for one in named.utterances] == [(one.start, one.end) for one in turns]
    assert named.warnings == ()
    assert named.detail == {"model": "my-ecapa", "threshold": 0.0001, "found": 2}
    json.dumps(named.detail)
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("voices", 6, 6)


def test_how_many_speakers_there_are_can_be_said(model: Path) -> None:
    turns = [Utterance(start, end, "") for start, end in CUES[:6]]
    for count in (1, 2, 3):
        named = with_speakers(probe(FILM), turns, Voices(speaker_file(model), 0.5, count), "cpu", _silent)
        assert len({one.speaker for one in named.utterances}) == count
        assert named.utterances[0].speaker == "Speaker 1"


def test_too_little_speech_is_no_speaker_and_that_is_told(model: Path) -> None:
    silent, past = Utterance(22.3, 23.8, ""), Utterance(28.2, 99.0, "")
    turns = [Utterance(*CUES[0], ""), Utterance(4.2, 5.1, ""), silent, Utterance(*CUES[2], ""), past]
    named = with_speakers(probe(FILM), turns, Voices(speaker_file(model), 1.9), "cpu", _silent)
    assert [one.speaker for one in named.utterances] == ["Speaker 1", None, None, "Speaker 1", None]
    assert [(notice.code, notice.message[:16]) for notice in named.warnings] == [
        ("speakers_unsure", "3 utterances are")
    ]
    none = with_speakers(probe(FILM), turns[1:2], Voices(speaker_file(model)), "cpu", _silent)
    assert [one.speaker for one in none.utterances] == [None]
    assert none.detail["found"] == 0


# --- without one ---------------------------------------------------------------------------


def test_without_a_model_nobody_is_named_and_that_is_told() -> None:
    turns = [Utterance(*CUES[0], "", "Ann")]
    named = with_speakers(probe(FILM), turns, Voices(), "cpu", _silent)
    assert named.utterances == tuple(turns)
    assert [notice.code for notice in named.warnings] == ["speakers_unknown"]
    assert "erc models pull ecapa-voxceleb" in named.warnings[0].message


def test_a_model_is_a_folder_a_file_or_the_one_that_was_pulled(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model / "embedding_model.safetensors"
    assert speaker_file(None) is None
    assert speaker_file(model) == speaker_file(file) == file
    monkeypatch.setenv("ERC_MODELS", str(tmp_path))
    assert speaker_file("auto") is None
    (tmp_path / "ecapa-voxceleb").mkdir()
    (tmp_path / "ecapa-voxceleb" / file.name).write_bytes(file.read_bytes())
    (tmp_path / ".records").mkdir()
    from erc_cli.model_lock import load_lock
    from erc_cli.model_store import HeldFile, record_of

    held = [HeldFile(file.name, file.stat().st_size, "0" * 64)]
    record = json.dumps(record_of(load_lock()["ecapa-voxceleb"], held))
    (tmp_path / ".records" / "ecapa-voxceleb.json").write_text(record)
    assert speaker_file("auto") == tmp_path / "ecapa-voxceleb" / file.name
    monkeypatch.setattr(voices, "_NEEDS", ("no_such_library",))
    assert speaker_file("auto") is None
    with pytest.raises(ErcError, match="needs no_such_library") as caught:
        with_speakers(probe(FILM), [], Voices(file), "cpu", _silent)
    assert caught.value.hint == "Type: pip install 'erc-cli[speechbrain]'"


def test_what_is_no_speaker_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no embedding_model\.safetensors") as caught:
        speaker_file(tmp_path)
    assert "erc models pull ecapa-voxceleb" in (caught.value.hint or "")
    (tmp_path / "embedding_model.ckpt").write_bytes(b"x")
    with pytest.raises(UsageError) as caught:
        speaker_file(tmp_path)
    assert (caught.value.hint or "").startswith("Type: erc models convert ")
    (tmp_path / "embedding_model.safetensors").write_bytes(b"nonsense")
    turns = [Utterance(*CUES[0], "")]
    with pytest.raises(UsageError, match="not a safetensors file"):
        with_speakers(probe(FILM), turns, Voices(speaker_file(tmp_path)), "cpu", _silent)
