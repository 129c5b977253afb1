"""`erc evaluate`: the figures of a trained preset on one split, over its seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.attribution import coalitions
from erc_cli.dataset import features_of, labelled, take
from erc_cli.errors import ErcError, UsageError
from erc_cli.extraction import branches_of, with_features
from erc_cli.files import read_json
from erc_cli.learning import Labelled, Report, Split
from erc_cli.pipeline import Model, load_model, priors_of
from erc_cli.preset import FILE, Preset, find_preset
from erc_cli.run_record import RECORD, describe
from erc_cli.scoring import Said, comparisons, make_board, system
from erc_cli.types import Features, Modality

if TYPE_CHECKING:
    from erc_cli.registry import Registry
    from erc_cli.types import Conversation, FloatArray, Head, IntArray

SEED = re.compile(r"seed-(\d+)")


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained preset, one per seed; `unfinished` names the seeds whose training has not ended."""

    name: str
    folder: Path
    presets: tuple[Preset, ...]
    unfinished: tuple[str, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """The seed of each preset."""
        return [seed_of(preset) for preset in self.presets]


def find_trained(name_or_path: str, registry: Registry) -> Trained:
    """The preset of that name or path, or those in the `seed-*` folders of a run.

    Raises:
        UsageError: there is none, none of the seeds is finished, or they were trained differently.
    """
    folder = Path(name_or_path)
    inside = _seed_folders(folder) if folder.is_dir() and not (folder / FILE).is_file() else []
    if not inside:
        preset = find_preset(name_or_path, registry)
        return Trained(preset.name, preset.folder, (preset,))
    done = [path for path in inside if (path / FILE).is_file()]
    if not done:
        raise UsageError(
            f"{folder}: none of its {len(inside)} seeds is finished.",
            hint="Type its erc train command again: it goes on where it was.",
        )
    presets = tuple(find_preset(str(path), registry) for path in done)
    _check_same(folder, presets)
    return Trained(folder.resolve().name, folder, presets, tuple(p.name for p in inside if p not in done))


def _seed_folders(folder: Path) -> list[Path]:
    found = {path: SEED.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=numbers.__getitem__)


def _check_same(folder: Path, presets: Sequence[Preset]) -> None:
    """Seeds of one run differ in nothing but the seed."""
    records = [p.folder / RECORD for p in presets]
    configs = [read_json(path).get("config", {}) if path.exists() else {} for path in records]
    facts = [
        {**config, "seed": 0, "parts": [p.labels, sorted(p.extractors), p.fusion.name]}
        for p, config in zip(presets, configs, strict=True)
    ]
    for preset, fact in zip(presets, facts, strict=True):
        if fact != facts[0]:
            raise UsageError(
                f"{folder}: {preset.folder.name} was trained with other settings than"
                f" {presets[0].folder.name}; no mean over them can be given.",
                hint=f"Score it by itself: erc evaluate {preset.folder} --data …",
            )


def seed_of(preset: Preset) -> int:
    """The seed that a preset was trained from; 0 where it is not noted."""
    path = preset.folder / RECORD
    return int(read_json(path)["config"]["seed"]) if path.exists() else 0


# --- answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model says of a split's labelled rows: probabilities [n, classes] by system.

    `priors`: of the systems that state what their probabilities are relative to.
    """

    systems: Mapping[str, FloatArray]
    priors: Mapping[str, FloatArray]
    targets: IntArray
    dialogues: IntArray


@dataclass(frozen=True, slots=True)
class Means:
    """What presets are scored with. `store`: features of media, by default those in the cache."""

    registry: Registry
    device: str
    report: Report
    store: Path | None = None
    precision: str | None = None

    def load(self, preset: Preset) -> Model:
        """The preset, built."""
        return load_model(preset, self.registry, device=self.device, precision=self.precision)

    def features(self, model: Model, preset: Preset, split: Split) -> Mapping[Modality, Features]:
        """Features of the split's rows from each of the model's branches that it has something for.

        Media are read through the store; what is not in it yet is computed and kept.
        """
        uses = {m: preset.extractors[m] for m in model.extractors}
        given = {"device": self.device, "precision": self.precision, "labels": preset.labels}
        branches = branches_of(uses, self.registry, model.extractors, **given)
        filled = with_features(split, branches, self.store, self.report)
        extractors = {m: (uses[m].name, e) for m, e in model.extractors.items()}
        data = features_of(filled, extractors, self.report)
        return {} if data is None else data.features


def features_for(model: Model, preset: Preset, split: Split, means: Means) -> Labelled:
    """The split's labels and features.

    Raises:
        UsageError: see `check_features`.
    """
    data = labelled(split, means.features(model, preset, split))
    check_features(data, split, list(model.extractors))
    return data


def check_features(data: Labelled, split: Split, wanted: Sequence[Modality]) -> None:
    """UsageError if the split has nothing for any of the wanted modalities, or no labels."""
    if not data.features or not data.known.any():
        raise UsageError(
            f"The {split.name} split has nothing to score {', '.join(wanted)} on.",
            hint="Name another data set, or a preset with a branch that it has something for.",
        )


def fused(model: Model, data: Labelled, modalities: frozenset[Modality]) -> FloatArray:
    """What the fusion answers from these modalities, for all rows: probabilities [n, classes].

    Raises:
        ErcError: probabilities that are none: a defect of the fusion, or of its weights.
    """
    chosen = [m for m in Modality if m in modalities]
    said = [model.fusion.predict(talk, {m: part[m] for m in chosen}) for talk, part in _dialogues(data)]
    return _checked("+".join(chosen), said)


def _checked(name: str, said: Sequence[FloatArray]) -> FloatArray:
    probabilities = np.concatenate(said)
    if not np.isfinite(probabilities).all() or (abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise ErcError(
            f"{name}: the fusion's answers are no probabilities.", hint="Train the preset anew: erc train"
        )
    return probabilities


def answers_of(model: Model, data: Labelled, *, paired: bool) -> Answers:
    """Answers dialogue by dialogue.

    Systems are what `erc predict` answers from every subset of the modalities (only if `paired`:
    face pictures by themselves are not fused), and what each modality says by itself,
    `… (own head)`: by the fusion's head for it, where it states that head's prior, else by the head
    that the branch was trained with; without one, what the fusion says of it alone.

    Raises:
        ErcError: probabilities that are none: a defect of the fusion, or of its weights.
    """
    parts = list(_dialogues(data))
    priors = priors_of(model)
    systems: dict[str, FloatArray] = {}
    for coalition in coalitions(frozenset(data.features)) if paired else ():
        if coalition and model.requires <= coalition:
            systems["+".join(m for m in Modality if m in coalition)] = fused(model, data, coalition)
    stated: dict[str, FloatArray] = {}
    for modality in data.features:
        name = f"{modality} (own head)"
        own = None if modality in priors else _own_head(model, modality)
        if own is None:
            said = [model.fusion.alone(talk, modality, part[modality]) for talk, part in parts]
        else:
            said = [_by_head(own, part[modality]) for _, part in parts]
        systems[name] = _checked(name, said)
        if modality in priors:
            stated[name] = priors[modality]
    known = data.known
    kept = {name: p[known] for name, p in systems.items()}
    return Answers(kept, stated, data.targets[known], data.dialogues[known])


def _own_head(model: Model, modality: Modality) -> Head | None:
    extractor = model.extractors.get(modality)
    return None if extractor is None else extractor.head


def _by_head(head: Head, features: Features) -> FloatArray:
    """Probabilities [n, classes] of a branch's own head; its prior where nothing is present."""
    logits = features.values @ head.weight.T + head.bias
    logits[~features.present] = np.log(head.prior)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    said: FloatArray = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return said


def _dialogues(data: Labelled) -> Iterator[tuple[Conversation, dict[Modality, Features]]]:
    """Each conversation with its part of the features; empty ones have no row to answer."""
    start = 0
    for talk in data.conversations:
        rows = np.arange(start, start + len(talk.utterances))
        start += len(rows)
        if len(rows):
            yield talk, {m: take(f, rows) for m, f in data.features.items()}


# --- documents -----------------------------------------------------------------------------


def document_of(
    runs: Sequence[Answers], split: Split, labels: Sequence[str], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The figures in `erc.evaluation/1`: of one model per seed, all on the same rows.

    `about` are further facts of the data. `differences`: weighted F1 of the fusion of all modalities
    less that of each modality by itself.
    """
    said = {
        name: Said(
            tuple(run.systems[name] for run in runs),
            tuple(run.priors[name] for run in runs if name in run.priors),
        )
        for name in runs[0].systems
    }
    board = make_board(said, runs[0].targets, runs[0].dialogues, labels)
    pairs = _pairs(list(said))
    found = comparisons(board, pairs)
    return {
        "data": {**about, "split": split.name, **describe(split)},
        "systems": {name: system(board, name) for name in said},
        "differences": {f"{a} - {b}": one for (a, b), one in zip(pairs, found, strict=True)},
    }


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """The fusion of everything against each modality, fused alone and by its own head."""
    heads = [name.removesuffix(" (own head)") for name in names if name.endswith(" (own head)")]
    everything = "+".join(m for m in Modality if m in heads)
    if len(heads) < 2 or everything not in names:
        return []
    parts = [f"{m}{kind}" for m in heads for kind in ("", " (own head)")]
    return [(everything, name) for name in parts if name in names]
