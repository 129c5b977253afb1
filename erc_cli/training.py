"""`erc train`: fit the branches, then the fusion; the run folder becomes a trained preset.

Only train and dev splits are read. Each finished stage is noted in a file of its own, so that stages
may run side by side, and a run that was cut off goes on (within a stage: from its last epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from erc_cli.crossfit import branch_features, out_of_fold, remember
from erc_cli.dataset import TRAINING_SPLITS, branches_for, labelled, relabel, training_reader
from erc_cli.errors import UsageError
from erc_cli.extraction import branches_of, with_features
from erc_cli.learning import (
    FusionJob,
    JointBranch,
    JointJob,
    Labelled,
    Split,
    Trained,
    TrainJob,
)
from erc_cli.options import schema
from erc_cli.preset import Use, build_extractor, train_options
from erc_cli.run_record import (
    FEATURES,
    Run,
    done_stage,
    note_stage,
    open_record,
    take_over,
    trained_use,
    write_preset,
)
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.stages import FUSION, stage_options
from erc_cli.types import Extractor, Features, Modality


@dataclass(slots=True)
class Session:
    """A run while it is worked on: its reader, what each stage left, the extractors built so far."""

    run: Run
    read: Callable[[str, str], Split]
    extractors: dict[Modality, Extractor] = field(default_factory=dict)
    filled: dict[tuple[str, str], Split] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder


def train(run: Run) -> Path:
    """Train every wanted stage that is not finished; return the folder, a trained preset if all are.

    Raises:
        UsageError: the folder holds a finished run or one with other settings.
        ErcError: a data set is damaged, or a stage fails.
    """
    check(run)
    session = Session(run, training_reader(run.datasets, run.preset.labels))
    open_record(run, session.read)
    if run.start is not None:
        take_over(run, run.start)
    joint = _joint_branches(run)
    for modality in run.preset.extractors:
        if str(modality) in run.stages and modality not in joint:
            _branch(session, modality)
    if FUSION in run.stages:
        missing = [m for m in run.preset.extractors if m not in joint and not _finished(session, m)]
        if missing:
            raise UsageError(
                f"{run.folder}: the fusion needs {', '.join(missing)} to be trained first.",
                hint=f"Type the same command with --stage {missing[0]}, or without --stage.",
            )
        (_joint if joint else _fusion)(session)
    if (
        done_stage(run.folder, FUSION) is not None
        or run.registry.fusion(run.preset.fusion.name).train is None
    ):
        write_preset(run)
    return run.folder


# --- what is asked -------------------------------------------------------------------------


def check(run: Run) -> None:
    """Every stage's library, options and data, before hours are spent on the first.

    Raises:
        UsageError: what does not fit.
    """
    specs: dict[str, ExtractorSpec | FusionSpec] = {
        str(m): run.registry.extractor(use.name) for m, use in run.preset.extractors.items()
    }
    unknown = run.stages - set(map(str, Modality)) - {FUSION}
    if unknown:
        raise UsageError(f"No stage {sorted(unknown)[0]!r}.", hint="Stages: text, audio, visual, fusion.")
    specs[FUSION] = run.registry.fusion(run.preset.fusion.name)
    joint = _joint_branches(run)
    for stage, spec in specs.items():
        run.registry.require(spec)
        if stage == FUSION and joint and spec.joint is not None:
            train_options(run.preset, stage, spec.joint)
            continue
        if spec.train is not None and stage in run.stages:
            train_options(run.preset, stage, spec.train)
            _data_of(run, stage)


def _data_of(run: Run, stage: str) -> tuple[str, ...]:
    """The data sets that a stage learns from; the fusion goes without those of a dropped branch.

    Raises:
        UsageError: one of them was not given.
    """
    names = tuple(stage_options(run.preset, stage).data or run.datasets)
    absent = [name for name in names if name not in run.datasets]
    if absent and stage != FUSION:
        raise UsageError(
            f"train.{stage} learns from {', '.join(absent)}, which is not given.",
            hint=f"Add: --data {absent[0]}:PATH",
        )
    return tuple(name for name in names if name in run.datasets)


def _joint_branches(run: Run) -> frozenset[Modality]:
    """The branches to be fitted together with the fusion: none unless the preset asks for it.

    Raises:
        UsageError: no branch, or not this fusion, can be fitted so.
    """
    if not stage_options(run.preset, FUSION).joint:
        return frozenset()
    able = {m for m, u in run.preset.extractors.items() if run.registry.extractor(u.name).joint is not None}
    if not able or run.registry.fusion(run.preset.fusion.name).joint is None:
        whose = "no branch of it" if not able else f"the fusion {run.preset.fusion.name!r}"
        raise UsageError(
            f"{run.preset.name}: {whose} can be trained jointly.",
            hint="Leave out --joint, or see: erc plugins show m2fnet",
        )
    return frozenset(able)


# --- stages --------------------------------------------------------------------------------


def _branch(session: Session, modality: Modality) -> None:
    run, stage = session.run, str(modality)
    spec = run.registry.extractor(run.preset.extractors[modality].name)
    if spec.train is None:
        return
    fit = partial(spec.train, **train_options(run.preset, stage, spec.train))
    _stage(session, stage, lambda: fit(_train_job(session, stage, run.folder)))


def _train_job(session: Session, stage: str, folder: Path) -> TrainJob:
    run = session.run
    data = _data_of(run, stage)
    return TrainJob(
        session.read, data, run.preset.labels, folder, run.seed, run.report, run.shared or run.folder
    )


def _fusion(session: Session) -> None:
    run = session.run
    spec = run.registry.fusion(run.preset.fusion.name)
    if spec.train is not None:
        fit = partial(spec.train, **train_options(run.preset, FUSION, spec.train))
        _stage(session, FUSION, lambda: fit(_fusion_job(session, frozenset(run.preset.extractors))))


def _joint(session: Session) -> None:
    """The fusion with its branches in one; afterwards the branches write themselves."""
    run = session.run
    together = _joint_branches(run)
    spec = run.registry.fusion(run.preset.fusion.name)
    if spec.joint is None or done_stage(run.folder, FUSION) is not None:
        return
    branches: dict[Modality, JointBranch] = {}
    for modality in sorted(together):
        branch = run.registry.extractor(run.preset.extractors[modality].name)
        if branch.joint is not None:
            fit = branch.train or branch.joint
            defaults = {name: o.default for name, o in schema(fit).items() if not o.required}
            settings = defaults | train_options(run.preset, str(modality), fit)
            branches[modality] = branch.joint(_train_job(session, str(modality), run.folder), **settings)
    job = _fusion_job(session, frozenset(run.preset.extractors) - together)
    settings = train_options(run.preset, FUSION, spec.joint)
    done = spec.joint(JointJob(job, branches, partial(_strict, session)), **settings)
    for modality, trained in branches.items():
        options = trained.save(run.folder, _prior(session))
        note_stage(run.folder, str(modality), Trained(options, {"trained": "jointly, see fusion"}))
    note_stage(run.folder, FUSION, done)


def _prior(session: Session) -> Any:
    """Share of each label in the train splits of the fusion's data sets."""
    import numpy as np

    from erc_cli.metrics import class_prior

    splits = [_strict(session, name, "train") for name in _data_of(session.run, FUSION)]
    targets = np.array([t for split in splits for row in split.targets for t in row])
    return class_prior(targets[targets >= 0], len(session.run.preset.labels))


