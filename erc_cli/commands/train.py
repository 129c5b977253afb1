"""`erc train`: fit a preset's branches and fusion to data."""

from __future__ import annotations

from pathlib import Path

import click

from erc_cli import completion
from erc_cli.click_parts import Command


@click.command(
    cls=Command,
    examples=(
        "erc train default --data meld:data/MELD --data fer2013:data/fer2013 -o runs/first",
        "erc train my.yaml --data meld:data/MELD -o runs/text --set train.text.epochs=2",
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
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Where all randomness starts."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads; each number has its own results.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    preset: str,
    data: tuple[str, ...],
    output: Path,
    drop: tuple[str, ...],
    settings: tuple[str, ...],
    seed: int,
    threads: int,
    quiet: bool,
) -> None:
    """Train PRESET on data; the run folder is then a preset itself.

    Epochs are chosen on the dev split; the test split is never read. A run that was cut off goes
    on where it was: type the same command again.
    """
    from erc_cli import console
    from erc_cli.preset import drop as without
    from erc_cli.preset import find_preset, override
    from erc_cli.registry import load_registry

    registry = load_registry()
    recipe = override(find_preset(preset, registry, recipe=True), settings, registry)
    recipe = without(recipe, drop, registry)

    import torch
    from rich.text import Text

    from erc_cli.dataset import open_datasets
    from erc_cli.training import Run, train

    datasets = open_datasets(data, registry)
    torch.set_num_threads(threads)
    with console.progress(quiet=quiet) as report:
        folder = train(Run(recipe, registry, datasets, output, seed, report))
    err = console.err(quiet=quiet)
    err.print(Text(f"Trained. Figures on dev: {folder / 'training.json'}"), soft_wrap=True)
    err.print(Text(f"Next: erc evaluate {folder} --data {data[0]} --split test"), soft_wrap=True)
