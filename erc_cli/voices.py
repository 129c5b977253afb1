"""Whose voice it is: an embedding of each utterance's sound, and clusters of like ones.

The embedding is ECAPA-TDNN's (`erc_cli.nets.ecapa`); two utterances are as far apart as the cosine of
their embeddings says (0: the same, 1: nothing in common). Clusters grow together by mean distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Progress, Report
from erc_cli.types import MediaInfo, Notice, Utterance, Wish

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

MODEL = "ecapa-voxceleb"
FILE = "embedding_model.safetensors"
OPTION = "transcriber.speaker_model"
SHORTEST = 1.0  # seconds: less speech says too little about a voice
SILENCE = -60.0  # dB of full scale
LONGEST = 20.0  # seconds that go through the network at once
MOST = 4000  # voices that are compared with each other; further ones only with the clusters
STAGE = "voices"
_TOGETHER = 16
_NEEDS = ("speechbrain", "scipy")
_HINT = f"Type: erc models pull {MODEL}, and pip install 'erc-cli[speechbrain]'"


@dataclass(frozen=True, slots=True)
class Voices:
    """How speakers are told apart: the network's file (None: not at all), how far apart two clusters of
    voices may be to be one speaker's, and how many speakers there are where that is known."""

    model: Path | None = None
    threshold: float = 0.7
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Utterances with their speakers; what to warn of; and how it was done, ready for JSON."""

    utterances: tuple[Utterance, ...]
    warnings: tuple[Notice, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


def speaker_file(wanted: Path | Literal["auto"] | None) -> Path | None:
    """The file of a speaker model: a folder's, or itself; `auto`: the one that was pulled, if it can be run.

    Raises:
        UsageError: no such file in the folder, or the pulled model is damaged.
    """
    if wanted is None:
        return None
    if wanted == "auto":
        from erc_cli.model_store import find_model, held

        runnable = all(find_spec(need) is not None for need in _NEEDS)
        return find_model(MODEL) / FILE if runnable and held(MODEL) is not None else None
    path = Path(wanted)
    file = path / FILE if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        pickle = file.with_suffix(".ckpt")
        hint = f"Type: erc models convert '{pickle}' -o '{file}'" if pickle.is_file() else _HINT
        raise UsageError(f"{OPTION}: {path} has no {FILE}.", hint=hint)
    return file


def with_speakers(
    info: MediaInfo, utterances: Sequence[Utterance], voices: Voices, device: str, report: Report
) -> Named:
    """The utterances with `Speaker 1`, `Speaker 2`, … by first appearance; None where too little is said.

    Raises:
        UsageError: the model is damaged or of another kind, or the medium has gone.
        ErcError: a library is missing.
    """
    if voices.model is None:
        message = f"The speakers are not told apart: no speaker model. {_HINT}."
        return Named(tuple(utterances), (Notice("speakers_unknown", message),))
    missing = [need for need in _NEEDS if find_spec(need) is None]
    if missing:
        raise ErcError(
            f"Telling speakers apart needs {' and '.join(missing)}, not installed here.",
            hint="Type: pip install 'erc-cli[speechbrain]'",
        )
    rows, vectors = _embedded(info, utterances, voices.model, device, report)
    names = [f"Speaker {label + 1}" for label in clustered(vectors, voices.threshold, voices.count)]
    made = list(utterances)
    for row, name in zip(rows, names, strict=True):
        made[row] = replace(made[row], speaker=name)
    unnamed = len(made) - len(rows)
    verb = "utterances are" if unnamed > 1 else "utterance is"
    message = f"{unnamed} {verb} too short (under {SHORTEST:g} s) to tell whose voice it is."
    about = {"model": voices.model.parent.name, "threshold": voices.threshold, "found": len(set(names))}
    return Named(tuple(made), (Notice("speakers_unsure", message),) if unnamed else (), about)


def _embedded(
    info: MediaInfo, utterances: Sequence[Utterance], model: Path, device: str, report: Report
) -> tuple[list[int], FloatArray]:
    """Which utterances are long enough, and their embeddings [n, d] in that order."""
    from erc_cli.device import Placement
    from erc_cli.nets.ecapa import load_ecapa

    net = load_ecapa(model, LONGEST, Placement(device, "fp32"), OPTION)
    long = [i for i, one in enumerate(utterances) if one.end - one.start >= SHORTEST]
    found: dict[int, FloatArray] = {}
    for group in _sounds(info, utterances, long):
        found.update(zip(group, net.vectors(list(group.values())), strict=True))
        report(Progress(STAGE, len(found), len(long)))
    rows = sorted(found)
    vectors = np.stack([found[row] for row in rows]) if rows else np.zeros((0, net.dim), np.float32)
    return rows, vectors


def _sounds(
    info: MediaInfo, utterances: Sequence[Utterance], rows: Sequence[int]
) -> Iterator[dict[int, FloatArray]]:
    """The sound of these utterances, some at a time; not of those in which there is nothing to hear."""
    from erc_cli.hearing import RATE, unheard
    from erc_cli.media import read_clips

    wishes = [Wish(sound=(utterances[row].start, utterances[row].end)) for row in rows]
    group: dict[int, FloatArray] = {}
    for i, clip in read_clips(info, wishes):
        audible = unheard(clip, SILENCE) is None
        if clip.sound is not None and audible and len(clip.sound) >= SHORTEST / 2 * RATE:
            group[rows[i]] = clip.sound
        if len(group) >= _TOGETHER:
            yield group
            group = {}
    if group:
        yield group


# --- clusters --------------------------------------------------------------------------------


def clustered(vectors: FloatArray, threshold: float, count: int | None = None) -> list[int]:
    """The cluster of each embedding [n, d], numbered from 0 by first appearance.

    Agglomerative, by the mean cosine distance between clusters; those further apart than `threshold` stay
    two. `count`: so many, or fewer, whatever the distance. Of more than `MOST` embeddings, `MOST` spread
    evenly are clustered, and the others go to the cluster whose mean direction is nearest.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(vectors) < 2:
        return [0] * len(vectors)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    some = np.unique(np.linspace(0, len(unit) - 1, min(len(unit), MOST)).round().astype(int))
    tree = linkage(unit[some].astype(np.float64), "average", metric="cosine")
    limit, by = (threshold, "distance") if count is None else (count, "maxclust")
    found = fcluster(np.maximum(tree, 0.0), limit, by)
    means = np.stack([unit[some][found == label].sum(0) for label in np.unique(found)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    labels = (unit @ means.T).argmax(1)
    labels[some] = found - 1
    order = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
    return [order[label] for label in labels.tolist()]
