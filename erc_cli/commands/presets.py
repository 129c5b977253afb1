"""`erc presets`: which there are, what is in one, whether it can run, and a copy to change."""

from __future__ import annotations

import errno
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from erc_cli import completion, console, files
from erc_cli.click_parts import Command, Group
from erc_cli.errors import ErcError, UsageError
from erc_cli.preset import FILE, Found, Preset, Problem, all_presets, check, locate, read_preset
from erc_cli.preset_file import by_line
from erc_cli.registry import Registry, load_registry

_LIST = ("erc presets list", "erc presets list --json")
_SHOW = ("erc presets show default", "erc presets show runs/mine --json")
_CHECK = ("erc presets check default", "erc presets check mine.yaml other.yaml")
_COPY = ("erc presets copy default mine", "erc predict video.mp4 --transcript video.srt --preset ./mine")
#: what is said of the original, and would not be true of a copy that is changed
_ITS_OWN = ("metrics.json", "training.json", "card.md")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class Checked:
    """A preset with all that is wrong with it."""

    found: Found
    preset: Preset | None
    problems: tuple[Problem, ...]

    @property
    def state(self) -> str:
        """`ok`, or the worst of its problems: `untrained`, `missing` (libraries) or `wrong`."""
        kinds = {problem.kind for problem in self.problems}
        if kinds - {"untrained", "missing"}:
            return "wrong"
        return "missing" if "missing" in kinds else "untrained" if kinds else "ok"


def examine(found: Found, registry: Registry) -> Checked:
    """Read a preset and check it against the registry."""
    preset, problems = read_preset(found.path, found.name)
    if preset is not None:
        problems = problems + check(preset, registry)
    return Checked(found, preset, tuple(by_line(problems)))


@click.group("presets", cls=Group, examples=[_LIST[0], _SHOW[0], _CHECK[0], _COPY[0]])
def command() -> None:
    """List, show, check and copy presets."""


@command.command("list", cls=Command, examples=_LIST)
@_json
def list_command(as_json: bool) -> None:
    """List the presets that have a name, and whether they can run."""
    registry = load_registry()
    checked = [examine(found, registry) for found in all_presets(registry)]
    if as_json:
        console.print_json({"schema": "erc.presets/1", "presets": [_as_data(one) for one in checked]})
        return
    from rich.markup import escape

    table = console.table([("name", {"no_wrap": True}), "extractors", "fusion", "what it is", "state"])
    for one in checked:
        state = f"[{console.colour(one.state)}]{one.state}[/]"
        if one.preset is None:
            table.add_row(one.found.name, "", "", "", state)
            continue
        branches = " ".join(use.name for use in one.preset.extractors.values())
        summary = escape(one.preset.summary)
        table.add_row(one.found.name, escape(branches), escape(one.preset.fusion.name), summary, state)
    console.out().print(table)
    if any(one.problems for one in checked):
        console.err().print("What is wrong with one: erc presets check NAME", soft_wrap=True)


@command.command("show", cls=Command, examples=_SHOW)
@click.argument("name", shell_complete=completion.presets)
@_json
def show_command(name: str, as_json: bool) -> None:
    """Print the YAML of the preset NAME (or of a file or run folder)."""
    found = locate(name, load_registry())
    text = _read(found.path)
    metrics = _metrics(found.path.parent / "metrics.json")
    card = found.path.parent / "card.md"
    trained = found.path.name == FILE
    if as_json:
        preset, problems = read_preset(found.path, found.name)
        about = _as_data(Checked(found, preset, tuple(problems)))
        about |= {"yaml": text, "card": str(card) if trained and card.is_file() else None, "metrics": metrics}
        console.print_json({"schema": "erc.preset/1", **about})
        return
    click.echo(text.rstrip("\n"))
    talk = console.err()
    talk.print(f"# {found.path}", soft_wrap=True, markup=False)
    if trained and card.is_file():
        talk.print(f"# card: {card}", soft_wrap=True, markup=False)
    for line in _figures(metrics):
        talk.print(f"# {line}", soft_wrap=True, markup=False)


@command.command("check", cls=Command, examples=_CHECK)
@click.argument("names", nargs=-1, required=True, metavar="NAME|FILE…", shell_complete=completion.presets)
@_json
def check_command(names: tuple[str, ...], as_json: bool) -> None:
    """Say everything that keeps a preset from running.

    Exit code 1 if there is anything but the training that it still needs.
    """
    registry = load_registry()
    checked = [examine(locate(name, registry), registry) for name in names]
    if as_json:
        console.print_json({"schema": "erc.presets/1", "presets": [_as_data(one) for one in checked]})
    else:
        screen = console.out()
        for one in checked:
            colour = console.colour(one.state)
            screen.print(f"[{colour}]{one.state}[/]  {one.found.path}", soft_wrap=True)
            for problem in one.problems:
                screen.print(f"  {problem}", soft_wrap=True, markup=False)
    if any(one.state not in ("ok", "untrained") for one in checked):
        click.get_current_context().exit(1)


