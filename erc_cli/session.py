"""A run while it is worked on: its splits, its trained branches, and what they give the fusion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from erc_cli.crossfit import CrossFit, branch_features, lacking, out_of_fold, remember
from erc_cli.dataset import TRAINING_SPLITS, branches_for, labelled, relabel, training_reader
from erc_cli.errors import UsageError
from erc_cli.extraction import branches_of, with_features
from erc_cli.learning import FusionJob, Labelled, Split, Trained, TrainJob
from erc_cli.preset import Use, build_extractor, train_options
from erc_cli.run_record import FEATURES, Run, trained_use
from erc_cli.stages import FUSION, stage_options
from erc_cli.types import Extractor, Features, Modality


@dataclass(slots=True)
class Session:
    """A run, its reader, and the extractors and splits that it has opened so far."""

    run: Run
    read: Callable[[str, str], Split]
    extractors: dict[Modality, Extractor] = field(default_factory=dict)
    filled: dict[tuple[str, str], Split] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder


def begin(run: Run) -> Session:
    """The run with nothing done yet."""
    return Session(run, training_reader(run.datasets, run.preset.labels))


def data_of(run: Run, stage: str) -> tuple[str, ...]:
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


def train_job(session: Session, stage: str, folder: Path) -> TrainJob:
    """What a branch is given, to be fitted in `folder`."""
    run = session.run
    data = data_of(run, stage)
    return TrainJob(
        read=session.read,
        data=data,
        labels=run.preset.labels,
        folder=folder,
        seed=run.seed,
        report=run.report,
        shared=run.shared or run.folder,
        device=run.device,
        precision=run.precision,
    )


def _given(run: Run) -> dict[str, object]:
    """What the branches are built with; fp32 leaves the choice to a branch's own option."""
    precision = None if run.precision == "fp32" else run.precision
    return {"device": run.device, "precision": precision, "labels": run.preset.labels}


def strict(session: Session, name: str, split: str) -> Split:
    """The split with the preset's labels, which a fusion cannot do without."""
    return relabel(session.read(name, split), session.run.preset.labels, name)


def fusion_job(session: Session, modalities: frozenset[Modality]) -> FusionJob:
    """What the fusion is given of these branches."""
    run = session.run
    extractors = {m: extractor_of(session, m) for m in modalities}
    named = {m: (run.preset.extractors[m].name, e) for m, e in extractors.items()}
    data: dict[str, frozenset[Modality]] = {}
    for name in data_of(run, FUSION):
        for split in TRAINING_SPLITS:
            uses = {m: trained_use(run, m) for m in modalities}
            session.filled[name, split] = _fill(session, session.read(name, split), uses, extractors)
        both = [branches_for(session.filled[name, split], named) for split in TRAINING_SPLITS]
        if both[0] & both[1]:
            data[name] = both[0] & both[1]

    def get(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        found = {m: _features(session, name, split, m) for m in Modality if m in wanted}
        return labelled(strict(session, name, split), found)

    heads = {m: e.head for m, e in extractors.items()}
    return FusionJob(data, get, heads, run.preset.labels, run.folder, run.seed, run.report)


def _fill(
    session: Session, split: Split, uses: Mapping[Modality, Use], extractors: Mapping[Modality, Extractor]
) -> Split:
    """The split with what its media, or imported files, give the branches; from the feature store."""
    run = session.run
    branches = branches_of(uses, run.registry, extractors, **_given(run))
    return with_features(split, branches, run.features, run.report)


def extractor_of(session: Session, modality: Modality) -> Extractor:
    """The trained branch, built once."""
    if modality not in session.extractors:
        use = trained_use(session.run, modality)
        session.extractors[modality] = build_extractor(use, session.run.registry, **_given(session.run))
    return session.extractors[modality]


def _features(session: Session, name: str, split: str, modality: Modality) -> Features:
    """Kept in the run folder, or beside the seeds; out of fold where the branch learnt these dialogues."""
    run, stage = session.run, str(modality)
    use = run.preset.extractors[modality]
    found = relabel(session.filled[name, split], run.preset.labels, name)
    spec = run.registry.extractor(use.name)
    fitted = spec.train is not None and not stage_options(run.preset, stage).frozen
    known = fitted and name in data_of(run, stage) and found.pictures is None
    if split == "train" and known and stage_options(run.preset, FUSION).folds:
        plan = cross_fit(session, name, modality)
        missing = lacking(plan)
        if missing and run.ahead is not None:
            run.ahead(name, modality, missing)
        return out_of_fold(plan)
    home = run.folder if fitted else run.shared or run.folder  # the same for every seed
    path = home / FEATURES / f"{name}-{split}-{stage}.safetensors"
    return remember(
        path, lambda: branch_features(found, modality, use.name, extractor_of(session, modality), run.report)
    )


def cross_fit(session: Session, name: str, modality: Modality) -> CrossFit:
    """How features of the data set's train split are made out of fold.

    The same for every seed: five seeds of five folds would be hours of encoders that differ no more
    from each other than the folds do.
    """
    run, stage = session.run, str(modality)
    use = run.preset.extractors[modality]
    spec = run.registry.extractor(use.name)
    if spec.train is None:
        raise ValueError(f"{use.name} is not fitted to anything")
    folds = stage_options(run.preset, FUSION).folds

    def features(trained: Trained, folder: Path, part: Split) -> Features:
        fold = Use(use.name, {**use.options, **trained.options}, folder)
        extractor = build_extractor(fold, run.registry, **_given(run))
        filled = _fill(session, part, {modality: fold}, {modality: extractor})
        return branch_features(filled, modality, use.name, extractor, run.report)

    def dev() -> Features:
        return _features(session, name, "dev", modality)

    home = (run.shared or run.folder) / FEATURES / f"{name}-train-{stage}-of-{folds}"
    home.mkdir(parents=True, exist_ok=True)
    return CrossFit(
        job=replace(train_job(session, stage, home), seed=0),
        name=name,
        folds=folds,
        fit=partial(spec.train, **train_options(run.preset, stage, spec.train)),
        features=features,
        dev=dev if spec.own_space else None,
    )
