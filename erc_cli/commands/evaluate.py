"""`erc evaluate`: figures of a trained preset on a split."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from erc_cli.evaluation import Answers, Means, Trained
    from erc_cli.learning import Dataset, Split
    from erc_cli.pipeline import Model
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry


@click.command(
    cls=Command,
    examples=(
        "erc evaluate default --data meld:data/MELD",
        "erc evaluate runs/five-seeds --data meld:data/MELD -o table.tex -o figures.png",
        "erc evaluate runs/first --data meld:data/MELD --data fer2013:data/fer2013 --save",
    ),
)
@click.argument("preset", shell_complete=completion.presets)
@click.option("--data", multiple=True, required=True, metavar="NAME:PATH", help="A data set and where it is.")
@click.option("--split", default="test", show_default=True, help="Which split.")
@click.option(
    "--drop", multiple=True, metavar="M", shell_complete=completion.modalities, help="Leave a modality out."
)
@click.option(
    "--keep",
    multiple=True,
    metavar="M",
    shell_complete=completion.modalities,
    help="Leave all other modalities out.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write .json, .md, .tex (booktabs) or .png; repeatable.",
)
@click.option("--force", is_flag=True, help="Overwrite files named with -o.")
@click.option(
    "--features",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where features of media are kept (erc extract -o). Default: the cache.",
)
@device_options
@click.option("--allow-contaminated", is_flag=True, help="Also score encoders that may know the answers.")
@click.option("--json", "as_json", is_flag=True, help="Print erc.evaluation/1 on stdout.")
@click.option("--save", is_flag=True, help="Write metrics.json and card.md into the preset's folder.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    preset: str,
    data: tuple[str, ...],
    split: str,
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    outputs: tuple[Path, ...],
    force: bool,
    features: Path | None,
    device: str,
    precision: str | None,
    allow_contaminated: bool,
    as_json: bool,
    save: bool,
    quiet: bool,
) -> None:
    """Accuracy, weighted and macro F1, per class, calibration, with intervals over dialogues.

    PRESET is a trained preset, or a run of several seeds (folders seed-0, seed-1, …): figures are
    then means over the seeds, with their standard deviation.
    """
    from erc_cli import console
    from erc_cli.commands.work import say, warn
    from erc_cli.contamination import as_data, marks_in, refuse, told
    from erc_cli.errors import UsageError
    from erc_cli.registry import load_registry
    from erc_cli.reports import check_reports, write_reports

    registry = load_registry()
    check_reports(outputs, force=force)
    if save and (drop or keep):
        raise UsageError("--save keeps the figures of the whole preset.", hint="Leave out --drop and --keep.")

    from erc_cli.device import find_device
    from erc_cli.evaluation import Means, find_trained

    trained = find_trained(preset, registry)
    if save and not trained.presets[0].trained:
        raise UsageError(f"--save: {preset} is not a trained preset.", hint="Name the folder of a run.")
    if trained.unfinished:
        say(f"Not finished, and left out: {', '.join(trained.unfinished)}", quiet=quiet)
    reduced = [_reduced(one, drop, keep, registry) for one in trained.presets]
    datasets = _open(data, split, trained.presets[0], registry)
    marks = marks_in(reduced[0], registry)
    refuse(marks, datasets, allow=allow_contaminated)
    with console.progress(quiet=quiet) as report:
        means = Means(registry, find_device(device), report, features, precision)
        documents = _documents(trained, reduced, datasets, split, means, partial(_said, device, quiet))
    warn(told(marks), quiet=quiet)
    documents = [{**document, **as_data(marks)} for document in documents]
    whole = documents[0] if len(documents) == 1 else {"schema": "erc.metrics/1", "evaluations": documents}
    if save:
        _save(trained, documents)
    write_reports(whole, outputs, force=force)
    if as_json:
        console.print_json(whole)
    else:
        _print(documents)


def _said(wanted: str, quiet: bool, model: Model) -> None:
    from erc_cli.commands.work import say_placements

    say_placements(model.placements, wanted, quiet=quiet)


def _reduced(preset: Preset, drop: tuple[str, ...], keep: tuple[str, ...], registry: Registry) -> Preset:
    from erc_cli.preset import drop as without
    from erc_cli.preset import keep as only

    return without(only(preset, keep, registry) if keep else preset, drop, registry)


def _open(data: tuple[str, ...], split: str, preset: Preset, registry: Registry) -> Mapping[str, Dataset]:
    """The data sets, which all must have the split."""
    from erc_cli.dataset import open_datasets
    from erc_cli.errors import UsageError

    datasets = open_datasets(data, registry, preset.data, preset.folder)
    for name, dataset in datasets.items():
        if split not in dataset.splits:
            raise UsageError(
                f"{name} has no split {split!r}.", hint=f"Its splits: {', '.join(dataset.splits)}"
            )
    return datasets


def _documents(
    trained: Trained,
    presets: list[Preset],
    datasets: Mapping[str, Dataset],
    split: str,
    means: Means,
    loaded: Callable[[Model], None],
) -> list[dict[str, Any]]:
    """One document per data set; one model is in memory at a time. `loaded` is told of the first."""
    from erc_cli.dataset import relabel
    from erc_cli.device import about
    from erc_cli.evaluation import answers_of, document_of, features_for
    from erc_cli.learning import Progress
    from erc_cli.run_record import versions

    labels = presets[0].labels
    splits: dict[str, Split] = {
        name: relabel(dataset.read(split), labels, name) for name, dataset in datasets.items()
    }
    answers: dict[str, list[Answers]] = {name: [] for name in splits}
    for done, preset in enumerate(presets):
        means.report(Progress("seeds", done, len(presets), preset.name))
        model = means.load(preset)
        if done == 0:
            loaded(model)
            ran = about(means.device, means.precision, model.placements)
        for name, part in splits.items():
            data = features_for(model, preset, part, means)
            answers[name].append(answers_of(model, data, paired=part.pictures is None))
    means.report(Progress("seeds", len(presets), len(presets), ""))
    head = {"schema": "erc.evaluation/1", "preset": trained.name}
    ended = {"seeds": trained.seeds, "selected_on": "dev", **ran, "versions": versions()}
    return [
        {**head, **document_of(answers[name], part, labels, {"name": name}), **ended}
        for name, part in splits.items()
    ]


def _save(trained: Trained, documents: list[dict[str, Any]]) -> None:
    import json

    import yaml

    from erc_cli.card import METRICS, write_card
    from erc_cli.files import atomic_write

    with atomic_write(trained.folder / METRICS, force=True) as path:
        content = {"schema": "erc.metrics/1", "evaluations": documents}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    first = trained.presets[0]
    document = yaml.safe_load(first.path.read_text(encoding="utf-8"))
    write_card(trained.folder, document, made=first.folder)


def _print(documents: list[dict[str, Any]]) -> None:
    from erc_cli.report_tables import differences_table, figures_table
    from erc_cli.view_report import show

    for document in documents:
        show(figures_table(document))
        if document.get("differences"):
            show(differences_table(document))