@command.command("copy", cls=Command, examples=_COPY)
@click.argument("name", shell_complete=completion.presets)
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace DEST if it is a preset.")
def copy_command(name: str, dest: Path, force: bool) -> None:
    """Copy the preset NAME to DEST, to change it there: a YAML file, or a folder if it is trained."""
    registry = load_registry()
    found = locate(name, registry)
    target = (
        _copy_folder(found, dest, force, name) if found.path.name == FILE else _copy_file(found, dest, force)
    )
    talk = console.err()
    said = f"Copied {found.name} to {target}. Change it, then: erc presets check {target}"
    talk.print(said, soft_wrap=True, markup=False)
    left_out = [name for name in _ITS_OWN if (found.path.parent / name).is_file()]
    if target.is_dir() and left_out:
        said = f"Left out, because it tells of the original: {', '.join(left_out)}"
        talk.print(said, soft_wrap=True, markup=False)
    moved = examine(Found(found.name, target / FILE if target.is_dir() else target, ""), registry)
    for problem in moved.problems:
        if problem.kind == "file":
            talk.print(f"  {problem}: name the file anew", soft_wrap=True, markup=False)


def _copy_file(found: Found, dest: Path, force: bool) -> Path:
    target = dest / found.path.name if _is_folder(dest) else dest
    with files.atomic_write(target, force) as draft:
        draft.write_bytes(found.path.read_bytes())
    return target


def _copy_folder(found: Found, dest: Path, force: bool, name: str) -> Path:
    source = found.path.parent.resolve()
    if dest.suffix.lower() in (".yaml", ".yml"):
        raise UsageError(
            f"{found.name} is a folder with its weights, so its copy is a folder, too.",
            hint=f"Type: erc presets copy {name} {dest.with_suffix('')}",
        )
    there = _is_folder(dest) or dest.exists()
    if dest.resolve().is_relative_to(source):
        raise UsageError(f"{dest} lies inside the preset {source}.", hint="Copy it to another place.")
    if there:
        if not force:
            raise UsageError(f"{dest} exists already and is kept.", hint="Replace it with --force.")
        if not (dest / FILE).is_file():
            raise UsageError(
                f"{dest} is not a preset, so --force does not replace it.", hint="Name another DEST."
            )
    try:
        files.copy_folder(source, dest, replace=force)
    except UsageError:
        raise
    except ErcError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        said = getattr(cause, "strerror", None) or "its files cannot be copied there"
        raise UsageError(f"{dest} cannot be written: {said}.", hint="Name another DEST.") from error
    for own in _ITS_OWN:
        (dest / own).unlink(missing_ok=True)
    return dest


def _is_folder(dest: Path) -> bool:
    """Whether DEST is a folder; UsageError where nothing can be at all."""
    try:
        return stat.S_ISDIR(dest.stat().st_mode)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # a name too long, a file amid the path, a null character
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"{dest} cannot be written: {said}.", hint="Name another DEST.") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8.", hint="See: erc presets list") from error
    except OSError as error:
        raise ErcError(f"{path} cannot be read: {error}", hint=f"Type: erc presets check '{path}'") from error


def _metrics(path: Path) -> dict[str, Any] | None:
    """The figures of a trained preset, None where there are none."""
    if not path.is_file():
        return None
    try:
        figures = json.loads(_read(path))
    except json.JSONDecodeError:
        return None
    return figures if isinstance(figures, dict) else None


def _figures(metrics: dict[str, Any] | None, most: int = 8) -> list[str]:
    """The first plain figures of metrics.json, by key path."""
    lines: list[str] = []

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, f"{key}.{name}" if key else name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            lines.append(f"{key}: {value:.4g}")

    walk(metrics or {}, "")
    return lines[:most]


def _as_data(one: Checked) -> dict[str, Any]:
    preset = one.preset
    return {
        "name": one.found.name,
        "path": str(one.found.path),
        "package": one.found.package,
        "summary": preset.summary if preset else "",
        "labels": list(preset.labels) if preset else [],
        "extractors": {str(m): use.name for m, use in preset.extractors.items()} if preset else {},
        "fusion": preset.fusion.name if preset else "",
        "trained": one.found.path.name == FILE,
        "state": one.state,
        "problems": [
            {"key": p.key, "line": p.line, "kind": p.kind, "message": p.message} for p in one.problems
        ],
    }
