"""`erc train`: fit the branches, then the fusion; the run folder becomes a trained preset.

Only train and dev splits are read. Finished stages are noted in `training.json`, and a run that
was cut off goes on from there (within a stage: from its last epoch).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from erc_cli import __version__
from erc_cli.dataset import TRAINING_SPLITS, features_of, training_reader
from erc_cli.errors import UsageError
from erc_cli.files import atomic_write, read_json
from erc_cli.preset import FILE, Preset, Use, build_extractor, train_options
from erc_cli.registry import Registry
from erc_cli.types import (
    Dataset,
    Extractor,
    ExtractorSpec,
    FusionJob,
    FusionSpec,
    Labelled,
    Modality,
    Report,
    Split,
    Trained,
    TrainJob,
)

RECORD = "training.json"
LIBRARIES = ("torch", "numpy", "transformers", "tokenizers", "safetensors", "praat-parselmouth", "av")


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what, on which data, where to, from which seed."""

    preset: Preset
    registry: Registry
    datasets: Mapping[str, Dataset]
    folder: Path
    seed: int
    report: Report


def train(run: Run) -> Path:
    """Train every stage that is not finished; return the folder, now a trained preset.

    Raises:
        UsageError: the folder holds a finished run or one with other settings.
        ErcError: a data set is damaged, or a stage fails.
    """
    _check(run)
    read = training_reader(run.datasets, run.preset.labels)
    record = _open_record(run, read)
    uses: dict[Modality, Use] = {}
    for modality, use in run.preset.extractors.items():
        spec = run.registry.extractor(use.name)
        run.registry.require(spec)
        options = dict(use.options)
        if spec.train is not None:
            options |= _branch(run, record, modality, spec.train, read).options
        uses[modality] = Use(use.name, options, run.folder)
    fusion = _fusion(run, record, uses, read)
    _write_preset(run, uses, fusion, record)
    return run.folder


def _check(run: Run) -> None:
    """Every stage's library, options and data, before hours are spent on the first."""
    specs: dict[str, ExtractorSpec | FusionSpec] = {
        str(m): run.registry.extractor(use.name) for m, use in run.preset.extractors.items()
    }
    specs["fusion"] = run.registry.fusion(run.preset.fusion.name)
    for stage, spec in specs.items():
        run.registry.require(spec)
        if spec.train is not None:
            train_options(run.preset, stage, spec.train)
            _data_of(run, stage)


def _data_of(run: Run, stage: str) -> tuple[str, ...]:
    """The data sets that a stage learns from; the fusion goes without those of a dropped branch.

    Raises:
        UsageError: one of them was not given.
    """
    names = tuple(run.preset.train.get(stage, {}).get("data", run.datasets))
    absent = [name for name in names if name not in run.datasets]
    if absent and stage != "fusion":
        raise UsageError(
            f"train.{stage} learns from {', '.join(absent)}, which is not given.",
            hint=f"Add: --data {absent[0]}:PATH",
        )
    return tuple(name for name in names if name in run.datasets)


def _branch(
    run: Run,
    record: dict[str, Any],
    modality: Modality,
    train_branch: Callable[..., Trained],
    read: Callable[[str, str], Split],
) -> Trained:
    settings = train_options(run.preset, str(modality), train_branch)
    data = _data_of(run, str(modality))
    job = TrainJob(read, data, run.preset.labels, run.folder, run.seed, run.report)
    return _stage(run, record, str(modality), lambda: train_branch(job, **settings))


def _fusion(
    run: Run, record: dict[str, Any], uses: Mapping[Modality, Use], read: Callable[[str, str], Split]
) -> Use:
    spec = run.registry.fusion(run.preset.fusion.name)
    options = dict(run.preset.fusion.options)
    fit = spec.train
    if fit is not None:
        settings = train_options(run.preset, "fusion", fit)
        names = _data_of(run, "fusion")

        def work() -> Trained:
            extractors = {m: (use.name, build_extractor(use, run.registry)) for m, use in uses.items()}
            job = FusionJob(
                data=_features(names, extractors, read, run.report),
                heads={m: extractor.head for m, (_, extractor) in extractors.items()},
                labels=run.preset.labels,
                folder=run.folder,
                seed=run.seed,
                report=run.report,
            )
            return fit(job, **settings)

        options |= _stage(run, record, "fusion", work).options
    return Use(spec.name, options, run.folder)


