"""Which of SpeechBrain's networks a checkpoint folder holds, and the extractor of it.

Hyperparameter files (`hyperparams.yaml`) are code to SpeechBrain: they are neither run nor read. What they
would say, tensors and the base model's `config.json` say as well, or an option does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erc_cli.device import Placement, check_precision
from erc_cli.errors import UsageError
from erc_cli.hearing import Normalise, SoundExtractor, SoundNet
from erc_cli.nets.ecapa import load_ecapa
from erc_cli.nets.hub import CONFIG, SOUND, check_files, check_pickles, read_object
from erc_cli.nets.speech import KINDS, Folders, Reading, load_speech
from erc_cli.types import Extractor

OPTION = "audio.weights"
SPEAKER = "embedding_model"
EMOTION = "wav2vec2"
NAMES = (SPEAKER, EMOTION)
_PREFIX = "model."  # SpeechBrain's classes hold the network as an attribute of that name
_FLOOR = 1e-5  # of torch's layer norm, by which SpeechBrain normalises the sound


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `build`, but the folder."""

    base: Path | None = None
    output_norm: bool = True
    max_seconds: float = 20.0
    silence_db: float = -60.0
    normalise: Normalise = "none"


def open_checkpoint(folder: Path, options: Options, device: str, precision: str | None) -> Extractor:
    """The extractor of what the folder holds; its one file (a model of the lock) stands for it.

    Raises:
        UsageError: it holds neither, a file is missing or damaged, or tensors do not fit.
    """
    check_precision(precision, device)
    folder = folder.parent if folder.is_file() and folder.stem in NAMES else folder
    which = _which(folder)
    net: SoundNet
    if which == SPEAKER:
        note = "ECAPA-TDNN has fp32 only" if precision not in (None, "fp32") else ""
        net = load_ecapa(
            folder / f"{SPEAKER}.safetensors", options.max_seconds, Placement(device, "fp32", note), OPTION
        )
    else:
        place = Folders(_base(folder, options.base), folder / f"{EMOTION}.safetensors", OPTION, _PREFIX)
        reading = Reading(seconds=options.max_seconds, level=options.output_norm, floor=_FLOOR)
        net = load_speech(KINDS, place, reading, Placement(device, precision or "fp32"))
    return SoundExtractor(net, options.silence_db, options.normalise)


def _which(folder: Path) -> str:
    if folder.is_dir():
        for name in NAMES:
            if (folder / f"{name}.safetensors").is_file():
                return name
        for name in NAMES:
            check_pickles(folder / f"{name}.safetensors", [folder / f"{name}.ckpt"], OPTION)
    wanted = " or ".join(f"{name}.safetensors" for name in NAMES)
    raise UsageError(
        f"{OPTION}: {folder} is not a checkpoint folder of SpeechBrain: it has no {wanted}.",
        hint=f"Give another with --set {OPTION}=FOLDER",
    )


def _base(folder: Path, base: Path | None) -> Path:
    """Where the shape of the network is described: `base`, or the folder itself if it has the files."""
    if base is not None:
        return check_files(base, (CONFIG, SOUND), "audio.base")
    own = all((folder / name).is_file() for name in (CONFIG, SOUND))
    if not own or "model_type" not in read_object(folder / CONFIG):
        raise UsageError(
            f"{OPTION}: {folder} does not say what its {EMOTION} was fine-tuned from "
            f"({CONFIG} and {SOUND} of that model).",
            hint="Give that model, for instance: --set audio.base=facebook/wav2vec2-base",
        )
    return folder
