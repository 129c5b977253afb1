"""The eight prosodic figures of a stretch of speech, in the order of MELD's ready tables.

Sources: P. Boersma and D. Weenink, Praat (through praat-parselmouth), for intensity, pitch and
harmonicity; N. de Jong and T. Wempe 2009, "Praat script to detect syllable nuclei and measure
speech rate automatically", for the articulation rate. The only module that imports parselmouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import parselmouth

from erc_audio_prosody.harmonicity import harmonicity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import FloatArray

    Samples = NDArray[np.float64]

FIGURES = (
    "duration",  # seconds
    "avg_intensity",  # dB re 2e-5, energy average
    "intensity_variation",  # dB, population deviation of the contour
    "avg_pitch",  # Hz, mean over voiced frames; NaN where there are none
    "pitch_std",  # Hz, population deviation over voiced frames
    "pitch_range",  # Hz, highest less lowest voiced frame
    "articulation_rate",  # syllable nuclei per second of phonation; NaN where there are none
    "mean_hnr",  # dB, mean over voiced frames; NaN where there are none
)
FULL_SCALE_DB = 93.98  # Praat's level of a signal with root mean square 1: 20 log10(1 / 2e-5)
SHORTEST = 0.1  # seconds; Praat needs 6.4 periods of the pitch floor for one value of intensity

_INTENSITY_FLOOR = 100.0  # Hz
_QUIETEST = 0.0  # dB: Praat gives -300 for digital silence, which would swamp the deviation
_PITCH = (75.0, 600.0)  # Hz
# Praat's default is 0.1. Sound limited to 8 kHz lacks the high noise of fricatives, and its mean is
# higher: by 2.4 % for the one MELD sound that can be compared with its table, made at 44.1 kHz. More
# frames of faint, noisy sound bring it back: 0.08 is within 0.3 % of the table with any resampler.
_HARMONICITY_SILENCE = 0.08
_SYLLABLE_FLOOR = 50.0  # Hz, pitch floor of the syllables' intensity: a smoother contour
_SYLLABLE_SILENCE = -25.0  # dB from the 99th percentile of the contour
_SYLLABLE_DIP = 2.0  # dB
_PAUSE = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Prosody:
    """`figures` float32 [8] in the order of `FIGURES`; `loudest` in dB re full scale (RMS)."""

    figures: FloatArray
    loudest: float
    voiced: bool


def measure(samples: FloatArray, rate: int = 16_000, *, hnr_silence: float = _HARMONICITY_SILENCE) -> Prosody:
    """The eight figures of `samples` [n] (mono, within -1..1, at least `SHORTEST` seconds long).

    `hnr_silence`: silence threshold of the harmonicity; 0.1 for sound sampled at 32 kHz or more.
    """
    signal = np.asarray(samples, dtype=np.float64)
    sound = parselmouth.Sound(signal, rate)
    intensity = sound.to_intensity(_INTENSITY_FLOOR, subtract_mean=True)
    contour = np.maximum(intensity.values[0], _QUIETEST)
    pitch = sound.to_pitch(None, *_PITCH)
    frequencies = pitch.selected_array["frequency"]
    voiced = frequencies[frequencies > 0.0]
    hnr = harmonicity(signal, rate, silence=hnr_silence)
    figures = (
        sound.duration,
        intensity.get_average(),
        contour.std(),
        voiced.mean() if voiced.size else np.nan,
        voiced.std() if voiced.size else 0.0,
        np.ptp(voiced) if voiced.size else 0.0,
        _articulation_rate(sound, pitch),
        hnr.mean() if hnr.size else np.nan,
    )
    loudest = float(contour.max()) - FULL_SCALE_DB
    return Prosody(np.array(figures, dtype=np.float32), loudest, bool(voiced.size))


def _articulation_rate(sound: parselmouth.Sound, pitch: parselmouth.Pitch) -> float:
    """Voiced syllable nuclei per second of phonation, NaN where there are none.

    Sound shorter than 6.4 periods of 50 Hz (0.128 s) is too short for a contour: NaN too.
    """
    if sound.duration * _SYLLABLE_FLOOR < 6.4 + 1e-6:
        return float("nan")
    intensity = sound.to_intensity(_SYLLABLE_FLOOR, subtract_mean=True)
    contour = intensity.values[0]
    threshold = max(np.quantile(contour, 0.99) + _SYLLABLE_SILENCE, contour.min())
    nuclei = intensity.xs()[syllable_peaks(contour, threshold)]
    frames = np.rint((nuclei - pitch.x1) / pitch.dx).astype(int)
    frames = np.clip(frames, 0, pitch.nx - 1)
    voiced = int((pitch.selected_array["frequency"][frames] > 0.0).sum())
    phonation = sound.duration - pause_frames(contour < threshold, _PAUSE / intensity.dx) * intensity.dx
    return voiced / phonation if voiced else float("nan")


def syllable_peaks(contour: Samples, threshold: float) -> NDArray[np.intp]:
    """Indices of the maxima of `contour` [n] in dB that may be nuclei.

    Those above `threshold`, with a dip of more than 2 dB between them and the maximum before.
    """
    middle = contour[1:-1]
    peaks = np.flatnonzero((middle > contour[:-2]) & (middle >= contour[2:]) & (middle > threshold)) + 1
    if peaks.size < 2:
        return peaks[:0]
    dips = np.minimum.reduceat(contour, peaks)[:-1]  # lowest between each peak and the next
    return peaks[1:][contour[peaks[1:]] - dips > _SYLLABLE_DIP]


def pause_frames(quiet: NDArray[np.bool_], shortest: float) -> int:
    """How many frames of `quiet` [n] lie in runs of at least `shortest` frames."""
    edges = np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]]))
    runs = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    return int(runs[runs >= shortest].sum())
