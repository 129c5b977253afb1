"""The extractor `prosody`: figures against Praat and MELD's table, statuses, features."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import parselmouth
import pytest

from erc_audio_prosody import build, erc_extractors
from erc_audio_prosody.context import MEMORY, REACH, with_context
from erc_audio_prosody.extractor import HIGHEST, LOWEST, TYPICAL
from erc_audio_prosody.harmonicity import harmonicity
from erc_audio_prosody.praat import FIGURES, measure, pause_frames, syllable_peaks
from erc_cli.media import probe, read_clips
from erc_cli.testing import check_extractor, talk
from erc_cli.types import Clip, Conversation, Encoded, Extractor, Features, Status, Utterance, Wish

RATE = 16_000


def voice(syllables: int = 5, *, pitch: float = 150.0, seconds: float = 0.25) -> np.ndarray:
    """Buzzes of a given pitch that swell and fade, one a syllable, over a very faint hiss."""
    time = np.arange(round(syllables * seconds * RATE)) / RATE
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    loudness = 0.02 + np.sin(np.pi * time / seconds) ** 2
    hiss = np.random.default_rng(0).normal(0, 1e-4, time.size)
    return (0.1 * loudness * harmonics + hiss).astype(np.float32)


def noise(seconds: float, level: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, level, round(seconds * RATE)).astype(np.float32)


def figures(samples: np.ndarray) -> dict[str, float]:
    return dict(zip(FIGURES, map(float, measure(samples).figures), strict=True))


def gathered(extractor: Extractor, rows: list[Encoded | None]) -> Features:
    return extractor.gather(talk(len(rows)), rows)


@pytest.fixture(scope="session")
def meld_row(shared: Path) -> dict[str, float]:
    table = shared / "data/meld/prosody/meld_test_audio_features.csv"
    with table.open(newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["filename"] == "dia0_utt0.wav")
    return {name: float(row[name]) for name in FIGURES}


# --- the figures ---------------------------------------------------------------------------


def test_agrees_with_the_row_of_meld_through_our_own_media(shared: Path, meld_row: dict[str, float]) -> None:
    extractor = build()
    wish = extractor.wish(Utterance(0.0, meld_row["duration"], ""))
    info = probe(shared / "data/media/audio/meld/dia0_utt0.wav")
    ((_, clip),) = read_clips(info, [wish])
    found = extractor.encode(clip)
    assert found.status is Status.OK
    assert found.values is not None
    assert found.values.dtype == np.float32
    for name, value in zip(FIGURES, found.values, strict=True):
        tolerance = 0.15 if name == "articulation_rate" else 0.01
        assert value == pytest.approx(meld_row[name], rel=tolerance), name


def test_agrees_with_the_row_of_meld_at_the_rate_of_the_file(
    shared: Path, meld_row: dict[str, float]
) -> None:
    sound = parselmouth.Sound(str(shared / "data/media/audio/meld/dia0_utt0.wav"))
    found = measure(sound.values.mean(axis=0), int(sound.sampling_frequency), hnr_silence=0.1)
    for name, value in zip(FIGURES, found.figures, strict=True):
        # The mean of both channels has less noise than the two channels that the table was made from.
        tolerance = {"articulation_rate": 0.15, "mean_hnr": 0.02}.get(name, 0.01)
        assert value == pytest.approx(meld_row[name], rel=tolerance), name


def test_figures_of_a_made_up_voice() -> None:
    found = figures(voice(syllables=6, pitch=150.0, seconds=0.25))
    assert found["duration"] == pytest.approx(1.5)
    assert found["avg_pitch"] == pytest.approx(150.0, rel=0.005)
    assert found["pitch_std"] < 2.0
    assert found["pitch_range"] < 10.0
    # Six swells; the first has no maximum before it, so it has no dip before it either.
    assert found["articulation_rate"] == pytest.approx(5 / 1.5)
    assert found["mean_hnr"] > 15.0


def test_ten_times_the_amplitude_is_20_db_and_nothing_else() -> None:
    quiet, loud = figures(voice() * 0.05), figures(voice() * 0.5)
    assert loud["avg_intensity"] - quiet["avg_intensity"] == pytest.approx(20.0, abs=0.01)
    for name in set(FIGURES) - {"avg_intensity"}:
        assert loud[name] == pytest.approx(quiet[name], rel=1e-3), name


def test_intensity_is_that_of_praat_by_definition() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.float32)
    expected = 20 * np.log10(0.5 / np.sqrt(2) / 2e-5)
    assert figures(tone)["avg_intensity"] == pytest.approx(expected, abs=0.01)


def test_digital_silence_between_words_does_not_swamp_the_deviation() -> None:
    found = figures(np.concatenate([voice(2), np.zeros(RATE, np.float32), voice(2)]))
    assert found["intensity_variation"] < 50.0


def test_a_pause_is_not_phonation() -> None:
    pause = noise(0.6, 1e-5)
    spoken, paused = figures(voice(8)), figures(np.concatenate([voice(4), pause, voice(4)]))
    assert paused["articulation_rate"] == pytest.approx(spoken["articulation_rate"], rel=0.15)
    assert paused["articulation_rate"] > 1.15 * 7 / 2.6  # nuclei by the whole duration


def test_syllable_peaks_by_hand() -> None:
    #                   first  shallow dip  deep dip   below the threshold
    contour = np.array([50, 60, 59, 61, 50, 62, 30, 36, 20, 60.5, 55], dtype=float)
    assert syllable_peaks(contour, 40.0).tolist() == [5, 9]
    assert syllable_peaks(contour, 25.0).tolist() == [5, 7, 9]
    assert syllable_peaks(np.linspace(0, 60, 9), 0.0).tolist() == []


def test_pause_frames_by_hand() -> None:
    quiet = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1], dtype=bool)
    assert pause_frames(quiet, 3) == 7
    assert pause_frames(quiet, 2) == 9
    assert pause_frames(np.zeros(4, dtype=bool), 1) == 0


# --- harmonicity ---------------------------------------------------------------------------


def praat_harmonicity(samples: np.ndarray, silence: float) -> np.ndarray:
    sound = parselmouth.Sound(samples.astype(np.float64), RATE)
    contour = sound.to_harmonicity_cc(silence_threshold=silence).values[0]
    return np.asarray(contour[contour > -200])


@pytest.mark.parametrize("silence", [0.08, 0.1])
def test_harmonicity_is_praats_on_a_made_up_voice(silence: float) -> None:
    samples = voice() + noise(1.25, 0.01)
    ours, praats = (
        harmonicity(samples.astype(np.float64), RATE, silence=silence),
        praat_harmonicity(samples, silence),
    )
    assert abs(len(ours) - len(praats)) <= 1
    assert ours.mean() == pytest.approx(praats.mean(), abs=0.1)


def test_harmonicity_is_praats_on_recorded_speech(shared: Path) -> None:
    files = sorted((shared / "data/ravdess").glob("*/*.ogg"))[::200]
    files += [shared / "data/media/audio/meld/dia0_utt0.wav"]
    assert len(files) > 3
    for file in files:
        ((_, clip),) = read_clips(probe(file), [Wish(sound=(0.0, 10.0))])
        assert clip.sound is not None
        ours, praats = (
            harmonicity(clip.sound.astype(np.float64), RATE, silence=0.08),
            praat_harmonicity(clip.sound, 0.08),
        )
        assert abs(len(ours) - len(praats)) <= 2, file.name
        assert ours.mean() == pytest.approx(praats.mean(), rel=0.02), file.name


def test_a_long_pause_is_left_out_of_the_harmonicity() -> None:
    spoken = voice() + noise(1.25, 0.01)
    samples = np.concatenate([spoken, 1e-4 * np.tile(spoken, 6)])  # blocks without one loud frame
    ours = harmonicity(samples.astype(np.float64), RATE, silence=0.08)
    praats = praat_harmonicity(samples, 0.08)
    assert abs(len(ours) - len(praats)) <= 1
    assert ours.mean() == pytest.approx(praats.mean(), abs=0.1)


def test_harmonicity_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = voice().astype(np.float64)
    whole = harmonicity(samples, RATE, silence=0.08)
    monkeypatch.setattr("erc_audio_prosody.harmonicity.BLOCK", 7)
    np.testing.assert_allclose(harmonicity(samples, RATE, silence=0.08), whole, rtol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 300, 426, 427, 430, 1600])
def test_harmonicity_of_next_to_nothing(count: int) -> None:
    assert harmonicity(np.zeros(count), RATE, silence=0.08).size == 0
    assert np.isfinite(harmonicity(np.arange(count) % 100 / 100, RATE, silence=0.08)).all()


# --- statuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sound", "why"),
    [
        (np.zeros(0, np.float32), "nothing"),
        (np.zeros(RATE, np.float32), "digital silence"),
        (np.full(RATE, 0.2, np.float32), "an offset without sound"),
        (noise(1.0, 1e-4), "faint noise, -80 dB"),
        (noise(1.0, 0.1), "steady loud noise"),
        (voice()[:1500], "shorter than 0.1 s"),
    ],
)
def test_silent(sound: np.ndarray, why: str) -> None:
    found = build().encode(Clip(sound=sound))
    assert found.status is Status.SILENT, why
    assert found.values is None


def test_silence_db_is_the_level_that_some_part_must_reach() -> None:
    faint = Clip(sound=voice() * 10 ** (-40 / 20))  # about -60 dB in all
    assert build(silence_db=-90.0).encode(faint).status is Status.OK
    assert build(silence_db=-45.0).encode(faint).status is Status.SILENT
    spoken_at_the_end = Clip(sound=np.concatenate([np.zeros(20 * RATE, np.float32), voice()]))
    assert build().encode(spoken_at_the_end).status is Status.OK


def test_a_whisper_is_speech_of_undefined_pitch() -> None:
    swell = np.abs(np.sin(np.arange(RATE) / RATE * np.pi * 4)) + 0.01
    found = build().encode(Clip(sound=(noise(1.0, 0.05) * swell).astype(np.float32)))
    assert found.status is Status.OK
    assert set(found.detail["undefined"]) >= {"avg_pitch", "articulation_rate"}
    assert found.values is not None
    assert found.values[FIGURES.index("avg_pitch")] == TYPICAL[FIGURES.index("avg_pitch")]
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("samples", [1600, 1700, 2047, 2048, 2049, 3200])
def test_the_shortest_sounds(samples: int) -> None:
    found = build().encode(Clip(sound=voice(1)[800 : 800 + samples]))
    assert found.status is Status.OK
    assert found.values is not None
    assert np.isfinite(found.values).all()
    assert found.values[0] == pytest.approx(samples / RATE)


@pytest.mark.parametrize("status", [Status.NO_AUDIO_TRACK, Status.OUTSIDE_MEDIA, Status.UNREADABLE])
def test_no_sound_keeps_its_reason(status: Status) -> None:
    found = build().encode(Clip(sound=None, sound_status=status))
    assert found == Encoded(None, status)


def test_wish_is_the_utterance_up_to_max_seconds() -> None:
    assert build().wish(Utterance(2.0, 5.5, "")) == Wish(sound=(2.0, 5.5))
    assert build().wish(Utterance(2.0, 90.0, "")) == Wish(sound=(2.0, 32.0))
    assert build(max_seconds=4.0).wish(Utterance(2.0, 90.0, "")) == Wish(sound=(2.0, 6.0))
    assert build().wish(Utterance(2.0, 2.0, "")) == Wish()


# --- features ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"log": True}, {"context": True}, {"log": True, "context": True}])
def test_keeps_the_contract(options: dict[str, bool]) -> None:
    features = check_extractor(build(**options), talk(5))
    assert features.present.all()
    assert features.values.shape == (5, 32 if options.get("context") else 8)


def test_gather_fills_gaps_and_keeps_outliers_in_range() -> None:
    wild = np.array([900, -300, 85, np.nan, 400, 9999, np.nan, -np.inf], dtype=np.float32)
    features = gathered(build(), [Encoded(wild)])
    assert features.values[0].tolist() == pytest.approx(
        [HIGHEST[0], LOWEST[1], HIGHEST[2], TYPICAL[3], HIGHEST[4], HIGHEST[5], 0.0, TYPICAL[7]]
    )


def test_gather_says_why_a_row_is_absent() -> None:
    row = Encoded(TYPICAL)
    spoken, empty = Utterance(0, 1, "a"), Utterance(1, 1, "b")
    conversation = Conversation((spoken, empty, spoken, spoken, spoken))
    rows = [row, None, None, Encoded(None, Status.SILENT), Encoded(None, Status.OUTSIDE_MEDIA)]
    features = build().gather(conversation, rows)
    assert features.status == (
        Status.OK,
        Status.SILENT,
        Status.NO_AUDIO_TRACK,
        Status.SILENT,
        Status.OUTSIDE_MEDIA,
    )
    assert features.present.tolist() == [True, False, False, False, False]
    assert np.array_equal(features.values[0], TYPICAL)


def of_level(level: float) -> Encoded:
    """Typical figures but for the intensity."""
    figures = TYPICAL.copy()
    figures[1] = level
    return Encoded(figures)


def test_context_by_hand() -> None:
    rows = [of_level(50), Encoded(None, Status.SILENT), of_level(70), of_level(60)]
    features = gathered(build(context=True), rows)
    values, typical = features.values.reshape(4, 4, 8)[:, :, 1], TYPICAL[1]
    #                   own, less what was heard so far, before, after; an absent neighbour is typical
    assert values[0] == pytest.approx([50, 0, typical, typical])
    assert values[1] == pytest.approx([0, 0, 0, 0])
    assert values[2] == pytest.approx([70, 70 - 60, typical, 60])
    assert values[3] == pytest.approx([60, 60 - 60, 70, typical])


def test_everybody_heard_so_far_counts_whoever_speaks() -> None:
    levels = [50, 60, 70, 40, 55, 45]
    rows = [of_level(level) for level in levels]
    mixed = Conversation(tuple(Utterance(i, i + 1, "a", who) for i, who in enumerate("ABACBA")))
    found = [build(context=True).gather(said, rows).values for said in (talk(6), mixed)]
    assert np.array_equal(*found)
    beside = [level - np.mean(levels[: i + 1]) for i, level in enumerate(levels)]
    assert found[0].reshape(-1, 4, 8)[:, 1, 1] == pytest.approx(beside, abs=1e-4)


def test_nobody_present_and_no_utterance_at_all() -> None:
    extractor = build(context=True)
    assert extractor.gather(Conversation(()), []).values.shape == (0, 32)
    features = gathered(extractor, [Encoded(None, Status.SILENT), None, None])
    assert not features.values.any()
    assert not features.present.any()


@pytest.mark.parametrize("share", [1.0, 0.8, 0.02])
def test_rows_of_a_part_are_those_of_the_whole(share: float) -> None:
    """To the last bit: from what is within reach, and from all that was heard, with one ahead."""
    count, random = 3 * MEMORY, np.random.default_rng(0)
    values = np.exp(random.normal(0, 2, (count, 8))).astype(np.float32)
    present, typical = random.random(count) < share, np.ones(8, np.float32)
    whole = with_context(values, present, typical)
    for row in (0, 1, 2, MEMORY, MEMORY + 1, count - 2, count - 1, *random.integers(0, count, 40)):
        for begin in (0, max(row - REACH[0], 0)):
            part = slice(begin, row + REACH[1] + 1)
            found = with_context(values[part], present[part], typical)
            assert np.array_equal(found[row - begin], whole[row]), row


def test_what_comes_later_changes_nothing() -> None:
    extractor, random = build(log=True, context=True), np.random.default_rng(0)
    rows = [Encoded(row) for row in np.exp(random.normal(0, 1, (40, 8))).astype(np.float32) * TYPICAL]
    rows[7] = Encoded(None, Status.SILENT)
    said = talk(40)
    whole = extractor.gather(said, rows)
    for row in range(40):
        heard = slice(0, row + 2)
        part = extractor.gather(Conversation(said.utterances[heard]), rows[heard])
        np.testing.assert_allclose(part.values[row], whole.values[row], rtol=1e-6, atol=1e-6)
        assert part.status[row] == whole.status[row]


def test_what_was_long_ago_is_forgotten() -> None:
    loud, usual = [of_level(75)] * MEMORY, [of_level(55)] * (MEMORY + 1)
    values = gathered(build(context=True), [*loud, *usual]).values.reshape(-1, 4, 8)
    assert values[-2, 1, 1] == pytest.approx(-20 / (MEMORY + 1), abs=1e-4)
    assert values[-1, 1, 1] == 0.0


def test_log_only_changes_the_long_tailed_figures() -> None:
    rows: list[Encoded | None] = [Encoded(TYPICAL)]
    raw, log = gathered(build(), rows).values[0], gathered(build(log=True), rows).values[0]
    changed = [FIGURES[i] for i in np.flatnonzero(raw != log)]
    assert changed == ["duration", "intensity_variation", "avg_pitch", "pitch_std"]
    assert log[3] == pytest.approx(np.log(231.0))


def test_the_ready_tables_of_meld_pass_through(shared: Path) -> None:
    from erc_data_meld.meld import PROSODY, Meld

    assert PROSODY == FIGURES
    split = Meld(shared / "data/meld").read("dev")
    extractor = build(log=True, context=True)
    holes = 0
    for conversation, rows in zip(split.conversations, split.ready["prosody"], strict=True):
        features = extractor.gather(conversation, rows)
        assert np.isfinite(features.values[features.present]).all()
        holes += int((~features.present).sum())
    assert holes == 1  # dia110_utt7, a broken clip


# --- the plugin ----------------------------------------------------------------------------


def test_registers_and_imports_nothing_heavy() -> None:
    (spec,) = erc_extractors()
    assert (spec.name, str(spec.modality), spec.extra) == ("prosody", "audio", "audio")
    code = (
        "import sys, erc_audio_prosody as p; p.erc_extractors();"
        "print([m for m in ('numpy', 'parselmouth', 'torch') if m in sys.modules])"
    )
    roots = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{roots}:{roots}/plugins"},
    )
    assert done.stdout.strip() == "[]"
