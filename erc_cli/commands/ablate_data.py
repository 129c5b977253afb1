"""`erc ablate --data`: variants of a preset on a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erc_cli.errors import UsageError

if TYPE_CHECKING:
    from erc_cli.ablation_plan import Choice, Plan
    from erc_cli.contamination import Mark
    from erc_cli.evaluation import Means
    from erc_cli.learning import Dataset, Report, Split
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry
    from erc_cli.scoring import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWork:
    """What was typed."""

    preset: str
    data: tuple[str, ...]
    split: str
    drop: tuple[str, ...]
    keep: tuple[str, ...]
    subsets: bool
    vary: tuple[str, ...]
    table: int | None
    settings: tuple[str, ...]
    retrain: bool
    seeds: int | None
    start: Path | None
    features: Path | None
    outputs: tuple[Path, ...]
    threads: int
    force: bool
    allow_contaminated: bool
    as_json: bool
    device: str
    precision: str | None
    quiet: bool


def ablate_data(work: DataWork) -> None:
    """Check, train what is to be trained, score, and tell."""
    from erc_cli import console
    from erc_cli.commands.work import say
    from erc_cli.registry import load_registry
    from erc_cli.report_tables import ablation_table
    from erc_cli.reports import check_reports, write_reports
    from erc_cli.view_report import show

    reports, folder = _outputs(work)
    check_reports(reports, force=work.force)
    registry = load_registry()
    if work.split == "test":
        say(
            "These are figures of the test split, for the report. Choose by dev: --split dev",
            quiet=work.quiet,
        )
    means = partial(_means, work, registry)
    with console.progress(quiet=work.quiet, log=work.retrain) as report:
        if work.retrain and folder is not None:
            document = _retrained(work, means(report), folder)
        else:
            document = _at_inference(work, means(report))
    write_reports(document, reports, force=work.force)
    if work.as_json:
        console.print_json(document)
    else:
        show(ablation_table(document), hide=("95 %", "accuracy"))


def _outputs(work: DataWork) -> tuple[list[Path], Path | None]:
    """Reports by their ending, and the folder of the variants.

    Raises:
        UsageError: options that do not go together.
    """
    from erc_cli.reports import ENDINGS

    reports = [p for p in work.outputs if p.suffix.lower() in ENDINGS and not p.is_dir()]
    folders = [p for p in work.outputs if p not in reports]
    if len(folders) > 1:
        raise UsageError(
            f"-o names two folders: {folders[0]} and {folders[1]}.",
            hint=f"One for --retrain; reports end in {', '.join(ENDINGS)}.",
        )
    if work.retrain and not folders:
        raise UsageError("--retrain needs a folder for the variants.", hint="For instance: -o runs/ablation")
    if work.retrain:
        return reports, folders[0]
    if folders:
        raise UsageError(
            f"-o {folders[0]}: the ending says what to write.",
            hint=f"One of {', '.join(ENDINGS)}; a folder is for --retrain.",
        )
    given = {"--vary": work.vary, "--table": work.table, "--seeds": work.seeds, "--from": work.start}
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} needs --retrain.", hint="Add: --retrain -o runs/ablation")
    return reports, None


def _choice(work: DataWork) -> Choice:
    from erc_cli.ablation_plan import Choice

    return Choice(work.drop, work.keep, work.subsets, work.vary, work.table)


def _open(work: DataWork, preset: Preset, registry: Registry) -> tuple[str, Mapping[str, Dataset]]:
    """The name of the data set that is scored, and all of them."""
    from erc_cli.dataset import open_datasets

    datasets = open_datasets(work.data, registry, preset.data, preset.folder)
    name, scored = next(iter(datasets.items()))
    if work.split not in scored.splits:
        raise UsageError(
            f"{name} has no split {work.split!r}.", hint=f"Its splits: {', '.join(scored.splits)}"
        )
    return name, datasets


def _split(work: DataWork, name: str, datasets: Mapping[str, Dataset], labels: tuple[str, ...]) -> Split:
    from erc_cli.dataset import relabel

    split = relabel(datasets[name].read(work.split), labels, name)
    if split.pictures is not None:
        raise UsageError(
            f"{name} has pictures, not conversations.", hint="Name a data set of conversations first."
        )
    return split


def _means(work: DataWork, registry: Registry, report: Report) -> Means:
    from erc_cli.device import find_device
    from erc_cli.evaluation import Means

    return Means(registry, find_device(work.device), report, work.features, work.precision)


def _at_inference(work: DataWork, means: Means) -> dict[str, Any]:
    from erc_cli.ablation import left_out
    from erc_cli.ablation_plan import make_plan
    from erc_cli.commands.work import say_placements
    from erc_cli.contamination import as_data, marks_in, refuse
    from erc_cli.device import about
    from erc_cli.evaluation import answers_of, features_for, find_trained
    from erc_cli.learning import Progress
    from erc_cli.preset import override, refuse_stale_fusion

    registry = means.registry
    trained = find_trained(work.preset, registry)
    presets = [override(one, work.settings, registry) for one in trained.presets]
    refuse_stale_fusion(trained.presets[0], presets[0], registry)
    plan = make_plan(presets[0], registry, _choice(work))
    name, datasets = _open(work, presets[0], registry)
    marks = marks_in(presets[0], registry)
    refuse(marks, [name], allow=work.allow_contaminated)
    split = _split(work, name, datasets, presets[0].labels)
    runs = []
    for done, preset in enumerate(presets):
        means.report(Progress("seeds", done, len(presets), preset.name))
        model = means.load(preset)
        if done == 0:
            say_placements(model.placements, work.device, quiet=work.quiet)
            ran = about(means.device, means.precision, model.placements)
        runs.append(answers_of(model, features_for(model, preset, split, means), paired=True))
    plan, board, notes = left_out(plan, runs, presets[0].labels)
    if trained.unfinished:
        notes.append(f"Not finished, and left out: {', '.join(trained.unfinished)}.")
    head = {**_about(work, trained.name, name, split, trained.seeds), **ran, **as_data(marks)}
    return _document(work, plan, board, {**head, "notes": notes + _notes(name, split, marks)}, registry)


def _retrained(work: DataWork, means: Means, folder: Path) -> dict[str, Any]:
    import torch

    from erc_cli.ablation import score_variants
    from erc_cli.ablation_plan import make_plan
    from erc_cli.ablation_train import Training, train_variants
    from erc_cli.commands.work import say_placements
    from erc_cli.contamination import as_data, marks_in, refuse
    from erc_cli.device import check_precision, placements_in_training
    from erc_cli.preset import find_preset, override

    registry = means.registry
    recipe = override(find_preset(work.preset, registry, recipe=True), work.settings, registry)
    plan = make_plan(recipe, registry, _choice(work))
    name, datasets = _open(work, recipe, registry)
    marks = tuple(m for one in plan.variants for m in marks_in(one.preset, registry, recipe=True))
    refuse(marks, [name], allow=work.allow_contaminated)
    seeds = tuple(range(work.seeds or 1))
    check_precision(work.precision, means.device)
    wanted = means.device, work.precision or "fp32"
    say_placements(placements_in_training(recipe, registry, wanted), work.device, quiet=work.quiet)
    torch.set_num_threads(work.threads)
    training = Training(
        registry,
        datasets,
        folder,
        seeds,
        means.report,
        work.start,
        work.features,
        device=wanted[0],
        precision=wanted[1],
    )
    trained = train_variants(plan, training)
    split = _split(work, name, datasets, recipe.labels)
    in_order = {one.name: trained[one.name] for one in plan.variants}
    board = score_variants(in_order, split, means)
    lost = sorted({option for one in plan.variants for option in one.without})
    notes = [f"Only one of the fusions has {', '.join(lost)}: left out for the other."] if lost else []
    marks = tuple({(m.stage, m.encoder): m for m in marks}.values())
    ran = {"device": wanted[0], "precision": wanted[1]}
    head = {**_about(work, recipe.name, name, split, list(seeds)), **ran, **as_data(marks)}
    return _document(work, plan, board, {**head, "notes": notes + _notes(name, split, marks)}, registry)


def _notes(name: str, split: Split, marks: Iterable[Mark]) -> list[str]:
    """What stands below the table: encoders that may know the answers, where the paper's figures are."""
    from erc_cli.contamination import told
    from erc_cli.paper import UTTERANCES

    said = [text] if (text := told(marks)) else []
    if split.name != "test" and name in UTTERANCES:
        said.append("The paper's figures are of the test split; they stand beside ours with --split test.")
    return said


def _about(work: DataWork, preset: str, name: str, split: Split, seeds: list[int]) -> dict[str, Any]:
    from erc_cli.ablation import SCHEMA
    from erc_cli.run_record import describe

    return {
        "schema": SCHEMA,
        "preset": preset,
        "data": {"name": name, "split": split.name, **describe(split)},
        "retrained": work.retrain,
        "table": work.table,
        "seeds": seeds,
        "selected_on": "dev",
    }


def _document(
    work: DataWork, plan: Plan, board: Board, about: Mapping[str, Any], registry: Registry
) -> dict[str, Any]:
    from erc_cli.ablation import variants_document
    from erc_cli.run_record import versions

    settings = {"settings": list(work.settings)} if work.settings else {}
    return {**variants_document(plan, board, about, registry), **settings, "versions": versions()}
