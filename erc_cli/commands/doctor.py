"""`erc doctor`: what works here, what does not, and what to type about it."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import click

from erc_cli import __version__, console
from erc_cli.click_parts import Command
from erc_cli.errors import ErcError
from erc_cli.files import cache_folder
from erc_cli.preset import all_presets
from erc_cli.registry import Registry, load_registry, pip_command
from erc_cli.specs import ExtractorSpec

DEFAULT = "default"
_MARKS = {"ok": "ok", "info": "-", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `state` is ok, info (not there, not needed), warn or fail; `hint` is what to type."""

    name: str
    state: str
    detail: str
    hint: str | None = None


@click.command("doctor", cls=Command, examples=["erc doctor", "erc doctor --json"])
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Check this installation and say what to mend. Exit code 1 if the default preset cannot run."""
    registry = load_registry()
    checks = [*_system(), *_plugins(registry), _cache(), *_presets(registry)]
    good = all(check.state != "fail" for check in checks)
    if as_json:
        console.print_json({"schema": "erc.doctor/1", "ok": good, "checks": [asdict(c) for c in checks]})
    else:
        _print(checks, good)
    if not good:
        click.get_current_context().exit(1)


def _system() -> Iterable[Check]:
    yield Check("erc", "ok", __version__)
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield _torch()
    yield _device()
    yield _torchaudio()


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", "fail", f"cannot be imported: {error}", "Type: pip install 'torch>=2.8,<2.14'")
    said = f"{torch.__version__}, threads: {torch.get_num_threads()}"
    return Check("torch", "ok", said)


def _device() -> Check:
    """What `--device auto` is here, and what it could be."""
    try:
        import torch
    except (ImportError, OSError):
        return Check("device", "fail", "none without torch")
    from erc_cli.device import bf16_units, find_device, unused_gpu

    best = find_device("auto")
    if best == "cuda":
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("device", "ok", "; ".join(f"cuda:{i} {name}" for i, name in enumerate(names)))
    if best == "mps":
        return Check("device", "ok", "mps")
    warning = unused_gpu("auto", best)
    if warning is not None:
        return Check("device", "warn", warning)
    units = {True: "bf16 in hardware", False: "no units for bf16, which is slower here than fp32"}
    known = bf16_units()
    return Check("device", "ok", "cpu" + (f", {units[known]}" if known is not None else ""))


def _torchaudio() -> Check:
    from erc_cli.torchaudio_guard import prepare

    try:
        mode = prepare()
    except ErcError as error:
        return Check("torchaudio", "warn", error.message, error.hint)
    if mode == "absent":
        return Check("torchaudio", "info", "not installed, not needed")
    number = _version("torchaudio")
    if mode == "native":
        return Check("torchaudio", "ok", f"{number}, fits torch")
    said = f"{number}: its compiled part does not load beside this torch; erc uses its Python part"
    return Check("torchaudio", "ok", said)


def _plugins(registry: Registry) -> Iterable[Check]:
    """A line per plugin that misses something or is broken, and one for all the others."""
    rows = registry.rows()
    good = sum(row.state == "ok" for row in rows)
    yield Check("plugins", "ok" if good else "warn", f"{good} of {len(rows)} ready")
    lacking: dict[str, list[str]] = {}
    branches: dict[str, list[str]] = {}
    for entry in registry.entries:
        missing = registry.missing(entry.spec)
        if missing:
            pip = pip_command(entry.spec, missing)
            lacking.setdefault(pip, []).append(f"{entry.spec.name} needs {', '.join(missing)}")
            if isinstance(entry.spec, ExtractorSpec):
                branches.setdefault(pip, []).append(f"--drop {entry.spec.modality}")
    for pip, names in sorted(lacking.items()):
        out = f", or leave it out: {' '.join(dict.fromkeys(branches[pip]))}" if pip in branches else ""
        yield Check("libraries", "warn", "; ".join(names), f"Type: {pip}{out}")
    for row in rows:
        word = row.state.partition(":")[0]
        if word in ("broken", "clash"):
            said = f"{row.name} of {row.package}: {row.state}"
            yield Check("plugins", "warn", said, f"Without it: ERC_DISABLE_PLUGINS={row.package}")


def _cache() -> Check:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        said = f"{folder} is not writable: {error.strerror}"
        return Check("cache", "warn", said, "Name another folder: export ERC_CACHE=/path/to/folder")
    return Check("cache", "ok", str(folder))


def _presets(registry: Registry) -> Iterable[Check]:
    from erc_cli.commands.presets import examine

    presets = all_presets(registry)
    for found in presets:
        one = examine(found, registry)
        if not one.problems:
            yield Check(f"preset {found.name}", "ok", "can run")
            continue
        if one.state == "untrained" and found.name != DEFAULT:
            yield Check(f"preset {found.name}", "info", "not trained yet", "See: erc train --help")
            continue
        state = "fail" if found.name == DEFAULT else "warn"
        # The hint below is where to look; the problems' own hints would say "See:" again.
        said = "; ".join(str(problem).partition(" See: ")[0] for problem in one.problems)
        yield Check(f"preset {found.name}", state, said, f"See: erc presets check {found.name}")
    if DEFAULT not in {found.name for found in presets}:
        said = "is not there, so `erc predict` needs --preset"
        yield Check(
            f"preset {DEFAULT}", "fail", said, "Install erc-cli again: pip install --force-reinstall erc-cli"
        )


def _print(checks: list[Check], good: bool) -> None:
    from rich.markup import escape

    screen = console.out()
    table = console.table([("", {"no_wrap": True}), "check", "what was found"])
    colours = {"ok": "green", "info": "dim", "warn": "yellow", "fail": "bold red"}
    for check in checks:
        said = escape(check.detail) + (f"\n[bold]{escape(check.hint)}[/]" if check.hint else "")
        table.add_row(f"[{colours[check.state]}]{_MARKS[check.state]}[/]", check.name, said)
    screen.print(table)
    end = "The default preset can run." if good else "The default preset cannot run: mend what says FAIL."
    screen.print(end, style="green" if good else "bold red")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
