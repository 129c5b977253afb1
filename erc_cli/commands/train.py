"""`erc train`: fit a preset's branches and fusion to data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options

if TYPE_CHECKING:
    from erc_cli.run_record import Run


@click.command(
    cls=Command,
    examples=(
        "erc train default --drop visual --data meld:data/MELD --data goemotions:data/goemotions -o runs/a",
        "erc train my.yaml --data meld:data/MELD -o runs/text --set train.text.epochs=2",
        "erc train concat --drop text --data meld:data/MELD -o runs/audio --seeds 5",
    ),
)
@click.argument("preset", shell_complete=completion.presets)
@click.option("--data", multiple=True, required=True, metavar="NAME:PATH", help="A data set and where it is.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--drop", multiple=True, metavar="M", shell_complete=completion.modalities, help="Leave a modality out."
)
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice(["text", "audio", "visual", "fusion", "all"]),
    help="Only this stage, repeatable; the others before or after. Default: all.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Where all randomness starts."
)
@click.option(
    "--seeds", type=click.IntRange(1), help="So many runs, from --seed on, in folders seed-N of the output."
)
@click.option("--joint", is_flag=True, help="Fit the branches together with the fusion. [train.fusion.joint]")
@click.option(
    "--folds",
    type=click.IntRange(0),
    help="Parts for out-of-fold features of the fusion; 0: none. [train.fusion.folds]",
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take the trained branches of an earlier run, and fit only the fusion anew.",
)
@click.option(
    "--features",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where features of media are kept (erc extract -o). Default: the cache.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Branches trained side by side."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads; each number has its own results.",
)
@device_options
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    preset: str,
    data: tuple[str, ...],
    output: Path,
    drop: tuple[str, ...],
    settings: tuple[str, ...],
    stages: tuple[str, ...],
    seed: int,
    seeds: int | None,
    joint: bool,
    folds: int | None,
    start: Path | None,
    features: Path | None,
    jobs: int,
    threads: int,
    device: str,
    precision: str | None,
    quiet: bool,
) -> None:
    """Train PRESET on data; the run folder is then a preset itself.

    Epochs are chosen on the dev split; the test split is never read. A run that was cut off goes
    on where it was: type the same command again.
    """
    from rich.text import Text

    from erc_cli import console
    from erc_cli.device import check_precision, find_device
    from erc_cli.run_record import RECORD
    from erc_cli.train_many import Request, train_request

    where = find_device(device)
    check_precision(precision, where)
    settings += ("train.fusion.joint=true",) if joint else ()
    settings += () if folds is None else (f"train.fusion.folds={folds}",)
    request = Request(
        preset=preset,
        data=data,
        output=output,
        drop=drop,
        settings=settings,
        seed=seed,
        seeds=seeds,
        stages=() if "all" in stages else stages,
        start=start,
        threads=threads,
        features=features,
        device=where,
        precision=precision or "fp32",
    )
    with console.progress(quiet=quiet, log=True) as report:
        folders = train_request(request, report, jobs, partial(_say, wanted=device, quiet=quiet))
    err = console.err(quiet=quiet)
    if not (folders[0] / "preset.yaml").exists():
        err.print(Text(f"Trained: {', '.join(stages)}. Next: the same command with the other stages."))
        return
    err.print(Text(f"Trained. Figures on dev: {folders[0] / RECORD}"), soft_wrap=True)
    err.print(Text(f"Next: erc evaluate {output} --data {data[0]} --split test"), soft_wrap=True)


def _say(run: Run, *, wanted: str, quiet: bool) -> None:
    """Where each stage is fitted, and what its encoder may know already."""
    from erc_cli.commands.work import say_placements, warn
    from erc_cli.contamination import marks_in, spoilt, told
    from erc_cli.device import placements_in_training
    from erc_cli.stages import FUSION, stage_options

    joint = bool(stage_options(run.preset, FUSION).joint)
    stages = placements_in_training(run.preset, run.registry, (run.device, run.precision), joint=joint)
    fitted = {stage for stage in run.stages if not stage_options(run.preset, stage).frozen}
    asked = {stage: one for stage, one in stages.items() if stage in fitted}
    say_placements(asked, wanted, quiet=quiet)
    marks = marks_in(run.preset, run.registry, recipe=True)
    if any(spoilt(marks, name) for name in run.datasets):
        warn(f"{told(marks)} erc evaluate will refuse those.", quiet=quiet)
