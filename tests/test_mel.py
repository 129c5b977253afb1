"""The mel branch: spectrograms against known sounds, augmentation, and the extractor's contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erc_audio_mel import build, erc_extractors
from erc_audio_mel.augment import Augment, add_noise, add_room, telephone, warp_time
from erc_audio_mel.network import MelNet, load_mel_net, save_mel_net
from erc_audio_mel.spectrogram import COLOURS, POINTS, RATE, Look, Spectrogram, fitted, mel_filters
from erc_cli.errors import ErcError
from erc_cli.hearing import loudest
from erc_cli.media import probe, read_clips
from erc_cli.testing import check_extractor
from erc_cli.types import Clip, Encoded, Head, Status, Utterance, Wish

SMALL = Look(seconds=1.0, bands=32, hop=320, image="grey")


def tone(hertz: float, seconds: float = 1.0, level: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("mel") / "audio.safetensors"
    net = MelNet(SMALL, width=4, projection=12, classes=3).eval()
    head = Head(
        *(np.full(shape, 0.5, np.float32) for shape in ((3, 12), (3,))), np.full(3, 1 / 3, np.float32)
    )
    save_mel_net(net, ("a", "b", "c"), head, path)
    return path


@pytest.fixture(scope="module")
def extractor(weights: Path) -> Any:
    return build(weights=weights)


# --- spectrograms ---------------------------------------------------------------------------


def test_every_band_hears_something_and_bands_cover_everything() -> None:
    filters = mel_filters(128)
    assert filters.shape == (128, POINTS // 2 + 1)
    assert (filters.max(1) > 0.4).all(), "no band falls between two bins"
    assert (filters.max(1) <= 1).all()
    inside = filters.sum(0)[3:-60]
    assert np.abs(inside - 1).max() < 0.02, "neighbours cross at a half, so that they sum to 1"


@pytest.mark.parametrize("hertz", [200, 440, 1000, 3000, 7000])
def test_a_tone_is_loudest_in_its_band(hertz: float) -> None:
    found = Spectrogram(Look()).decibels(torch.from_numpy(tone(hertz))[None])[0]
    mel = 2595 * np.log10(1 + hertz / 700)
    edge = 2595 * np.log10(1 + 8000 / 700) / 129
    assert int(found[:, 50].argmax()) == pytest.approx(mel / edge - 1, abs=1)


def test_levels_are_of_full_scale() -> None:
    """A full-scale sine of 1 kHz is near 0 dB in its band, and a tenth of it 20 dB below."""
    spectrogram = Spectrogram(Look(bands=40))
    full, soft = (
        spectrogram.decibels(torch.from_numpy(tone(1000, level=x))[None])[0, :, 50] for x in (1.0, 0.1)
    )
    assert -6 < float(full.max()) < 0, "the filters sum to 1, the tone lies in two of them"
    assert float(full.max() - soft.max()) == pytest.approx(20, abs=0.01)


def test_the_picture_of_the_paper() -> None:
    sound = torch.from_numpy(tone(440, 3.0))[None]
    picture = Spectrogram(Look())(sound)
    assert picture.shape == (1, 3, 128, 301)
    assert float(picture.min()) >= -2.001
    assert float(picture.max()) <= 2.001
    assert Spectrogram(Look(image="grey"))(sound).shape == (1, 1, 128, 301)
    assert Spectrogram(SMALL)(sound[:, :RATE]).shape == (1, 1, 32, 51)


def test_colours_run_from_the_first_to_the_last() -> None:
    grey, rgb = (Spectrogram(Look(image=image)) for image in ("grey", "rgb"))
    sound = torch.from_numpy(tone(440))[None]
    shade = grey(sound)[:, 0] * 0.25 + 0.5
    picture = rgb(sound) * 0.25 + 0.5
    for value, colour in ((0.0, COLOURS[0]), (1.0, COLOURS[-1])):
        where = (shade - value).abs() < 1e-6
        assert bool(where.any())
        assert picture[0, :, where[0]].mean(1).tolist() == pytest.approx(colour, abs=1e-5)
    assert rgb._coloured(torch.full((1, 1, 1), 0.125)).flatten().tolist() == pytest.approx(
        [(a + b) / 2 for a, b in zip(COLOURS[0], COLOURS[1], strict=True)]
    )


def test_relative_level_knows_no_gain_and_absolute_does() -> None:
    loud, soft = (torch.from_numpy(tone(440, level=x))[None] for x in (0.5, 0.05))
    relative, absolute = (Spectrogram(Look(image="grey", level=level)) for level in ("relative", "absolute"))
    torch.testing.assert_close(relative(loud), relative(soft), atol=2e-2, rtol=0)
    assert float((absolute(loud) - absolute(soft)).max()) == pytest.approx(20 / 80 / 0.25, abs=0.01)


def test_nothing_at_all_is_a_finite_picture() -> None:
    assert bool(Spectrogram(Look())(torch.zeros(1, RATE)).isfinite().all())


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 33])
def test_sounds_are_cut_and_padded_about_their_middle(length: int) -> None:
    sound = np.arange(1, length + 1, dtype=np.float32)
    found = fitted(sound, 16)
    assert len(found) == 16
    kept = found[found > 0]
    assert kept.tolist() == sound[max(length - 16, 0) // 2 :][:16].tolist()
    assert abs(int((found[: 16 // 2] == 0).sum()) - int((found[16 // 2 :] == 0).sum())) <= 1


def test_the_loudest_stretch() -> None:
    sound = np.zeros(RATE, np.float32)
    assert loudest(sound) == loudest(sound[:0]) == -np.inf
    sound[8000:8800] = 0.1
    assert loudest(sound) == pytest.approx(-20, abs=1e-4)
    assert loudest(np.full(10, 0.1, np.float32)) == pytest.approx(-20, abs=1e-4)


# --- augmentation ---------------------------------------------------------------------------


def test_noise_has_the_wanted_level() -> None:
    torch.manual_seed(0)
    sound = torch.from_numpy(tone(440))[None].repeat(200, 1)
    noise = (add_noise(sound, 10.0) - sound).square().mean(1)
    ratios = 10 * torch.log10(0.5 / noise)
    assert 9.5 < float(ratios.min()) < 12
    assert 38 < float(ratios.max()) < 40.5
    assert not add_noise(torch.zeros(1, 100), 10.0).any()


def test_warping_moves_time_and_keeps_the_ends() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 4001)[None].repeat(50, 1)
    warped = warp_time(ramp, 0.2)
    assert bool((warped.diff(dim=1) >= 0).all()), "time never runs backwards"
    assert float(warped[:, 0].abs().max()) < 1e-6
    assert float((warped[:, -1] - 1).abs().max()) < 1e-6
    moved = (warped - ramp).abs().amax(1)
    assert 0.1 < float(moved.max()) < 0.21
    torch.testing.assert_close(warp_time(ramp, 0.0), ramp, atol=1e-5, rtol=0)


def test_a_telephone_takes_away_what_is_low_and_high() -> None:
    for hertz, passed in ((100, False), (1000, True), (6000, False)):
        heard = telephone(torch.from_numpy(tone(hertz))[None]).square().mean()
        assert float(heard) == pytest.approx(0.5 if passed else 0.0, abs=1e-3)


def test_a_room_answers_after_the_sound() -> None:
    torch.manual_seed(0)
    click = torch.zeros(1, RATE)
    click[0, 4000] = 1.0
    heard = add_room(click)[0]
    assert float(heard[:3990].abs().max()) < 1e-6
    early, late = heard[4001:6000].square().sum(), heard[10000:12000].square().sum()
    assert float(early) > 100 * float(late)
    assert 0 < float(heard[4001:].square().sum()) <= 0.51


def test_augmenting_keeps_the_shape_and_follows_the_seed() -> None:
    sound = torch.from_numpy(tone(440, level=0.9))[None].repeat(4, 1)
    change = Augment(room=0.5, telephone=0.5)
    torch.manual_seed(3)
    first = change(sound)
    torch.manual_seed(3)
    assert torch.equal(change(sound), first)
    assert first.shape == sound.shape
    assert float(first.abs().max()) <= 1
    nothing = Augment(warp=0.0, snr=None, gain=0.0)
    assert torch.equal(nothing(sound), sound)


# --- the extractor --------------------------------------------------------------------------


def test_it_keeps_the_contract(extractor: Any) -> None:
    features = check_extractor(extractor)
    assert features.values.shape == (4, 12)
    assert features.present.all()


def test_it_wants_the_middle_of_an_utterance(extractor: Any) -> None:
    assert extractor.wish(Utterance(1.0, 5.0, "")).sound == pytest.approx((2.5, 3.5))
    assert extractor.wish(Utterance(1.0, 1.5, "")).sound == pytest.approx((1.0, 1.5))
    assert extractor.wish(Utterance(1.0, 1.0, "")) == Wish()


def test_silence_is_said(extractor: Any) -> None:
    encoded = extractor.encode(Clip(sound=np.zeros(RATE, np.float32)))
    assert (encoded.values, encoded.status) == (None, Status.SILENT)
    assert extractor.encode(Clip(sound=tone(440, level=0.0005))).status is Status.SILENT
    assert extractor.encode(Clip(sound=np.zeros(0, np.float32))).status is Status.SILENT
    assert extractor.encode(Clip(sound=tone(440, level=0.01))).status is Status.OK
    assert extractor.encode(Clip(sound_status=Status.UNREADABLE)) == Encoded(None, Status.UNREADABLE)


def test_saved_weights_give_the_same_embedding(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = MelNet(SMALL, width=4, projection=12, classes=3).eval()
    save_mel_net(net, ("a",), None, tmp_path / "w.safetensors")
    again, head = load_mel_net(tmp_path / "w.safetensors")
    assert head is None
    assert again.look == SMALL
    sound = torch.from_numpy(tone(300))[None]
    torch.testing.assert_close(again(sound), net(sound), atol=2e-2, rtol=2e-2)


def test_other_weights_are_refused(root: Path) -> None:
    with pytest.raises(ErcError, match=r"holds erc\.faces/1 weights, expected erc\.mel/1"):
        build(weights=root / "presets" / "default" / "visual.safetensors")


def test_a_real_film(extractor: Any, root: Path) -> None:
    info = probe(root / "examples" / "conversation.mp4")
    wishes = [extractor.wish(Utterance(s, s + 2.0, "")) for s in (0.0, 2.0)]
    rows = [extractor.encode(clip) for _, clip in sorted(read_clips(info, wishes), key=lambda item: item[0])]
    assert [row.status for row in rows] == [Status.OK] * 2
    assert not np.allclose(rows[0].values, rows[1].values, atol=1e-3)


def test_the_front_page_imports_nothing_heavy() -> None:
    code = (
        "import sys; import erc_audio_mel as p; p.erc_extractors(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'av', 'safetensors')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
    assert [spec.name for spec in erc_extractors()] == ["mel"]
