"""What a training run leaves in its folder: its record, a note per finished stage, the preset."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from erc_cli import __version__
from erc_cli.contamination import as_data, marks_in
from erc_cli.dataset import TRAINING_SPLITS
from erc_cli.errors import UsageError
from erc_cli.features import sha256_of
from erc_cli.files import atomic_write, link_or_copy, read_json
from erc_cli.learning import Dataset, Report, Split, Trained
from erc_cli.options import schema
from erc_cli.preset import FILE, Preset, Use
from erc_cli.registry import Registry
from erc_cli.stages import FUSION
from erc_cli.types import Modality

RECORD = "training.json"
FEATURES = "features"
LIBRARIES = ("torch", "numpy", "transformers", "tokenizers", "safetensors", "praat-parselmouth", "av")


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what, on which data, where to, from which seed.

    `stages`: those to do now, the others must be done already or follow later. `start`: an earlier
    run whose branches, and features that they gave, are taken over. `shared`: a folder that runs of
    several seeds have in common. `features`: a store of features of media; by default that in the cache.
    `device` and `precision` are for the branches that heed them; features are computed there, too.
    `ahead(data set, modality, numbers)` makes folds of a branch side by side, where that is wanted.
    """

    preset: Preset
    registry: Registry
    datasets: Mapping[str, Dataset]
    folder: Path
    seed: int
    report: Report
    stages: frozenset[str] = frozenset((*Modality, FUSION))
    start: Path | None = None
    shared: Path | None = None
    features: Path | None = None
    device: str = "cpu"
    precision: str = "fp32"
    ahead: Callable[[str, Modality, Sequence[int]], None] | None = None


# --- stages that are done ---


def _note_path(folder: Path, stage: str) -> Path:
    return folder / f"stage-{stage}.json"


def done_stage(folder: Path, stage: str) -> Trained | None:
    """What the stage gave, if an earlier call finished it; a finished run has it in its record."""
    note, record = _note_path(folder, stage), folder / RECORD
    found = read_json(note) if note.exists() else None
    if found is None and (folder / FILE).exists() and record.exists():
        found = read_json(record).get("stages", {}).get(stage)
    return None if found is None else Trained(found["options"], found["metrics"])


def note_stage(folder: Path, stage: str, trained: Trained) -> None:
    """Note a finished stage."""
    content = {"options": dict(trained.options), "metrics": dict(trained.metrics)}
    with atomic_write(_note_path(folder, stage), force=True) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def trained_use(run: Run, modality: Modality) -> Use:
    """The branch with the options that its training gave; other files stay where the preset has them."""
    use = run.preset.extractors[modality]
    done = done_stage(run.folder, str(modality))
    known = schema(run.registry.extractor(use.name).build)
    files = {
        name: str((use.folder / value).resolve())
        for name, value in use.options.items()
        if name in known and known[name].takes_file and (use.folder / str(value)).exists()
    }
    return Use(use.name, {**use.options, **files, **(done.options if done else {})}, run.folder)


def take_over(run: Run, start: Path) -> None:
    """The branches of an earlier run: their notes, files and features.

    Raises:
        UsageError: it is no run, or its branches were made with other settings or data.
    """
    if not (start / RECORD).is_file():
        raise UsageError(f"{start} is not a training run.", hint="Give the folder of a run with --from.")
    theirs, ours = read_json(start / RECORD), read_json(run.folder / RECORD)
    for modality in run.preset.extractors:
        stage = str(modality)
        done = done_stage(start, stage)
        if done is None or _plugin(theirs, stage) != _plugin(ours, stage):
            continue  # nothing was fitted there, or this run has another branch in its place
        made = set() if "frozen" in done.metrics else set(done.options)  # frozen: given to it, not made
        if theirs["data"] != ours["data"] or _recipe(theirs, stage, made) != _recipe(ours, stage, made):
            raise UsageError(
                f"{start}: its {stage} branch was trained with other settings, data or seed.",
                hint="Leave out --from, or give a run of the same branch.",
            )
        if done_stage(run.folder, stage) is None:
            for name in _files(done.options, start):
                link_or_copy(start / name, run.folder / name)
            note_stage(run.folder, stage, done)
        _copy_features(start / FEATURES, run.folder / FEATURES, stage)
        if start.name.startswith("seed-"):  # features of folds lie beside the seeds that share them
            _copy_features(start.parent / FEATURES, (run.shared or run.folder) / FEATURES, stage)


def _recipe(record: Mapping[str, Any], stage: str, made: Collection[str]) -> list[Any]:
    """What a branch depends on but its data; options that training `made` are those of training."""
    config = record["config"]
    options = config["extractors"].get(stage, {}).items()
    own = {name: value for name, value in options if name not in made}
    return [own, config["train"].get(stage), config.get("precision"), config["seed"]]


def _plugin(record: Mapping[str, Any], stage: str) -> str | None:
    name: str | None = record["config"]["extractors"].get(stage, {}).get("use")
    return name


def frozen_files(run: Run, modality: Modality) -> dict[str, Path]:
    """The weights and other files that the preset names for a branch, by option.

    Raises:
        UsageError: a file that the branch cannot do without is not named or not there.
    """
    use = run.preset.extractors[modality]
    known = schema(run.registry.extractor(use.name).build)
    named = {name: use.folder / str(use.options[name]) for name in known if name in use.options}
    files = {name: path for name, path in named.items() if known[name].takes_file and path.exists()}
    absent = [name for name, option in known.items() if option.required and name not in files]
    if absent:
        raise UsageError(
            f"train.{modality}.frozen: the preset names no {absent[0]} of {use.name!r} that are there.",
            hint=f"Type: --set {modality}.{absent[0]}=FILE, or --set train.{modality}.frozen=false",
        )
    return files


