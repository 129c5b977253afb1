"""`erc train`: fit the branches, then the fusion; the run folder becomes a trained preset.

Only train and dev splits are read. Each finished stage is noted in a file of its own, so that stages
may run side by side, and a run that was cut off goes on (within a stage: from its last epoch).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError
from erc_cli.files import own
from erc_cli.learning import JointBranch, JointJob, Trained
from erc_cli.options import schema
from erc_cli.preset import require_models, train_options
from erc_cli.run_record import (
    Run,
    done_stage,
    frozen_files,
    note_stage,
    open_record,
    take_frozen,
    take_over,
    write_preset,
)
from erc_cli.session import Session, begin, data_of, fusion_job, strict, train_job
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.stages import FUSION, stage_options
from erc_cli.types import Modality

STAGE_LOCK = ".{}.lock"


def train(run: Run) -> Path:
    """Train every wanted stage that is not finished; return the folder, a trained preset if all are.

    Raises:
        UsageError: the folder holds a finished run or one with other settings.
        ErcError: a data set is damaged, or a stage fails.
    """
    check(run)
    session = begin(run)
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
    require_models(run.preset, run.registry)
    for stage, spec in specs.items():
        run.registry.require(spec)
        if stage == FUSION and joint and spec.joint is not None:
            train_options(run.preset, stage, spec.joint)
            continue
        if spec.train is not None and stage in run.stages:
            train_options(run.preset, stage, spec.train)
            if stage_options(run.preset, stage).frozen:
                frozen_files(run, Modality(stage))
            else:
                data_of(run, stage)


def _joint_branches(run: Run) -> frozenset[Modality]:
    """The branches to be fitted together with the fusion: none unless the preset asks for it.

    Raises:
        UsageError: no branch, or not this fusion, can be fitted so.
    """
    if not stage_options(run.preset, FUSION).joint:
        return frozenset()
    able = {
        m
        for m, use in run.preset.extractors.items()
        if run.registry.extractor(use.name).joint is not None and not stage_options(run.preset, str(m)).frozen
    }
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
    if stage_options(run.preset, stage).frozen:
        _stage(session, stage, lambda: take_frozen(run, modality))
        return
    fit = partial(spec.train, **train_options(run.preset, stage, spec.train))
    _stage(session, stage, lambda: fit(train_job(session, stage, run.folder)))


def trains_alone(run: Run, modality: Modality) -> bool:
    """Whether the branch is still to be fitted, and not together with the fusion."""
    spec = run.registry.extractor(run.preset.extractors[modality].name)
    finished = done_stage(run.folder, str(modality)) is not None
    return spec.train is not None and not finished and modality not in _joint_branches(run)


def _fusion(session: Session) -> None:
    run = session.run
    spec = run.registry.fusion(run.preset.fusion.name)
    if spec.train is not None:
        fit = partial(spec.train, **train_options(run.preset, FUSION, spec.train))
        _stage(session, FUSION, lambda: fit(fusion_job(session, frozenset(run.preset.extractors))))


def _joint(session: Session) -> None:
    joint = session.run.registry.fusion(session.run.preset.fusion.name).joint
    if joint is not None:
        _stage(session, FUSION, lambda: _together(session, joint))


def _together(session: Session, joint: Callable[..., Trained]) -> Trained:
    """The fusion with its branches in one; afterwards the branches write themselves."""
    run = session.run
    together = _joint_branches(run)
    branches: dict[Modality, JointBranch] = {}
    for modality in sorted(together):
        branch = run.registry.extractor(run.preset.extractors[modality].name)
        if branch.joint is not None:
            fit = branch.train or branch.joint
            defaults = {name: o.default for name, o in schema(fit).items() if not o.required}
            settings = defaults | train_options(run.preset, str(modality), fit)
            # The fusion is fitted on the CPU, so are the branches that are fitted with it.
            branch_job = replace(
                train_job(session, str(modality), run.folder), device="cpu", precision="fp32"
            )
            branches[modality] = branch.joint(branch_job, **settings)
    job = fusion_job(session, frozenset(run.preset.extractors) - together)
    settings = train_options(run.preset, FUSION, joint)
    done = joint(JointJob(job, branches, partial(strict, session)), **settings)
    for modality, trained in branches.items():
        options = trained.save(run.folder, _prior(session))
        note_stage(run.folder, str(modality), Trained(options, {"trained": "jointly, see fusion"}))
    return done


def _prior(session: Session) -> Any:
    """Share of each label in the train splits of the fusion's data sets."""
    import numpy as np

    from erc_cli.metrics import class_prior

    splits = [strict(session, name, "train") for name in data_of(session.run, FUSION)]
    targets = np.array([t for split in splits for row in split.targets for t in row])
    return class_prior(targets[targets >= 0], len(session.run.preset.labels))


def _stage(session: Session, stage: str, work: Callable[[], Trained]) -> None:
    """Do a stage unless an earlier run did.

    Raises:
        UsageError: another process is at it, in the same folder.
    """
    if done_stage(session.folder, stage) is None:
        with own(session.folder, STAGE_LOCK.format(stage)):
            note_stage(session.folder, stage, work())


def _finished(session: Session, modality: Modality) -> bool:
    spec = session.run.registry.extractor(session.run.preset.extractors[modality].name)
    return spec.train is None or done_stage(session.folder, str(modality)) is not None
