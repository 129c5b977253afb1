"""What the shell offers after TAB: presets, modalities and plugins by name.

For `shell_complete=` of click; everything heavier than click is imported when TAB is pressed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of presets, and files: a preset may be a YAML file or a folder."""
    from click.shell_completion import CompletionItem

    from erc_cli.preset import all_presets
    from erc_cli.registry import load_registry

    names = {found.name for found in all_presets(load_registry())}
    return [*_items(names, incomplete), CompletionItem(incomplete, type="file")]


def modalities(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Modalities; also behind a comma, those that are not yet named."""
    from erc_cli.types import Modality

    before, comma, _ = incomplete.rpartition(",")
    named = before.split(",")
    return _items((f"{before}{comma}{m}" for m in Modality if m not in named), incomplete)


def plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of plugins of every kind."""
    from erc_cli.registry import load_registry

    return _items({entry.spec.name for entry in load_registry().entries}, incomplete)


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in sorted(words) if word.startswith(incomplete)]
