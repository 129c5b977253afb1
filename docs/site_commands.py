"""The directive `erc-commands`: a section for every command, from what `--help` says, examples first."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from erc_cli.click_parts import Command, Group
from erc_cli.main import erc

if TYPE_CHECKING:
    from sphinx.application import Sphinx

WIDTH = 86
OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")


def contexts(command: click.Command = erc, name: str = "erc", parent: Any = None) -> Iterator[click.Context]:
    """A context for the command and each one below it, in the order of the help."""
    own: dict[str, Any] = dict(command.context_settings)
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **own)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from contexts(found, below, context)


def usage_of(context: click.Context) -> str:
    """Usage, commands and options, as `--help` lays them out."""
    command, formatter = context.command, context.make_formatter()
    command.format_usage(context, formatter)
    if isinstance(command, Group):
        command.format_commands(context, formatter)
    click.Command.format_options(command, context, formatter)
    return formatter.getvalue().rstrip()


def section_of(context: click.Context) -> nodes.section:
    """Title, what it does, examples, options."""
    command = context.command
    title = context.command_path
    section = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
    section += nodes.title("", "", nodes.literal(text=title))
    for words in textwrap.dedent(command.help or "").replace("\b", "").strip().split("\n\n"):
        section += _paragraph(" ".join(words.split()))
    if isinstance(command, Command | Group) and command.examples:
        section += _block("\n".join(command.examples), "sh")
    section += _block(usage_of(context), "text")
    return section


def _paragraph(text: str) -> nodes.paragraph:
    """A paragraph in which options are code."""
    made = nodes.paragraph()
    for i, part in enumerate(OPTION.split(text)):
        if part:
            made += nodes.literal(text=part) if i % 2 else nodes.Text(part)
    return made


def _block(text: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language=language)


class Commands(Directive):
    """`erc-commands`: no arguments, no content."""

    def run(self) -> list[nodes.Node]:
        """The sections, those of subcommands inside that of their group."""
        made: dict[str, nodes.section] = {}
        top: list[nodes.Node] = []
        for context in contexts():
            section = section_of(context)
            made[context.command_path] = section
            parent = context.parent
            if parent is None or parent.parent is None:
                top.append(section)
            else:
                made[parent.command_path] += section
        return top


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's front door."""
    app.add_directive("erc-commands", Commands)
    return {"parallel_read_safe": True}
