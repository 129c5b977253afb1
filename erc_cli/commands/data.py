"""`erc data`: whether a data set is whole and fit to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command, Group

if TYPE_CHECKING:
    from erc_cli.datacheck import Checked, Counts
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry

_CHECK = (
    "erc data check meld:data/MELD",
    "erc data check ravdess:data/ravdess --set data.ravdess.fold=2",
    "erc data check manifest:table.csv --preset mine.yaml --json",
)


@click.group("data", cls=Group, examples=_CHECK[:1])
def command() -> None:
    """Check a data set before training."""


@command.command("check", cls=Command, examples=_CHECK)
@click.argument("data", metavar="NAME:PATH")
@click.option(
    "--preset", shell_complete=completion.presets, help="Use its data options, and see whether they fit."
)
@click.option(
    "--set", "settings", multiple=True, metavar="K=V", help="An option, such as data.ravdess.fold=2."
)
@click.option("--json", "as_json", is_flag=True, help="Print erc.data/1 on stdout.")
def check_command(data: str, preset: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Count and hash a data set, and say what is missing, corrupt, mislabelled or in two splits.

    Exit code 1 if there is something that would spoil training.
    """
    from erc_cli import console
    from erc_cli.datacheck import check_dataset
    from erc_cli.dataset import open_datasets
    from erc_cli.registry import load_registry

    registry = load_registry()
    chosen = _preset(preset, settings, registry)
    name, _, path = data.partition(":")
    dataset = open_datasets([data], registry, chosen.data, chosen.folder)[name]
    checked = check_dataset(dataset, chosen if preset else None)
    if as_json:
        about = {"name": name, "path": path, "options": dict(chosen.data.get(name, {}))}
        licence = registry.dataset(name).licence
        console.print_json({"schema": "erc.data/1", **about, "licence": licence, **checked.as_data()})
    else:
        _print(f"{name}: {path}", checked)
    if not checked.ok:
        click.get_current_context().exit(1)


def _preset(name: str | None, settings: tuple[str, ...], registry: Registry) -> Preset:
    """The preset with the settings; without one, an empty preset that has only data options."""
    from erc_cli.errors import UsageError
    from erc_cli.preset import Preset, Use, find_preset, override

    if name is not None:
        return override(find_preset(name, registry, recipe=True), settings, registry)
    other = [setting for setting in settings if not setting.startswith("data.")]
    if other:
        raise UsageError(
            f"--set {other[0]}: without --preset there are only options of the data set.",
            hint="For instance: --set data.ravdess.fold=2",
        )
    return override(Preset("", Path("preset"), "", (), {}, Use("")), settings)


def _print(title: str, checked: Checked) -> None:
    from rich.markup import escape

    from erc_cli import console

    screen = console.out()
    screen.print(_split_table(title, checked))
    screen.print(_class_table(checked))
    material = _material_table(checked)
    if material is not None:
        screen.print(material)
    for modality, offers in checked.branches.items():
        said = ", ".join(f"{split} {offer}" for split, offer in offers.items())
        screen.print(f"{modality}: {said}", soft_wrap=True)
    for finding in checked.findings:
        style = "red" if finding.level == "error" else "yellow"
        where = f"{finding.split}: " if finding.split else ""
        said = escape(f"{where}{finding.message}" + (f" {finding.hint}" if finding.hint else ""))
        screen.print(f"[{style}]{finding.level}[/]  {said}", soft_wrap=True)
    verdict = "[green]ok[/]" if checked.ok else "[red]not fit for training[/]"
    screen.print(verdict)


def _split_table(title: str, checked: Checked) -> Any:
    from erc_cli import console

    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    heads = ("dialogues", "utterances", "unlabelled", "speakers", "longest", "single")
    columns = [("split", {}), *((head, right) for head in heads), ("sha256", {"no_wrap": True})]
    table = console.table(columns, title=title)
    for name, counts in checked.splits.items():
        examples = f"{counts.pictures} pictures" if counts.pictures else str(counts.utterances)
        figures = (counts.unlabelled, counts.speakers, counts.longest, counts.single)
        table.add_row(name, str(counts.dialogues), examples, *map(str, figures), counts.sha256[:12])
    return table


def _material_table(checked: Checked) -> Any | None:
    """How many utterances have media, and ready features; None where no split has any."""
    from erc_cli import console

    splits = checked.splits
    rows = list(dict.fromkeys(name for counts in splits.values() for name in counts.ready))
    media = any(counts.media is not None for counts in splits.values())
    if not rows and not media:
        return None
    right = {"justify": "right"}
    table = console.table(["utterances with", *((name, right) for name in splits)])
    if media:
        table.add_row("media", *(_media(counts) for counts in splits.values()))
    for name in rows:
        found = [counts.ready.get(name) for counts in splits.values()]
        said = ["-" if one is None else f"{one.rows} of {one.rows + one.missing}" for one in found]
        table.add_row(f"ready features {name}", *said)
    return table


def _media(counts: Counts) -> str:
    if counts.media is None:
        return "-"
    one = counts.media
    lost = [f"{n} {what}" for n, what in ((one.missing, "missing"), (one.corrupt, "corrupt")) if n]
    return ", ".join([f"{one.found} of {counts.utterances}", *lost])


def _class_table(checked: Checked) -> Any:
    from rich.markup import escape

    from erc_cli import console

    right = {"justify": "right"}
    table = console.table(["class", *((name, right) for name in checked.splits)])
    totals = {name: sum(counts.classes.values()) or 1 for name, counts in checked.splits.items()}
    for label in checked.labels:
        found = {name: counts.classes.get(label, 0) for name, counts in checked.splits.items()}
        shares = [f"{n} ({100 * n / totals[name]:.1f} %)" for name, n in found.items()]
        table.add_row(escape(label), *shares)
    return table