def take_frozen(run: Run, modality: Modality) -> Trained:
    """The files of a branch that is not fitted, now in the run's folder too, with their hashes."""
    options, hashes = {}, {}
    for name, path in frozen_files(run, modality).items():
        if path.is_dir():  # a published model's folder stays where it is
            continue
        options[name] = path.name
        if path.resolve() != (run.folder / path.name).resolve():
            shutil.copyfile(path, run.folder / path.name)  # no link: they are another preset's
        hashes[path.name] = sha256_of(path)
    return Trained(options, {"frozen": hashes})


def _copy_features(source: Path, target: Path, stage: str) -> None:
    """Those of a branch that are not there yet; their names do not say which plugin made them."""
    own = re.compile(rf".+-{stage}(\.safetensors|-of-\d+)")
    for path in sorted(source.rglob("*.safetensors")):
        place = path.relative_to(source)
        new = target / place
        if own.fullmatch(place.parts[0]) and not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, new)


def _files(options: Mapping[str, Any], folder: Path) -> list[str]:
    return [v for v in options.values() if isinstance(v, str) and v and (folder / v).is_file()]


# --- the record, and the preset in the end ---


def open_record(run: Run, read: Callable[[str, str], Split]) -> None:
    """Note what this run is, or compare it with what the same run noted when it began.

    Raises:
        UsageError: the folder holds a finished preset, or a run with other settings or data.
    """
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{run.folder}: {error.strerror}.", hint="Give another folder with -o.") from None
    if finished(run):
        raise UsageError(
            f"{run.folder} holds a finished preset.", hint="Give another folder with -o, or remove it."
        )
    fresh = _facts(run, read)
    if (run.folder / RECORD).exists():
        _compare(run, fresh)
    else:
        _write_record(run.folder, fresh)


def finished(run: Run) -> bool:
    """Whether the run's folder holds a trained preset."""
    return (run.folder / FILE).exists()


def same_run(run: Run, read: Callable[[str, str], Split]) -> None:
    """Compare a finished run with what is asked for.

    Raises:
        UsageError: the folder holds another preset, or it was made with other settings or data.
    """
    if not (run.folder / RECORD).exists():
        raise UsageError(
            f"{run.folder} holds a preset, but no training run.", hint="Give another folder with -o."
        )
    _compare(run, _facts(run, read))


def _facts(run: Run, read: Callable[[str, str], Split]) -> dict[str, Any]:
    """What this run is, as it is noted when it begins."""
    config = {
        "preset": run.preset.name,
        "seed": run.seed,
        "labels": list(run.preset.labels),
        "extractors": {
            str(m): {"use": u.name, **u.options} for m, u in sorted(run.preset.extractors.items())
        },
        "fusion": {"use": run.preset.fusion.name, **run.preset.fusion.options},
        "train": {stage: dict(values) for stage, values in run.preset.train.items()},
        **({"precision": run.precision} if run.precision != "fp32" else {}),
    }
    return {
        "schema": "erc.training/1",
        "config": json.loads(json.dumps(config, default=str)),
        "data": {name: _describe(read, name) for name in run.datasets},
        "selected_on": "dev",
        "device": run.device,
        **as_data(marks_in(run.preset, run.registry, recipe=True)),
        "versions": versions(),
    }


def _compare(run: Run, fresh: Mapping[str, Any]) -> None:
    earlier = read_json(run.folder / RECORD)
    changed = [key for key in ("config", "data") if earlier.get(key) != fresh[key]]
    if changed:
        state = "a finished" if finished(run) else "an unfinished"
        raise UsageError(
            f"{run.folder} holds {state} run with another {' and '.join(changed)}.",
            hint="Give another folder with -o, or the options of that run to go on with it.",
        )


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


def write_preset(run: Run) -> None:
    """`preset.yaml` comes last: a folder that has one is a whole preset."""
    from erc_cli.card import write_card

    stages = [str(m) for m in run.preset.extractors] + [FUSION]
    notes = {stage: done_stage(run.folder, stage) for stage in stages}
    record = read_json(run.folder / RECORD)
    record["stages"] = {
        stage: {"options": dict(done.options), "metrics": dict(done.metrics)}
        for stage, done in notes.items()
        if done is not None
    }
    _write_record(run.folder, record)
    fusion, ended = run.preset.fusion, notes[FUSION]
    uses = {str(m): trained_use(run, m) for m in run.preset.extractors}
    document = {
        "summary": run.preset.summary,
        "labels": list(run.preset.labels),
        "extractors": {m: {"use": u.name, **u.options} for m, u in uses.items()},
        "fusion": {"use": fusion.name, **fusion.options, **(ended.options if ended else {})},
        "data": {name: dict(values) for name, values in run.preset.data.items()},
        "train": {stage: dict(values) for stage, values in run.preset.train.items()},
        "meta": dict(run.preset.meta),
    }
    document = {key: value for key, value in document.items() if value or key != "data"}
    write_card(run.folder, document)
    with atomic_write(run.folder / FILE) as path:
        path.write_text(
            yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100), encoding="utf-8"
        )
    for stage in stages:
        _note_path(run.folder, stage).unlink(missing_ok=True)
