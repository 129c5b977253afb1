"""The pieces of click that all commands share: examples in the help, commands imported when used."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from erc_cli.errors import nearest

HELP = {"help_option_names": ["-h", "--help"]}
F = TypeVar("F", bound=Callable[..., Any])


def device_options(function: F) -> F:
    """`--device` and `--precision`, for every command that runs networks."""
    device = click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
    )
    precision = click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16", "fp16"]),
        help="Of the networks; fp16 on GPUs only.  [default: fp32, or what the preset says]",
    )
    return device(precision(function))


def transcript_options(function: F) -> F:
    """The options that say which transcript is read of one recording, and how."""
    path = click.Path(path_type=Path)
    columns = "What a table calls start, end, text, speaker."
    options = (
        click.option(
            "-t", "--transcript", type=path, help="SRT, VTT, ASS, ELAN, TextGrid, RTTM, JSON, CSV, …"
        ),
        click.option(
            "--transcript-format", metavar="NAME", help="Its format, where name and content mislead."
        ),
        click.option("--columns", multiple=True, metavar="F=NAME,…", help=columns),
        click.option("--speakers", type=path, metavar="FILE", help="YAML that renames or merges them."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def recording_options(function: F) -> F:
    """The options that say what is read of one recording, and by which preset."""
    from erc_cli import completion

    wanted: dict[str, Any] = {"multiple": True, "shell_complete": completion.modalities, "metavar": "M"}
    options = (
        transcript_options,
        click.option(
            "-p",
            "--preset",
            shell_complete=completion.presets,
            default="default",
            show_default=True,
            help="A preset, YAML file or run folder.",
        ),
        click.option("--drop", help="Leave out text, audio or visual.", **wanted),
        click.option("--keep", help="Leave out all others.", **wanted),
        click.option(
            "--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples:  # not wrapped: a line must stay fit for copying
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def probability(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """For `callback=`: a number from 0 to 1; `60%` and what is no number are refused."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        told = f"{value!r} is no probability: a number from 0 to 1, such as 0.6."
        raise click.BadParameter(told, context, parameter)
    return number


class Command(click.Command):
    """A command whose help shows examples before the options: `@click.command(cls=Command, examples=[…])`."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP, **settings})
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then options."""
        _write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


class Group(click.Group):
    """A group with examples in its help, which names the nearest command for an unknown one."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP, **settings})
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, commands, options."""
        _write_examples(formatter, self.examples)
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a name that does not exist."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {name!r}.{nearest(name, known)}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that imports a command when it is used, and not to list it.

    `lazy`: name -> ("module:attribute", one line of help).
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the mapping: what people need first comes first."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Commands that begin so, without importing any."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(n, help=h) for n, (_, h) in self.lazy.items() if n.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]
