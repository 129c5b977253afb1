"""`erc models`: which models there are, get them, check them, and weights of others as safetensors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli.click_parts import Command, Group

if TYPE_CHECKING:
    from erc_cli.model_lock import Lock, LockedModel
    from erc_cli.model_pull import Pulled

SCHEMA = "erc.models/1"
_LIST = ("erc models list", "erc models list --json")
_PULL = ("erc models pull roberta-large", "erc models pull buffalo_l --from /media/usb")
_VERIFY = ("erc models verify", "erc models verify roberta-large --json")
_PATH = ("erc models path roberta-large",)
_REMOVE = ("erc models remove buffalo_s", "erc models remove buffalo_s --yes")
_CONVERT = ("erc models convert model.pth -o model.safetensors",)
_LOCK = ("erc models lock mine ./mine --repo me/mine --revision COMMIT >> mine.lock.yaml",)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_lock = click.option(
    "--lock", "own", type=click.Path(path_type=Path), help="A lock of your own beside erc's.  [env: ERC_LOCK]"
)
_names = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group("models", cls=Group, examples=[_LIST[0], *_PULL, _VERIFY[0], *_CONVERT])
def command() -> None:
    """List, get and check models; convert checkpoints.

    `pull` is the only command of erc that uses the network.
    """


@command.command("list", cls=Command, examples=_LIST)
@_lock
@_json
def list_command(own: Path | None, as_json: bool) -> None:
    """List the models that can be had, their licence, and which are here."""
    from rich.text import Text

    from erc_cli import console
    from erc_cli.model_lock import load_lock
    from erc_cli.model_store import all_held, store_folder

    lock = load_lock(own)
    rows = [_row(model) for model in lock.values()]
    rows += [
        {"name": m.name, "summary": m.summary, "licence": m.licence, "bytes": m.size, "path": str(m.folder)}
        | {"repo": m.repo, "revision": m.revision, "state": "installed, not in the lock"}
        for m in all_held()
        if m.name not in lock
    ]
    if as_json:
        console.print_json({"schema": SCHEMA, "store": str(store_folder()), "models": rows})
        return
    right = {"justify": "right", "no_wrap": True}
    table = console.table([("name", {"no_wrap": True}), "what it is", "licence", ("size", right), "state"])
    for row in rows:
        state = str(row["state"])
        style = "green" if state == "installed" else "" if state == "not here" else "yellow"
        cells = [Text(str(row[key])) for key in ("name", "summary", "licence")]
        table.add_row(*cells, _size(int(row["bytes"])), Text(state, style=style))
    console.out().print(table)
    console.err().print(Text(f"Store: {store_folder()}"), soft_wrap=True)


def _row(model: LockedModel) -> dict[str, Any]:
    from erc_cli.errors import UsageError
    from erc_cli.model_store import PARTS, find_model, held, store_folder

    fact: dict[str, Any] = {
        "name": model.name,
        "summary": model.summary,
        "licence": model.terms,
        "non_commercial": model.non_commercial,
        "home": model.home,
        "repo": model.repo,
        "revision": model.revision,
        "bytes": model.size,
        "files": [{"path": f.path, "url": f.url, "bytes": f.size, "sha256": f.sha256} for f in model.files],
        "path": None,
    }
    try:
        found = held(model.name)
        if found is not None:
            return {**fact, "path": str(find_model(model.name, {model.name: model})), "state": "installed"}
    except UsageError as error:
        state = "other version" if "version" in error.message else "damaged"
        return {**fact, "state": f"{state}: erc models pull {model.name}"}
    parts = [store_folder() / PARTS / f.sha256 for f in model.files]
    done = sum(part.stat().st_size for part in parts if part.exists())
    return {**fact, "state": f"{100 * done // model.size} % fetched" if done else "not here"}


@command.command("pull", cls=Command, examples=_PULL)
@_names
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Take the files from a folder or archive, by their hash, and use no network.",
)
@click.option("--offline", is_flag=True, help="Use no network; say what would be loaded.")
@_lock
@_json
@click.option("-q", "--quiet", is_flag=True, help="No progress, no notes.")
def pull_command(
    names: tuple[str, ...], source: Path | None, offline: bool, own: Path | None, as_json: bool, quiet: bool
) -> None:
    """Get the models NAME: load, check, install.

    What was cut off goes on where it was. Files that the Hugging Face cache holds are not loaded again.
    """
    from rich.text import Text

    from erc_cli import console
    from erc_cli.model_lock import get_model, load_lock
    from erc_cli.model_pull import Pull, offline_by_environment

    lock = load_lock(own)
    models = [get_model(lock, name) for name in dict.fromkeys(names)]
    talk, out = console.err(quiet=quiet), console.out()
    away = offline or offline_by_environment()
    done: list[Pulled] = []
    for model in models:
        style = "yellow" if model.non_commercial else ""
        talk.print(Text(f"{model.name}: {model.terms}. {_size(model.size)}, {model.home}", style=style))
        with console.progress(quiet=quiet, log=True) as report:
            done.append(Pull(model, report, away, source).run(lambda: _say_waiting(quiet=quiet)))
        if not as_json:
            out.print(Text(f"{model.name}  {done[-1].state}  {done[-1].model.folder}"), soft_wrap=True)
    if as_json:
        rows = [
            {"name": one.model.name, "state": one.state, "path": str(one.model.folder)}
            | {"licence": one.model.licence, "non_commercial": model.non_commercial}
            | {"fetched": one.fetched, "found": one.found, "bytes": one.model.size}
            for one, model in zip(done, models, strict=True)
        ]
        console.print_json({"schema": SCHEMA, "models": rows})


def _say_waiting(*, quiet: bool = False) -> None:
    from erc_cli import console

    console.err(quiet=quiet).print("Another erc changes the models; waiting for it.", soft_wrap=True)


@command.command("verify", cls=Command, examples=_VERIFY)
@click.argument("names", nargs=-1, metavar="[NAME…]")
@_json
@click.pass_context
def verify_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Read every file of the installed models and compare it with what was installed.

    Finds damaged, missing and surplus files. Exit code 1 if there is one.
    """
    from rich.text import Text

    from erc_cli import console
    from erc_cli.model_check import check_store
    from erc_cli.model_store import store_folder

    rows, left = check_store(names)
    if as_json:
        console.print_json(
            {"schema": SCHEMA, "store": str(store_folder()), "models": rows, "unfinished": left}
        )
    else:
        screen = console.out()
        for row in rows:
            for path, what in row["problems"].items():
                screen.print(Text(f"{what}: {Path(row['path']) / path}"), soft_wrap=True)
        whole = sum(row["ok"] for row in rows)
        screen.print(f"{whole} of {len(rows)} models are whole.")
        talk = console.err()
        for row in (row for row in rows if row["mend"]):
            talk.print(Text(f"Mend it: {row['mend']}"), soft_wrap=True)
        if left:
            talk.print(f"{len(left)} files of pulls that were cut off are kept to go on with.")
    if not all(row["ok"] for row in rows):
        ctx.exit(1)