def _stage(session: Session, stage: str, work: Callable[[], Trained]) -> None:
    """Do a stage unless an earlier run did."""
    if done_stage(session.folder, stage) is None:
        note_stage(session.folder, stage, work())


def _finished(session: Session, modality: Modality) -> bool:
    spec = session.run.registry.extractor(session.run.preset.extractors[modality].name)
    return spec.train is None or done_stage(session.folder, str(modality)) is not None


# --- features for the fusion ---------------------------------------------------------------


def _strict(session: Session, name: str, split: str) -> Split:
    """The split with the preset's labels, which a fusion cannot do without."""
    return relabel(session.read(name, split), session.run.preset.labels, name)


def _fusion_job(session: Session, modalities: frozenset[Modality]) -> FusionJob:
    run = session.run
    extractors = {m: _extractor(session, m) for m in modalities}
    named = {m: (run.preset.extractors[m].name, e) for m, e in extractors.items()}
    data: dict[str, frozenset[Modality]] = {}
    for name in _data_of(run, FUSION):
        for split in TRAINING_SPLITS:
            uses = {m: trained_use(run, m) for m in modalities}
            session.filled[name, split] = _fill(session, session.read(name, split), uses, extractors)
        both = [branches_for(session.filled[name, split], named) for split in TRAINING_SPLITS]
        if both[0] & both[1]:
            data[name] = both[0] & both[1]

    def get(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        found = {m: _features(session, name, split, m) for m in Modality if m in wanted}
        return labelled(_strict(session, name, split), found)

    heads = {m: e.head for m, e in extractors.items()}
    return FusionJob(data, get, heads, run.preset.labels, run.folder, run.seed, run.report)


def _fill(
    session: Session, split: Split, uses: Mapping[Modality, Use], extractors: Mapping[Modality, Extractor]
) -> Split:
    """The split with what its media, or imported files, give the branches; from the feature store."""
    run = session.run
    branches = branches_of(uses, run.registry, extractors, labels=run.preset.labels)
    return with_features(split, branches, run.features, run.report)


def _extractor(session: Session, modality: Modality) -> Extractor:
    if modality not in session.extractors:
        use = trained_use(session.run, modality)
        session.extractors[modality] = build_extractor(
            use, session.run.registry, labels=session.run.preset.labels
        )
    return session.extractors[modality]


def _features(session: Session, name: str, split: str, modality: Modality) -> Features:
    """Kept in the run folder; out of fold where the branch was fitted on these very dialogues."""
    run, stage = session.run, str(modality)
    use = run.preset.extractors[modality]
    spec = run.registry.extractor(use.name)
    found = relabel(session.filled[name, split], run.preset.labels, name)
    home = run.folder / FEATURES
    report = run.report
    folds = stage_options(run.preset, FUSION).folds
    fitted = spec.train is not None and name in _data_of(run, stage) and found.pictures is None
    if split != "train" or not fitted or folds == 0 or spec.train is None:
        path = home / f"{name}-{split}-{stage}.safetensors"
        return remember(
            path, lambda: branch_features(found, modality, use.name, _extractor(session, modality), report)
        )
    fit = partial(spec.train, **train_options(run.preset, stage, spec.train))
    # The same for every seed: five seeds of five folds would be hours of encoders that differ no more
    # from each other than the folds do.
    home = (run.shared or run.folder) / FEATURES / f"{name}-{split}-{stage}-of-{folds}"

    def features(trained: Trained, folder: Path, part: Split) -> Features:
        fold = Use(use.name, {**use.options, **trained.options}, folder)
        extractor = build_extractor(fold, run.registry, labels=run.preset.labels)
        filled = _fill(session, part, {modality: fold}, {modality: extractor})
        return branch_features(filled, modality, use.name, extractor, report)

    home.mkdir(parents=True, exist_ok=True)
    job = replace(_train_job(session, stage, home), seed=0)
    return out_of_fold(job, name, folds, fit, features)
