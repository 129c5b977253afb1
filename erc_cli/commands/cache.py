"""`erc cache`: how much is kept, whether it is whole, and away with it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from erc_cli.click_parts import Command, Group

_INFO = ("erc cache info", "erc cache info --json")
_CLEAR = ("erc cache clear", "erc cache clear --yes")
_VERIFY = ("erc cache verify", "erc cache verify --features features/meld")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_features = click.option(
    "--features",
    "folder",
    type=click.Path(path_type=Path),
    help="The store of a features folder (erc extract -o) instead.",
)


@click.group("cache", cls=Group, examples=[_INFO[0], _VERIFY[0], _CLEAR[0]])
def command() -> None:
    """Look at, check and clear the store of features."""


@command.command("info", cls=Command, examples=_INFO)
@_features
@_json
def info_command(folder: Path | None, as_json: bool) -> None:
    """Show where features are kept, how many and how large."""
    from rich.text import Text

    from erc_cli import console
    from erc_cli.features import open_store

    store = open_store(folder)
    held = list(store.held())
    files, sizes, rows = Counter[str](), Counter[str](), Counter[str]()
    for one in held:
        name = "damaged" if one.damage else f"{one.plugin} {one.version}".strip()
        files[name] += 1
        sizes[name] += one.size
        rows[name] += one.rows
    kinds = [{"plugin": n, "files": files[n], "rows": rows[n], "bytes": sizes[n]} for n in sorted(files)]
    if as_json:
        about = {"schema": "erc.cache/1", "folder": str(store.folder), "files": len(held)}
        console.print_json({**about, "bytes": sum(sizes.values()), "plugins": kinds})
        return
    screen = console.out()
    screen.print(Text(str(store.folder)), soft_wrap=True)
    if not held:
        screen.print("Nothing is kept there.")
        return
    right = {"justify": "right"}
    table = console.table(["plugin", ("files", right), ("rows", right), ("size", right)])
    for kind in kinds:
        size = _size(sizes[str(kind["plugin"])])
        table.add_row(str(kind["plugin"]), str(kind["files"]), str(kind["rows"]), size)
    table.add_row("all", str(len(held)), str(sum(rows.values())), _size(sum(sizes.values())))
    screen.print(table)


@command.command("verify", cls=Command, examples=_VERIFY)
@_features
@_json
@click.pass_context
def verify_command(ctx: click.Context, folder: Path | None, as_json: bool) -> None:
    """Read every file and compare it with what was written. Exit code 1 if one is damaged.

    Damaged files are computed anew when they are needed; nothing has to be done about them.
    """
    from rich.text import Text

    from erc_cli import console
    from erc_cli.features import open_store

    store = open_store(folder)
    held = list(store.held())
    damaged = [one for one in held if one.damage]
    drafts = store.drafts()
    if as_json:
        wrong = [{"file": str(one.path), "reason": one.damage} for one in damaged]
        about = {"schema": "erc.cache/1", "folder": str(store.folder), "files": len(held)}
        console.print_json({**about, "damaged": wrong, "unfinished": [str(p) for p in drafts]})
    else:
        screen = console.out()
        for one in damaged:
            screen.print(Text(f"damaged: {one.path}: {one.damage}"), soft_wrap=True)
        if drafts:
            screen.print(
                f"{len(drafts)} files left unfinished by runs that were killed; they are never read."
            )
        screen.print(f"{len(held) - len(damaged)} of {len(held)} files are whole.")
    if damaged:
        ctx.exit(1)


@command.command("clear", cls=Command, examples=_CLEAR)
@_features
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def clear_command(folder: Path | None, yes: bool, as_json: bool) -> None:
    """Remove all features from the store; they are computed again when needed."""
    from rich.text import Text

    from erc_cli import console
    from erc_cli.errors import UsageError
    from erc_cli.features import open_store

    store = open_store(folder)
    count = len(store.files())
    if count and not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError(f"{count} feature files would be removed.", hint="Say so: erc cache clear --yes")
        click.confirm(f"Remove {count} feature files from {store.folder}?", abort=True, err=True)
    removed = store.clear()
    if as_json:
        console.print_json({"schema": "erc.cache/1", "folder": str(store.folder), "removed": removed})
    else:
        console.out().print(Text(f"{removed} feature files removed from {store.folder}"), soft_wrap=True)


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