@command.command("path", cls=Command, examples=_PATH)
@click.argument("name")
@_lock
@_json
def path_command(name: str, own: Path | None, as_json: bool) -> None:
    """Print the folder of the model NAME.

    NAME is that of the lock, NAME/FILE for one of its files, or a Hugging Face id that is in the cache.
    """
    from erc_cli import console
    from erc_cli.model_lock import load_lock
    from erc_cli.model_store import find_model

    found = find_model(name, load_lock(own))
    if as_json:
        console.print_json({"schema": SCHEMA, "name": name, "path": str(found)})
        return
    click.echo(str(found))


@command.command("remove", cls=Command, examples=_REMOVE)
@_names
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def remove_command(names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove the installed models NAME."""
    from rich.text import Text

    from erc_cli import console
    from erc_cli.errors import UsageError
    from erc_cli.model_check import must_hold
    from erc_cli.model_lock import load_lock
    from erc_cli.model_pull import remove

    lock: Lock = load_lock()
    models = [must_hold(name) for name in dict.fromkeys(names)]
    if not yes:
        listed = ", ".join(f"{model.name} ({_size(model.size)})" for model in models)
        if as_json or not sys.stdin.isatty():
            hint = f"Say so: erc models remove {' '.join(names)} --yes"
            raise UsageError(f"{listed} would be removed.", hint=hint)
        click.confirm(f"Remove {listed}?", abort=True, err=True)
    for model in models:
        entry = lock.get(model.name)
        remove(model, entry.files if entry is not None else (), _say_waiting)
        if not as_json:
            console.out().print(Text(f"{model.name} removed from {model.folder}"), soft_wrap=True)
    if as_json:
        rows = [{"name": m.name, "path": str(m.folder), "bytes": m.size} for m in models]
        console.print_json({"schema": SCHEMA, "removed": rows})


@command.command("convert", cls=Command, examples=_CONVERT)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--key", default="", metavar="K", help="Where the tensors are in it: state_dict, ema.model")
@click.option("--force", is_flag=True, help="Overwrite the output.")
@_json
def convert_command(checkpoint: Path, output: Path, key: str, force: bool, as_json: bool) -> None:
    """Turn a PyTorch CHECKPOINT (.pt, .pth, .bin, .ckpt, or a folder of parts) into safetensors.

    It is read in a process of its own and as tensors only: a pickle that would run code is refused, and
    nothing of it runs.
    """
    from rich.text import Text

    from erc_cli import console
    from erc_cli.errors import UsageError
    from erc_cli.model_convert import convert

    if output.suffix != ".safetensors":
        raise UsageError(
            f"-o {output} does not end in .safetensors.", hint=f"For instance: -o {output.stem}.safetensors"
        )
    made = convert(checkpoint, output, key=key, force=force)
    if as_json:
        facts = {"tensors": made.tensors, "key": made.key, "left_out": list(made.left_out)}
        console.print_json({"schema": SCHEMA, "file": str(output), **facts})
        return
    place = f" from {made.key}" if made.key else ""
    console.out().print(Text(f"{output}: {made.tensors} tensors{place}"), soft_wrap=True)
    if made.left_out:
        console.err().print(Text(f"Left out, being no tensors: {', '.join(made.left_out)}"), soft_wrap=True)


@command.command("lock", cls=Command, examples=_LOCK)
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--repo", default="", metavar="ORG/NAME", help="The Hugging Face repo the files are from.")
@click.option("--revision", default="", metavar="COMMIT", help="Its commit, 40 digits.")
@click.option("--url", default="", metavar="URL", help="Or: the address of the folder they are from.")
@click.option("--licence", default="not stated", show_default=True, help="Their licence.")
@click.option("--summary", default="", help="What it is, in a line.")
def lock_command(name: str, folder: Path, **about: str) -> None:
    """Print the lock entry NAME of the files in FOLDER, for a lock of your own."""
    from erc_cli.model_check import entry_of

    click.echo(entry_of(name, folder, about), nl=False)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
