"""`erc evaluate`: figures of a trained preset on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command

if TYPE_CHECKING:
    from erc_cli.preset import Preset


@click.command(
    cls=Command,
    examples=(
        "erc evaluate default --data meld:data/MELD",
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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--json", "as_json", is_flag=True, help="Print erc.evaluation/1 on stdout.")
@click.option("--save", is_flag=True, help="Write metrics.json and card.md into the preset's folder.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    preset: str,
    data: tuple[str, ...],
    split: str,
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    device: str,
    as_json: bool,
    save: bool,
    quiet: bool,
) -> None:
    """Accuracy, weighted and macro F1, per class, calibration, with intervals over dialogues."""
    from erc_cli import console
    from erc_cli.errors import UsageError
    from erc_cli.preset import drop as without
    from erc_cli.preset import find_preset
    from erc_cli.preset import keep as only
    from erc_cli.registry import load_registry

    registry = load_registry()
    chosen = find_preset(preset, registry)
    if save and not chosen.trained:
        raise UsageError(f"--save: {preset} is not a trained preset.", hint="Name the folder of a run.")
    if save and (drop or keep):
        raise UsageError("--save keeps the figures of the whole preset.", hint="Leave out --drop and --keep.")
    reduced = without(only(chosen, keep, registry) if keep else chosen, drop, registry)

    from erc_cli.dataset import open_datasets, relabel
    from erc_cli.device import find_device
    from erc_cli.evaluation import evaluate
    from erc_cli.pipeline import load_model
    from erc_cli.training import versions

    datasets = open_datasets(data, registry)
    model = load_model(reduced, registry, device=find_device(device))
    names = {m: use.name for m, use in reduced.extractors.items()}
    documents = []
    with console.progress(quiet=quiet) as report:
        for name, dataset in datasets.items():
            if split not in dataset.splits:
                raise UsageError(
                    f"{name} has no split {split!r}.", hint=f"Its splits: {', '.join(dataset.splits)}"
                )
            found = evaluate(model, names, relabel(dataset.read(split), model.labels, name), report)
            found["data"] = {"name": name, **found["data"]}
            about = {"schema": "erc.evaluation/1", "preset": chosen.name}
            trained = {"seeds": [_seed(chosen)], "selected_on": "dev", "versions": versions()}
            documents.append({**about, **found, **trained})
    whole = documents[0] if len(documents) == 1 else {"schema": "erc.metrics/1", "evaluations": documents}
    if save:
        _save(chosen, documents)
    if as_json:
        console.print_json(whole)
    else:
        _print(documents)


def _seed(preset: Preset) -> int:
    from erc_cli.files import read_json
    from erc_cli.training import RECORD

    path = preset.folder / RECORD
    return int(read_json(path)["config"]["seed"]) if path.exists() else 0


def _save(preset: Preset, documents: list[dict[str, Any]]) -> None:
    import json

    import yaml

    from erc_cli.card import METRICS, write_card
    from erc_cli.files import atomic_write

    with atomic_write(preset.folder / METRICS, force=True) as path:
        content = {"schema": "erc.metrics/1", "evaluations": documents}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    write_card(preset.folder, yaml.safe_load(preset.path.read_text(encoding="utf-8")))


def _print(documents: list[dict[str, Any]]) -> None:
    from erc_cli import console

    out = console.out()
    right = {"justify": "right"}
    for document in documents:
        data = document["data"]
        columns = [(c, right) for c in ("weighted F1", "95 %", "accuracy", "macro F1", "ECE")]
        table = console.table(["system", *columns], title=f"{data['name']}, {data['split']}")
        for name, system in document["systems"].items():
            low, high = system["weighted_f1"]["ci95"]
            means = [f"{system[key]['mean']:.2f}" for key in ("weighted_f1", "accuracy", "macro_f1")]
            table.add_row(name, means[0], f"{low:.2f} to {high:.2f}", *means[1:], f"{system['ece']:.3f}")
        out.print(table)
        for name, figure in document.get("differences", {}).items():
            low, high = figure["ci95"]
            out.print(f"{name}: {figure['weighted_f1']:+.2f} weighted F1 ({low:+.2f} to {high:+.2f})")
