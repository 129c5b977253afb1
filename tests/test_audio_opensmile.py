"""`opensmile`: eGeMAPS of real speech, against the library itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from audiokit import FILM, RATE, long_speech, sounds_of, speech, write_fusion
from conftest import Erc

from erc_audio_opensmile import build, erc_extractors
from erc_cli.testing import check_extractor, talk
from erc_cli.types import Clip, Extractor, Status

opensmile = pytest.importorskip(
    "opensmile", reason="needs the extra opensmile: pip install 'erc-cli[opensmile]'"
)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return build()


def theirs(sound: np.ndarray) -> np.ndarray:
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    values: np.ndarray = smile.process_signal(sound, RATE).to_numpy(np.float32)[0]
    return values


def test_figures_are_the_librarys_own(extractor: Extractor, shared: Path) -> None:
    clips = [*speech(), *speech(shared / "data/media/audio/fw_jfk.flac", [(0.0, 11.0)])]
    for clip, sound in zip(clips, sounds_of(clips), strict=True):
        np.testing.assert_allclose(extractor.encode(clip).values, theirs(sound), rtol=1e-4, atol=1e-5)
    assert extractor.dim == 88


def test_pitch_is_in_the_right_place(extractor: Extractor) -> None:
    """An octave is 12 semitones in the first figure, and the voice of 150 Hz is 29.5 above 27.5 Hz."""
    time = np.arange(2 * RATE) / RATE
    found = []
    for hertz in (150.0, 300.0):
        buzz = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12))
        row = extractor.encode(Clip((0.1 * buzz).astype(np.float32)))
        assert row.values is not None
        found.append(float(row.values[0]))
    assert found[0] == pytest.approx(12 * np.log2(150 / 27.5), abs=0.3)
    assert found[1] - found[0] == pytest.approx(12, abs=0.3)


def test_a_minute_is_the_mean_of_its_pieces() -> None:
    clip = long_speech(60.0)
    assert clip.sound is not None
    halves = [theirs(half) for half in np.array_split(clip.sound, 2)]
    found = build(max_seconds=30.0).encode(clip).values
    np.testing.assert_allclose(found, np.mean(halves, axis=0), rtol=1e-4, atol=1e-5)
    assert build().encode(clip).status is Status.OK


def test_what_cannot_be_heard_has_a_status(extractor: Extractor) -> None:
    sound = sounds_of(speech())[0]
    broken = sound.copy()
    broken[5] = np.nan
    expected = {
        "silent": (sound[: RATE // 20], sound[:0], np.zeros(RATE, np.float32), sound * 1e-4),
        "unreadable": (broken,),
        "ok": (sound[: RATE // 10], np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)),
    }
    for status, sounds in expected.items():
        for one in sounds:
            row = extractor.encode(Clip(one))
            assert row.status.value == status
            assert row.values is None or np.isfinite(row.values).all()
    assert extractor.encode(Clip(None, Status.NO_AUDIO_TRACK)).status is Status.NO_AUDIO_TRACK


def test_it_keeps_the_contract(extractor: Extractor) -> None:
    assert check_extractor(extractor).values.shape == (4, 88)
    rows = [extractor.encode(clip) for clip in speech()]
    features = build(normalise="speaker").gather(talk(4), rows)
    np.testing.assert_allclose(features.values[[0, 2]].mean(0), 0, atol=1e-4)


def test_its_licence_is_said(erc: Erc) -> None:
    done = erc("plugins", "show", "opensmile")
    assert done.returncode == 0
    assert "not for commercial products" in " ".join(done.stdout.split())
    (spec,) = erc_extractors()
    assert spec.extra == "opensmile"


@pytest.mark.slow
def test_the_default_preset_with_this_voice(tmp_path: Path, erc: Erc) -> None:
    use = ("--set", "audio.use=opensmile")
    done = erc("predict", FILM, *use, "--keep", "audio", "--json")
    assert done.returncode == 2
    assert "trained on the features of prosody" in done.stderr
    fusion = ("--set", f"fusion.weights={write_fusion(tmp_path / 'fusion.safetensors', 88)}")
    done = erc("predict", FILM, *use, *fusion, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [u["modalities"]["audio"]["status"] for u in found["utterances"]].count("ok") >= 7


def test_the_front_page_imports_nothing_heavy() -> None:
    code = (
        "import sys; import erc_audio_opensmile as p; p.erc_extractors(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'av', 'opensmile', 'pandas')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