def _features(
    names: tuple[str, ...],
    extractors: Mapping[Modality, tuple[str, Extractor]],
    read: Callable[[str, str], Split],
    report: Report,
) -> dict[str, dict[str, Labelled]]:
    data: dict[str, dict[str, Labelled]] = {}
    for name in names:
        parts = {split: features_of(read(name, split), extractors, report) for split in TRAINING_SPLITS}
        found = {split: part for split, part in parts.items() if part is not None}
        if len(found) == len(TRAINING_SPLITS):
            data[name] = found
    return data


def _stage(run: Run, record: dict[str, Any], stage: str, work: Callable[[], Trained]) -> Trained:
    """Do a stage, or take what an earlier run of it left."""
    done = record["stages"].get(stage)
    if done is None:
        trained = work()
        done = {"options": dict(trained.options), "metrics": dict(trained.metrics)}
        record["stages"][stage] = done
        _write_record(run.folder, record)
    return Trained(done["options"], done["metrics"])


def _open_record(run: Run, read: Callable[[str, str], Split]) -> dict[str, Any]:
    """What this run is, or the record of the same run begun earlier."""
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{run.folder}: {error.strerror}.", hint="Give another folder with -o.") from None
    if (run.folder / FILE).exists():
        raise UsageError(
            f"{run.folder} holds a finished preset.", hint="Give another folder with -o, or remove it."
        )
    config = {
        "preset": run.preset.name,
        "seed": run.seed,
        "labels": list(run.preset.labels),
        "extractors": {
            str(m): {"use": u.name, **u.options} for m, u in sorted(run.preset.extractors.items())
        },
        "fusion": {"use": run.preset.fusion.name, **run.preset.fusion.options},
        "train": {stage: dict(values) for stage, values in run.preset.train.items()},
    }
    fresh = {
        "schema": "erc.training/1",
        "config": json.loads(json.dumps(config, default=str)),
        "data": {name: _describe(read, name) for name in run.datasets},
        "selected_on": "dev",
        "versions": versions(),
        "stages": {},
    }
    path = run.folder / RECORD
    if not path.exists():
        _write_record(run.folder, fresh)
        return fresh
    earlier = read_json(path)
    changed = [key for key in ("config", "data") if earlier.get(key) != fresh[key]]
    if changed:
        raise UsageError(
            f"{run.folder} holds an unfinished run with another {' and '.join(changed)}.",
            hint="Give another folder with -o, or the options of that run to go on with it.",
        )
    return earlier


def _describe(read: Callable[[str, str], Split], name: str) -> dict[str, Any]:
    return {split: describe(read(name, split)) for split in TRAINING_SPLITS}


def describe(split: Split) -> dict[str, Any]:
    """Counts and hash of a split, as they stand in every result file."""
    if split.pictures is not None:
        return {"pictures": len(split.pictures), "sha256": split.sha256}
    return {
        "dialogues": len(split.conversations),
        "utterances": sum(len(c.utterances) for c in split.conversations),
        "sha256": split.sha256,
    }


def versions() -> dict[str, str]:
    """Versions of what takes part in the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"erc": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with atomic_write(folder / RECORD, force=True) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_preset(run: Run, uses: Mapping[Modality, Use], fusion: Use, record: Mapping[str, Any]) -> None:
    """`preset.yaml` comes last: a folder that has one is a whole preset."""
    from erc_cli.card import write_card

    document = {
        "summary": run.preset.summary,
        "labels": list(run.preset.labels),
        "extractors": {str(m): {"use": u.name, **u.options} for m, u in uses.items()},
        "fusion": {"use": fusion.name, **fusion.options},
        "train": {stage: dict(values) for stage, values in run.preset.train.items()},
        "meta": dict(run.preset.meta),
    }
    write_card(run.folder, document)
    with atomic_write(run.folder / FILE) as path:
        path.write_text(
            yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100), encoding="utf-8"
        )
