"""`erc extract`: features of a data set's media and words, kept for training and for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options

if TYPE_CHECKING:
    from erc_cli.aligned import Outcome
    from erc_cli.device import Placement
    from erc_cli.encoding import Branch
    from erc_cli.learning import Dataset, Report
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry
    from erc_cli.types import Modality

_FAILED = 3
_SHOWN = 10


@click.command(
    cls=Command,
    examples=(
        "erc extract default --data meld:MELD.Raw -o features/meld",
        "erc extract default --data ravdess:data/ravdess -o features/ravdess --drop text --jobs 4",
    ),
)
@click.argument("preset", shell_complete=completion.presets)
@click.option("--data", required=True, metavar="NAME:PATH", help="The data set and where it is.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the features."
)
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Only this split.")
@click.option(
    "--drop", multiple=True, metavar="M", shell_complete=completion.modalities, help="Leave a modality out."
)
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option("--jobs", type=click.IntRange(1), help="Files at a time.  [default: one for each core]")
@device_options
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_context
def command(
    ctx: click.Context,
    preset: str,
    data: str,
    output: Path,
    splits: tuple[str, ...],
    drop: tuple[str, ...],
    settings: tuple[str, ...],
    jobs: int | None,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute PRESET's features of a data set, once.

    What was cut off goes on where it was: type the same command again. A file that cannot be read is
    told and left out; the exit code is then 3.
    """
    from erc_cli import console
    from erc_cli.commands.work import say_placements, warn
    from erc_cli.contamination import as_data, marks_in, told
    from erc_cli.preset import drop as without
    from erc_cli.preset import find_preset, override
    from erc_cli.registry import load_registry

    registry = load_registry()
    recipe = override(find_preset(preset, registry, recipe=True), settings, registry)
    recipe = without(recipe, drop, registry)

    from erc_cli.dataset import open_datasets

    name, dataset = next(iter(open_datasets([data], registry, recipe.data, recipe.folder).items()))
    chosen = _splits(name, dataset, splits)
    _make(output)
    with console.progress(quiet=quiet) as report:
        branches, ran = _load(recipe, registry, device, precision, report)
        say_placements(ran, device, quiet=quiet)
        on_cpu = all(one.device == "cpu" for one in ran.values())
        count = jobs or (_cores() if on_cpu else 1)
        done = [_extract(name, dataset, split, branches, output, count, report) for split in chosen]
    marks = marks_in(recipe, registry)
    warn(told(marks), quiet=quiet)
    failed = any(outcome.failures for outcome in done)
    if as_json:
        document = {
            "schema": "erc.extract/1",
            "data": name,
            "stages": {stage: one.as_data() for stage, one in ran.items()},
            **as_data(marks),
            "splits": [outcome.as_data() for outcome in done],
        }
        console.print_json(document)
    for outcome in done:
        _talk(outcome, quiet=quiet, brief=as_json)
    if failed:
        ctx.exit(_FAILED)


def _splits(name: str, dataset: Dataset, wanted: tuple[str, ...]) -> tuple[str, ...]:
    from erc_cli.errors import UsageError

    for split in wanted:
        if split not in dataset.splits:
            raise UsageError(
                f"{name} has no split {split!r}.", hint=f"Its splits: {', '.join(dataset.splits)}"
            )
    return wanted or tuple(dataset.splits)


def _make(folder: Path) -> None:
    from erc_cli.errors import UsageError
    from erc_cli.files import check_folder

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}.", hint="Name another folder with -o.") from None
    check_folder(folder)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load(
    preset: Preset, registry: Registry, device: str, precision: str | None, report: Report
) -> tuple[dict[Modality, Branch], dict[str, Placement]]:
    from erc_cli.device import check_precision, find_device, placements_of
    from erc_cli.extraction import branches_of
    from erc_cli.learning import Progress
    from erc_cli.preset import build_extractor

    report(Progress("model", 0, 1, preset.name))
    where = device if device == "cpu" else find_device(device)  # torch takes seconds to import
    check_precision(precision, where)
    given = {"device": where, "precision": precision, "labels": preset.labels}
    extractors = {m: build_extractor(use, registry, **given) for m, use in preset.extractors.items()}
    branches = branches_of(preset.extractors, registry, extractors, **given)
    report(Progress("model", 1, 1))
    parts = {str(m): e for m, e in extractors.items()}
    return branches, placements_of(preset, registry, parts, where, precision)


def _extract(
    name: str,
    dataset: Dataset,
    split: str,
    branches: dict[Modality, Branch],
    output: Path,
    jobs: int,
    report: Report,
) -> Outcome:
    from erc_cli.aligned import Place, extract_split
    from erc_cli.errors import ErcError, UsageError
    from erc_cli.features import open_store

    place = Place(output, open_store(output), jobs)
    try:
        return extract_split(name, dataset.read(split), branches, place, report)
    except UsageError:
        raise
    except ErcError as error:
        kept = f"What is done is kept in {output}: type the same command again to go on."
        raise ErcError(error.message, hint=" ".join(filter(None, [error.hint, kept]))) from None


def _talk(outcome: Outcome, *, quiet: bool, brief: bool) -> None:
    """Warnings and counts on stderr; without --json the files on stdout."""
    from rich.text import Text

    from erc_cli import console, view
    from erc_cli.aligned import describe, failed_paths

    err = console.err(quiet=quiet)
    for notice in outcome.warnings[:_SHOWN]:
        err.print(view.notice_text(notice), soft_wrap=True)
    if len(outcome.warnings) > _SHOWN:
        err.print(Text(f"… and {len(outcome.warnings) - _SHOWN} more warnings"))
    for path, reason in outcome.failures[:_SHOWN]:
        err.print(Text(f"Failed: {path.name}: {reason}", style="red"), soft_wrap=True)
    if len(outcome.failures) > _SHOWN:
        err.print(Text(f"… and {len(outcome.failures) - _SHOWN} more", style="red"))
    counts = f"{outcome.computed} media files computed, {outcome.reused} known"
    err.print(Text(f"{outcome.split}: {counts}, {len(failed_paths(outcome))} failed"))
    if not brief:
        for path, file in outcome.files.values():
            about = describe(file)
            console.out().print(
                Text(f"{path}  {about['present']} of {about['rows']} rows, width {about['width']}"),
                soft_wrap=True,
            )
