"""`erc plugins`: what is installed, who brings it, what is missing; the options of one; and a new one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from erc_cli import completion, console, options
from erc_cli.click_parts import Command, Group
from erc_cli.errors import UsageError, nearest
from erc_cli.registry import KINDS, Entry, Registry, Row, load_registry, pip_command
from erc_cli.specs import (
    DatasetSpec,
    ExtractorSpec,
    FusionSpec,
    PresetSpec,
    ReaderSpec,
    TranscriberSpec,
    WriterSpec,
)
from erc_cli.types import Modality

_LIST = ("erc plugins list", "erc plugins list --kind extractor", "erc plugins list --json")
_SHOW = ("erc plugins show minilm", "erc plugins show late --json")
_NEW = (
    "erc plugins new loudness --modality audio",
    "erc plugins new my-corpus --kind dataset -o ~/my-corpus",
)
#: what `erc_cli.scaffold` has templates for; a preset is copied instead
_NEW_KINDS = ("extractor", "fusion", "reader", "transcriber", "writer", "dataset")


@click.group("plugins", cls=Group, examples=[_LIST[0], _SHOW[0], _NEW[0]])
def command() -> None:
    """List plugins, show their options, make a new one."""


@command.command("list", cls=Command, examples=_LIST)
@click.option("--kind", type=click.Choice(KINDS), help="Only plugins of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List the plugins that are installed, with the libraries that they miss."""
    rows = [row for row in load_registry().rows() if kind in (None, row.kind) or row.kind == "plugin"]
    if as_json:
        console.print_json({"schema": "erc.plugins/1", "plugins": [asdict(row) for row in rows]})
        return
    _print_rows(rows)


def _print_rows(rows: list[Row]) -> None:
    from rich.markup import escape

    screen = console.out()
    table = console.table(
        [("name", {"no_wrap": True}), ("kind", {"no_wrap": True}), "package", "what it is", "state"]
    )
    for row in rows:
        kind = f"{row.modality} {row.kind}".strip()
        style = console.colour(row.state)
        word, _, rest = row.state.partition(": ")
        said = f"[{style}]{word}[/]" + (f": {escape(rest)}" if rest else "")
        table.add_row(row.name, kind, f"{row.package} {row.version}".strip(), escape(row.summary), said)
    screen.print(table)


@command.command("show", cls=Command, examples=_SHOW)
@click.argument("name", shell_complete=completion.plugins)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(name: str, as_json: bool) -> None:
    """Show the options of the plugin NAME, what it needs, its licence and state."""
    registry = load_registry()
    entries = registry.find(name)
    if not entries:
        known = {entry.spec.name for entry in registry.entries}
        raise UsageError(
            f"There is no plugin called {name!r}.{nearest(name, known)}", hint="See: erc plugins list"
        )
    described = [_describe(entry, registry) for entry in entries]
    if as_json:
        console.print_json({"schema": "erc.plugin/1", "plugins": described})
        return
    for plugin in described:
        _print_plugin(plugin)


def _describe(entry: Entry, registry: Registry) -> dict[str, Any]:
    spec = entry.spec
    about: dict[str, Any] = {
        "name": spec.name,
        "kind": entry.kind,
        "package": entry.owner.package,
        "version": entry.owner.version,
        "state": registry.state(entry),
    }
    if isinstance(spec, PresetSpec):
        return {**about, "path": str(spec.path)}
    about |= {"summary": spec.summary, "needs": list(spec.needs), "extra": spec.extra}
    if spec.needs or spec.extra:
        about["install"] = pip_command(spec, spec.needs)
    if isinstance(spec, ReaderSpec | WriterSpec):
        return {**about, "extensions": list(spec.extensions)}
    about["licence"] = spec.licence
    if isinstance(spec, ExtractorSpec):
        about["modality"] = str(spec.modality)
    if isinstance(spec, DatasetSpec):
        about["options"] = _options(spec.open, options.NOTHING)
    if isinstance(spec, ExtractorSpec | FusionSpec):
        about["options"] = _options(spec.build)
        about["train"] = None if spec.train is None else _options(spec.train)
    if isinstance(spec, TranscriberSpec):
        about["options"] = _options(spec.build)
    if isinstance(spec, FusionSpec):
        about["requires"] = sorted(spec.requires)
    return about


def _options(function: Callable[..., object], supplied: Set[str] = options.GIVEN) -> list[dict[str, Any]]:
    return [
        {
            "name": option.name,
            "type": option.type_name,
            "required": option.required,
            "default": None if option.required else _as_data(option.default),
        }
        for option in options.schema(function, supplied).values()
    ]


def _as_data(value: object) -> Any:
    """A default as JSON can say it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_data(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_data(item) for key, item in value.items()}
    return str(value)


def _print_plugin(plugin: dict[str, Any]) -> None:
    from rich.markup import escape

    screen = console.out()
    kind = " ".join(filter(None, [plugin.get("modality"), plugin["kind"]]))
    package = f"{plugin['package']} {plugin['version']}".strip()
    screen.print(f"[bold]{escape(plugin['name'])}[/]  {kind} of {escape(package)}", soft_wrap=True)
    facts = ("summary", "licence", "path", "extensions", "requires", "needs", "install", "state")
    for key in facts:
        value = plugin.get(key)
        if value:
            text = ", ".join(value) if isinstance(value, list) else str(value)
            screen.print(f"  {key + ':':<11} {escape(text)}", soft_wrap=True)
    for key, title in (("options", "options"), ("train", "options of training")):
        if plugin.get(key):
            screen.print(f"\n[bold]{title}[/]")
            screen.print(_option_table(plugin[key]))
    screen.print()


def _option_table(rows: list[dict[str, Any]]) -> Any:
    from rich.markup import escape

    table = console.table(["option", "type", "default"])
    for row in rows:
        default = "[yellow]required[/]" if row["required"] else escape(_as_yaml(row["default"]))
        table.add_row(row["name"], escape(row["type"]), default)
    return table


def _as_yaml(value: Any) -> str:
    """A default as a preset would write it."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, width=200).removesuffix("\n...\n").strip()


@command.command("new", cls=Command, examples=_NEW)
@click.argument("name")
@click.option("--modality", type=click.Choice([str(m) for m in Modality]), help="What an extractor reads.")
@click.option("--kind", type=click.Choice(_NEW_KINDS), default="extractor", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A folder that is not there yet.  [default: erc-NAME]",
)
def new_command(name: str, modality: str | None, kind: str, output: Path | None) -> None:
    """Make a working plugin called NAME with its test, to be changed into yours.

    Prints its folder; nothing that exists is overwritten. See docs/plugin-tutorial.md.
    """
    from erc_cli import scaffold

    new = scaffold.plan(name, kind, Modality(modality) if modality else None, load_registry())
    folder = scaffold.create(new, output or Path(new.distribution))
    click.echo(folder)
    talk = console.err()
    talk.print(f"Made {scaffold.SAMPLES[new.sample].what} {new.name}. Next:", soft_wrap=True, markup=False)
    for line in (
        f"cd {shlex.quote(str(folder))}",
        "pip install -e '.[dev]'",
        "pytest",
        f"erc plugins show {name}",
    ):
        talk.print(f"  {line}", soft_wrap=True, markup=False)
