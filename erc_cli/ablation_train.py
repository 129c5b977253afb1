"""Variants of a preset trained anew, branches once: what `erc ablate --retrain` leaves in its folder.

Training reads train and dev only (`dataset.training_reader`), whatever split is scored afterwards.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from erc_cli.ablation_plan import Plan, Variant
from erc_cli.dataset import TRAINING_SPLITS, training_reader
from erc_cli.errors import UsageError
from erc_cli.files import atomic_write, read_json
from erc_cli.learning import Dataset, Progress, Report
from erc_cli.preset import FILE, Preset, find_preset
from erc_cli.registry import Registry
from erc_cli.run_record import RECORD, Run, describe
from erc_cli.training import check, train

NOTE = "variant.json"


@dataclass(frozen=True, slots=True)
class Training:
    """How the variants are trained anew: `folder/VARIANT/seed-N`, a trained preset each.

    `start`: an earlier run whose branches are taken over where they fit. `features`: a store of
    features of media, by default that in the cache. `device`, `precision`: see `run_record.Run`.
    """

    registry: Registry
    datasets: Mapping[str, Dataset]
    folder: Path
    seeds: tuple[int, ...]
    report: Report
    start: Path | None = None
    features: Path | None = None
    device: str = "cpu"
    precision: str = "fp32"


def train_variants(plan: Plan, work: Training) -> dict[str, list[Preset]]:
    """Train what is not finished; the trained presets of every variant, one per seed.

    Branches are trained once: every variant whose branches are those of an earlier one takes them over
    and fits its fusion only.

    Raises:
        UsageError: the folder holds variants with other settings or data.
        ErcError: a stage fails; what is finished is kept, and the same command goes on.
    """
    _make_folder(work.folder)
    runs = {(one.name, seed): _run(one, seed, work) for one in plan.reference_first() for seed in work.seeds}
    for run in runs.values():
        check(run)
    facts = _data_facts(plan, work)
    for one in plan.variants:
        _note(one, work.folder / slug(one.name), facts)
    found: dict[str, list[Preset]] = {one.name: [] for one in plan.variants}
    finished: list[Path] = [] if work.start is None else [work.start, *sorted(work.start.glob("seed-*"))]
    for done, ((name, seed), run) in enumerate(runs.items()):
        work.report(Progress("variants", done, len(runs), f"{name}, seed {seed}"))
        if not (run.folder / FILE).exists():
            train(replace(run, start=_donor(run, finished, facts)))
        finished.append(run.folder)
        found[name].append(find_preset(str(run.folder), work.registry))
    work.report(Progress("variants", len(runs), len(runs), ""))
    return found


def slug(name: str) -> str:
    """A folder's name for a variant: itself where every system takes it, else with a mark of its own."""
    plain = re.sub(r"[^\w.+=-]+", "-", name).strip("-.")[:80]
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return plain if plain == name else f"{plain}-{mark}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}.", hint="Give another folder with -o.") from None
    if (folder / FILE).exists():
        raise UsageError(
            f"{folder} holds a trained preset, not variants.", hint="Give another folder with -o."
        )


def _run(variant: Variant, seed: int, work: Training) -> Run:
    home = work.folder / slug(variant.name)
    label = f"{variant.name}, seed {seed}: "
    return Run(
        preset=variant.preset,
        registry=work.registry,
        datasets=work.datasets,
        folder=home / f"seed-{seed}",
        seed=seed,
        report=lambda p: work.report(replace(p, note=label + p.note)),
        shared=home,
        features=work.features,
        device=work.device,
        precision=work.precision,
    )


def _data_facts(plan: Plan, work: Training) -> dict[str, Any]:
    read = training_reader(work.datasets, plan.variants[0].preset.labels)
    return {name: {split: describe(read(name, split)) for split in TRAINING_SPLITS} for name in work.datasets}


def _config(preset: Preset) -> dict[str, Any]:
    """What decides about a variant's weights, as it stands in JSON."""
    uses = {str(m): {"use": u.name, **u.options} for m, u in preset.extractors.items()}
    content = {
        "labels": list(preset.labels),
        "extractors": uses,
        "fusion": {"use": preset.fusion.name, **preset.fusion.options},
        "data": preset.data,
        "train": {stage: dict(values) for stage, values in preset.train.items()},
    }
    found: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return found


def _note(variant: Variant, folder: Path, facts: Mapping[str, Any]) -> None:
    """What the folder's variant is, or a comparison with what it was when it began.

    Raises:
        UsageError: the folder holds another variant, or one on other data.
    """
    content = {"name": variant.name, "config": _config(variant.preset), "data": dict(facts)}
    path = folder / NOTE
    if path.exists():
        earlier = read_json(path)
        changed = [key for key in content if earlier.get(key) != content[key]]
        if changed:
            raise UsageError(
                f"{folder} holds a variant with another {' and '.join(changed)}.",
                hint="Give another folder with -o, or remove that one to train it anew.",
            )
        return
    folder.mkdir(exist_ok=True)
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _donor(run: Run, finished: Sequence[Path], facts: Mapping[str, Any]) -> Path | None:
    """The first finished run of the same seed and data all of whose branches are this run's, too."""
    ours = _config(run.preset)
    for folder in finished:
        if not (folder / RECORD).is_file() or folder == run.folder:
            continue
        record = read_json(folder / RECORD)
        theirs = record["config"]
        there = [str(m) for m in run.preset.extractors if str(m) in theirs["extractors"]]
        same = all(
            theirs[part].get(m) == ours[part].get(m) for m in there for part in ("extractors", "train")
        )
        same = same and theirs.get("precision", "fp32") == run.precision
        if there and same and theirs["seed"] == run.seed and record["data"] == facts:
            return folder
    return None
