"""`erc train`: fit a preset's branches and fusion to data."""

from __future__ import annotations

from pathlib import Path

import click

from erc_cli.click_parts import Command


@click.command(
    cls=Command,
    examples=(
        "erc train default --data meld:data/MELD --data fer2013:data/fer2013 -o runs/first",
        "erc train my.yaml --data meld:data/MELD -o runs/text --set train.text.epochs=2",
    ),
)
@click.argument("preset")
@click.option("--data", multiple=True, required=True, metavar="NAME:PATH", help="A data set and where it is.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--drop", multiple=True, metavar="M", help="Leave a modality out.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option("--seed", default=0, show_default=True, help="Where all randomness starts.")
@click.option(
    "--threads", default=1, show_default=True, help="CPU threads; results may differ between numbers."
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

    from erc_cli.dataset import open_datasets
    from erc_cli.training import Run, train

    datasets = open_datasets(data, registry)
    torch.set_num_threads(threads)
    with console.progress(quiet=quiet) as report:
        folder = train(Run(recipe, registry, datasets, output, seed, report))
    console.err(quiet=quiet).print(f"Trained. Figures on dev: {folder / 'training.json'}")
    console.err(quiet=quiet).print(f"Next: erc evaluate {folder} --data {data[0]} --split test")
