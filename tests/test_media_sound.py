"""Sound of erc_cli.media, exact to the sample."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from mediakit import CFR, RATE, Audio, Video, clips, heard, noise, sweep, write

from erc_cli.types import Clip, Notice, Status, Wish


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mkv", "a.mp4"])
def test_sound_is_exact_to_the_sample(tmp_path: Path, name: str) -> None:
    samples = noise(12)
    codec = "pcm_s16le" if name == "a.wav" else "flac"
    path = write(tmp_path / name, audio=Audio(samples, codec=codec))
    rng = np.random.default_rng(3)
    spans = [(a, a + d) for a, d in zip(rng.uniform(0, 11, 40), rng.uniform(0.01, 6, 40), strict=True)]
    info, got = clips(path, [Wish(sound=span) for span in spans])
    assert info.duration == pytest.approx(12.0, abs=0.01)
    for index, (start, end) in enumerate(spans):
        expected = heard(samples)[round(start * RATE) : round(end * RATE)]
        assert got[index].sound.dtype == np.float32
        assert np.array_equal(got[index].sound, expected)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 1), (44_100, 6), (8_000, 1)])
def test_resampled_sound_agrees_with_a_straightforward_decode(
    tmp_path: Path, rate: int, channels: int
) -> None:
    path = write(tmp_path / "a.mp4", audio=Audio(noise(9, rate, channels), rate=rate, codec="aac"))
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono", RATE)
        frames = list(container.decode(audio=0))
        whole = np.concatenate(
            [out.to_ndarray()[0] for f in [*frames, None] for out in resampler.resample(f)]
        )
        offset = round((frames[0].time - (container.start_time or 0) / av.time_base) * RATE)
    _, got = clips(path, [Wish(sound=(t, t + 1.7)) for t in (0.5, 3.3, 3.4, 7.0)])
    for index, start in enumerate((0.5, 3.3, 3.4, 7.0)):
        at = round(start * RATE) - offset
        reference = whole[at : at + round((start + 1.7) * RATE) - round(start * RATE)]
        ratio = np.linalg.norm(got[index].sound) / np.linalg.norm(reference)
        assert np.abs(got[index].sound - ratio * reference).max() < 1e-5
        assert ratio < 1.01  # mixing down never makes it louder


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_lossy_sound_is_not_shifted_by_its_encoder(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, Video(CFR[:75]), Audio(sweep(3), codec="aac"))
    _, got = clips(path, [Wish(sound=(1.0, 2.0))])
    likeness = [np.corrcoef(got[0].sound, sweep(3)[RATE + d : 2 * RATE + d])[0, 1] for d in range(-40, 41)]
    assert abs(int(np.argmax(likeness)) - 40) <= 1
    assert max(likeness) > 0.99


def test_equal_channels_keep_their_level(tmp_path: Path) -> None:
    tone = (0.8 * np.sin(2 * np.pi * 220 * np.arange(2 * 48_000) / 48_000)).astype(np.float32)
    for codec, name in (("aac", "a.mp4"), ("flac", "a.flac")):
        path = write(tmp_path / name, audio=Audio(np.stack([tone, tone]), rate=48_000, codec=codec))
        _, got = clips(path, [Wish(sound=(0.5, 1.5))])
        assert np.abs(got[0].sound).max() == pytest.approx(0.8, abs=0.02)


def test_sound_that_starts_late_is_where_it_belongs(tmp_path: Path) -> None:
    samples = noise(4)
    path = write(tmp_path / "v.mkv", Video(CFR), Audio(samples, start=2.0))
    wishes = [Wish(sound=(1.0, 3.0)), Wish(sound=(0.0, 1.0)), Wish(sound=(3.0, 3.5)), Wish(sound=(5.5, 9.0))]
    _, got = clips(path, wishes)
    assert np.array_equal(got[0].sound, np.concatenate([np.zeros(RATE), heard(samples)[:RATE]]))
    assert np.array_equal(got[1].sound, np.zeros(RATE))
    assert np.array_equal(got[2].sound, heard(samples)[RATE : RATE * 3 // 2])
    assert np.array_equal(got[3].sound[: RATE // 2], heard(samples)[RATE * 7 // 2 :])
    assert len(got[3].sound) < RATE * 0.6


def test_a_gap_in_the_sound_is_silence_and_shifts_nothing(tmp_path: Path) -> None:
    samples = noise(4)
    path = write(tmp_path / "a.mkv", audio=Audio(samples, codec="pcm_s16le", gap=(2 * RATE, 1.5)))
    notices: list[Notice] = []
    _, got = clips(path, [Wish(sound=(1.5, 4.0)), Wish(sound=(2.5, 3.0)), Wish(sound=(4.5, 5.0))], notices)
    full = np.concatenate(
        [heard(samples)[: 2 * RATE], np.zeros(round(1.5 * RATE)), heard(samples)[2 * RATE :]]
    )
    assert np.array_equal(got[0].sound, full[round(1.5 * RATE) : 4 * RATE])
    assert np.array_equal(got[1].sound, np.zeros(RATE // 2))
    assert np.array_equal(got[2].sound, full[round(4.5 * RATE) : 5 * RATE])
    assert notices == []


def test_partly_and_wholly_outside(tmp_path: Path) -> None:
    samples = noise(3)
    path = write(tmp_path / "a.wav", audio=Audio(samples, codec="pcm_s16le"))
    spans = [(2.5, 7.0), (3.0, 4.0), (100.0, 101.0), (-1.0, 0.5), (2.0, float("inf")), (1.0, 1.0)]
    _, got = clips(path, [Wish(sound=span) for span in spans])
    assert np.array_equal(got[0].sound, heard(samples)[RATE * 5 // 2 :])
    assert got[1] == got[2] == Clip(sound_status=Status.OUTSIDE_MEDIA)
    assert np.array_equal(got[3].sound, heard(samples)[: RATE // 2])
    assert np.array_equal(got[4].sound, heard(samples)[2 * RATE :])
    assert got[5].sound.shape == (0,)
