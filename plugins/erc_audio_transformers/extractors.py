"""Extractors of speech models from hub folders."""

from __future__ import annotations

from pathlib import Path

from erc_audio_transformers.whisper import KIND, WhisperNet, load_whisper
from erc_cli.device import Placement, check_precision
from erc_cli.hearing import Normalise, SoundExtractor
from erc_cli.nets.hub import CONFIG, SOUND, WEIGHTS, check_files, read_object
from erc_cli.nets.speech import KINDS, Folders, Reading, SpeechNet, load_speech
from erc_cli.types import Extractor

OPTION = "audio.weights"


def speech(
    kind: str,
    folder: Path,
    reading: Reading,
    device: str,
    precision: str | None,
    *,
    silence_db: float,
    normalise: Normalise,
) -> Extractor:
    """The extractor of a wav2vec 2.0, WavLM or HuBERT (`kind`) model.

    Raises:
        UsageError: the folder lacks a file, holds another architecture, or weights that do not fit it.
    """
    place = Folders(check_files(folder, (CONFIG, SOUND, WEIGHTS), OPTION), folder / WEIGHTS, OPTION)
    placement = _placement(device, precision)
    net: SpeechNet = load_speech((kind,), place, reading, placement, hint=_other(folder))
    return SoundExtractor(net, silence_db, normalise)


def whisper(
    folder: Path,
    reading: Reading,
    device: str,
    precision: str | None,
    *,
    silence_db: float,
    normalise: Normalise,
) -> Extractor:
    """The extractor of a Whisper model's encoder; raises as `speech` does."""
    check_files(folder, (CONFIG, SOUND, WEIGHTS), OPTION)
    net: WhisperNet = load_whisper(
        folder, reading, _placement(device, precision), option=OPTION, hint=_other(folder)
    )
    return SoundExtractor(net, silence_db, normalise)


def _placement(device: str, precision: str | None) -> Placement:
    check_precision(precision, device)
    return Placement(device, precision or "fp32")


def _other(folder: Path) -> str | None:
    """What to type where the model belongs to another extractor of this plugin."""
    kind = read_object(folder / CONFIG).get("model_type")
    name = "whisper-encoder" if kind == KIND else kind
    return f"Type: --set audio.use={name}" if kind in (*KINDS, KIND) else None
