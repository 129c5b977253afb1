"""`erc features`: take in features that others computed, and look into a feature file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command, Group

if TYPE_CHECKING:
    from erc_cli.feature_import import Imported, Order, Target
    from erc_cli.learning import Dataset

_IMPORT = (
    "erc features import dev.pkl --data meld:data/meld --split dev --modality text --as roberta -o features",
    "erc features import meld_*_audio.csv --data meld:data/meld --modality audio --as prosody -o features",
)
_SHOW = ("erc features show features/meld-dev-text-roberta.safetensors",)
_MODALITIES = ("text", "audio", "visual")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("features", cls=Group, examples=[_IMPORT[0], *_SHOW])
def command() -> None:
    """Import ready features, look into feature files."""


@command.command("import", cls=Command, examples=_IMPORT)
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the features."
)
@click.option("--as", "name", required=True, metavar="NAME", help="What the features are to be called.")
@click.option("--modality", type=click.Choice(_MODALITIES), required=True, help="What they are features of.")
@click.option("--data", metavar="NAME:PATH", help="The data set that they belong to.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="S",
    help="Its split, once for each FILE.  [default: by the file's name]",
)
@click.option(
    "--preset", shell_complete=completion.presets, help="Open the data set with this preset's options."
)
@click.option("--columns", default="", metavar="A,B,C", help="Columns of a table.  [default: all of numbers]")
@click.option(
    "--key", default="", metavar="K", help="Column(s) with the names, or the way to the array: 0.train"
)
@click.option(
    "--without", multiple=True, metavar="ID", help="An utterance that a FILE without names leaves out."
)
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Change the beginning of names.")
@click.option("--fill", type=float, help="Number for what is not finite.  [default: such a row is absent]")
@click.option("--force", is_flag=True, help="Replace files.")
@_json
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def import_command(**asked: Any) -> None:
    """Read tables (CSV, TSV), arrays (npz, npy, safetensors) or pickles into feature files.

    Rows are matched to the data set's utterances by name, or by order where they have none. A pickle is
    read as data only: nothing in it can run.
    """
    from erc_cli import console
    from erc_cli.errors import UsageError
    from erc_cli.feature_file import write_features
    from erc_cli.feature_import import import_file

    order, files = _order(asked), asked["files"]
    targets = _targets(asked["data"], asked["splits"], files, asked["preset"])
    output: Path = asked["output"]
    paths = [_output(output, order, target, path) for path, target in zip(files, targets, strict=True)]
    if len(set(paths)) < len(paths):
        raise UsageError("Two files are of the same split.", hint="Give --split once for each FILE.")
    taken = [path for path in paths if path.exists()]
    if taken and not asked["force"]:
        raise UsageError(f"{taken[0]} exists already and is kept.", hint="Overwrite it with --force.")
    _make(output)
    made = [import_file(path, order, target) for path, target in zip(files, targets, strict=True)]
    for path, imported in zip(paths, made, strict=True):
        write_features(path, imported.file)
    _say(paths, made, quiet=asked["quiet"], as_json=asked["as_json"])
    if asked["data"] and not asked["as_json"]:
        use = f"imported-{order.modality}"
        console.err(quiet=asked["quiet"]).print(
            f"In a preset: {order.modality}: {{use: {use}, features: {output}}}"
        )


def _order(asked: dict[str, Any]) -> Order:
    import re

    from erc_cli.errors import UsageError
    from erc_cli.feature_import import Order
    from erc_cli.types import Modality

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", asked["name"]):
        raise UsageError(
            f"--as {asked['name']}: letters, digits, - and _ only.", hint="For instance: --as roberta"
        )
    renamed = [tuple(text.split("=", 1)) for text in asked["rename"]]
    if any(len(pair) != 2 for pair in renamed):
        raise UsageError("--rename expects OLD=NEW.", hint="For instance: --rename 01-=03-")
    return Order(
        name=asked["name"],
        modality=Modality(asked["modality"]),
        columns=tuple(part.strip() for part in asked["columns"].split(",") if part.strip()),
        key=asked["key"],
        without=asked["without"],
        renamed=tuple((old, new) for old, new in renamed),
        fill=asked["fill"],
    )


def _targets(
    data: str | None, splits: tuple[str, ...], files: tuple[Path, ...], preset: str | None
) -> list[Target | None]:
    from erc_cli.dataset import open_datasets
    from erc_cli.errors import UsageError
    from erc_cli.feature_import import Target
    from erc_cli.preset import find_preset
    from erc_cli.registry import load_registry

    if data is None:
        if splits:
            raise UsageError("--split is of a data set.", hint="Name it: --data NAME:PATH")
        return [None] * len(files)
    registry = load_registry()
    chosen = None if preset is None else find_preset(preset, registry, recipe=True)
    options, folder = ({}, Path()) if chosen is None else (chosen.data, chosen.folder)
    name, dataset = next(iter(open_datasets([data], registry, options, folder).items()))
    if splits and len(splits) != len(files):
        raise UsageError(
            f"{len(splits)} --split for {len(files)} files.",
            hint="Give --split once for each FILE, in order.",
        )
    named = splits or [_guess(path, dataset) for path in files]
    for split in named:
        if split not in dataset.splits:
            raise UsageError(
                f"{name} has no split {split!r}.", hint=f"Its splits: {', '.join(dataset.splits)}"
            )
    return [Target(name, dataset.read(split)) for split in named]


def _guess(path: Path, dataset: Dataset) -> str:
    from erc_cli.errors import UsageError
    from erc_cli.feature_import import guess_split

    found = guess_split(path, dataset.splits)
    if found is None:
        raise UsageError(
            f"Of which split is {path.name}?",
            hint=f"Say so with --split, one of: {', '.join(dataset.splits)}",
        )
    return found


def _output(folder: Path, order: Order, target: Target | None, path: Path) -> Path:
    from erc_cli.aligned import file_name
    from erc_cli.feature_file import SUFFIX

    if target is None:
        return folder / f"{order.name}-{order.modality}-{path.stem}{SUFFIX}"
    return folder / file_name(target.data, target.split.name, order.modality, order.name)


def _make(folder: Path) -> None:
    from erc_cli.errors import UsageError
    from erc_cli.files import check_folder

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}.", hint="Name another folder with -o.") from None
    check_folder(folder)


def _say(paths: list[Path], made: list[Imported], *, quiet: bool, as_json: bool) -> None:
    from rich.text import Text

    from erc_cli import console, view
    from erc_cli.aligned import describe

    err = console.err(quiet=quiet)
    for path, imported in zip(paths, made, strict=True):
        for notice in imported.warnings:
            err.print(Text(f"{path.name}: ") + view.notice_text(notice), soft_wrap=True)
    about = [
        {
            "file": str(p),
            **describe(i.file),
            "warnings": [{"code": n.code, "message": n.message} for n in i.warnings],
        }
        for p, i in zip(paths, made, strict=True)
    ]
    if as_json:
        console.print_json({"schema": "erc.import/1", "features": about})
        return
    for one in about:
        said = f"{one['file']}  {one['present']} of {one['rows']} rows, width {one['width']}"
        console.out().print(Text(said), soft_wrap=True)


@command.command("show", cls=Command, examples=(*_SHOW, f"{_SHOW[0]} --json"))
@click.argument("file", type=click.Path(path_type=Path))
@_json
def show_command(file: Path, as_json: bool) -> None:
    """Say what FILE holds: what it is of, rows, statuses, where it is from."""
    from rich.text import Text

    from erc_cli import console
    from erc_cli.aligned import describe
    from erc_cli.errors import UsageError
    from erc_cli.feature_file import SCHEMA, DamagedError, read_features

    if not file.is_file():
        raise UsageError(f"No such file: {file}", hint="Name a feature file.")
    try:
        found = read_features(file)
    except DamagedError as error:
        raise UsageError(
            f"{file}: {error.reason}.", hint="Make it anew: erc extract, or erc features import"
        ) from None
    facts: dict[str, Any] = {"schema": SCHEMA, "file": str(file), **describe(found), "options": found.options}
    facts |= {"media_sha256": found.media_sha256, "first": found.utterances[:3], **found.more}
    if as_json:
        console.print_json(
            {**facts, "utterances": found.utterances, "first": None} | {"first": list(facts["first"])}
        )
        return
    table = console.table([("", {"no_wrap": True}), ""])
    for key, value in facts.items():
        if value not in ("", None):
            table.add_row(key, Text(_shown(value)))
    console.out().print(table)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) < 400 else f"{text[:400]}…"
