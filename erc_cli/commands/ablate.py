"""`erc ablate`: what changes when a modality is left out, of a recording or a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command, device_options, transcript_options
from erc_cli.errors import UsageError

if TYPE_CHECKING:
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry
    from erc_cli.types import Modality, Result


def _modalities(*names: str, text: str) -> Callable[[Any], Any]:
    return click.option(*names, multiple=True, shell_complete=completion.modalities, metavar="M", help=text)


@click.command(
    cls=Command,
    examples=(
        "erc ablate --drop visual",
        "erc ablate video.mp4 --transcript video.srt --drop audio --drop visual",
        "erc ablate video.mp4 --transcript video.srt --json",
        "erc ablate default --data meld:data/MELD --all",
        "erc ablate my.yaml --data meld:data/MELD --vary fusion.layers=1,2,3 --retrain -o runs/layers",
        "erc ablate my.yaml --data meld:data/MELD --table 5 --retrain --seeds 5 -o runs/t5 -o t5.tex",
    ),
)
@click.argument("media", required=False, type=click.Path(path_type=Path), metavar="[MEDIA|PRESET]")
@transcript_options
@click.option(
    "-p",
    "--preset",
    shell_complete=completion.presets,
    default="default",
    show_default=True,
    help="A preset, YAML file or run folder.",
)
@_modalities("--drop", text="What to leave out, together; without it, each in turn.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option(
    "--data", multiple=True, metavar="NAME:PATH", help="Score on this data set; further ones only train."
)
@click.option("--split", default="dev", show_default=True, help="With --data: which split to score.")
@_modalities("--keep", text="With --data: leave all other modalities out.")
@click.option("--all", "subsets", is_flag=True, help="With --data: every subset of the modalities.")
@click.option("--vary", multiple=True, metavar="K=V1,V2,…", help="With --retrain: an option's values.")
@click.option("--table", type=click.IntRange(2, 5), help="With --retrain: what that table varies.")
@click.option("--retrain", is_flag=True, help="With --data: train every variant anew, branches once.")
@click.option("--seeds", type=click.IntRange(1), help="With --retrain: so many runs of each variant.")
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --retrain: take trained branches from this run.",
)
@click.option(
    "--features",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --data: where features of media are kept. Default: the cache.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN|FILE",
    help="With --data: the folder of --retrain; a report .json, .md, .tex, .png.",
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="With --retrain: CPU threads."
)
@click.option("--force", is_flag=True, help="Overwrite reports named with -o.")
@click.option("--allow-contaminated", is_flag=True, help="With --data: also encoders that may know it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@device_options
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
@click.pass_context
def command(context: click.Context, /, **typed: Any) -> None:
    """Show what changes without a modality, or with another option.

    Of a recording (MEDIA; without one, of the example): label and probability of each utterance.
    Of a data set (--data; PRESET may come first): the figures of each variant, with paired intervals
    and p-values. Without --retrain, modalities are left out at inference.
    """
    from erc_cli.commands.ablate_data import DataWork, ablate_data

    only_with_data = {name: typed.pop(name) for name in _DATA_ONLY}
    if typed["data"]:
        _refuse(context, _RECORDING_ONLY, "belongs to a recording, not to --data")
        named = typed["media"] and context.get_parameter_source("preset") is not _DEFAULT
        if named:
            raise UsageError("PRESET and --preset name two presets.", hint="Give one of them.")
        chosen = str(typed["media"] or typed["preset"])
        shared = ("data", "drop", "settings", "as_json", "device", "precision", "quiet")
        common = {name: typed[name] for name in shared}
        ablate_data(DataWork(preset=chosen, **common, **only_with_data))
    else:
        _refuse(context, _DATA_ONLY, "needs --data NAME:PATH")
        del typed["data"]
        _ablate_recording(**typed)


_DEFAULT = click.core.ParameterSource.DEFAULT
_RECORDING_ONLY = ("transcript", "transcript_format", "columns", "speakers")
_DATA_ONLY = (
    "split",
    "keep",
    "subsets",
    "vary",
    "table",
    "retrain",
    "seeds",
    "start",
    "features",
    "outputs",
    "threads",
    "force",
    "allow_contaminated",
)


def _refuse(context: click.Context, names: Iterable[str], why: str) -> None:
    """UsageError if one of these options was given."""
    options = {str(one.name): one.opts[-1] for one in context.command.params}
    for name in names:
        if context.get_parameter_source(name) is not _DEFAULT:
            raise UsageError(f"{options[name]} {why}.", hint="See: erc ablate --help")


def _ablate_recording(
    *,
    media: Path | None,
    transcript: Path | None,
    transcript_format: str | None,
    columns: tuple[str, ...],
    speakers: Path | None,
    preset: str,
    drop: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    device: str,
    precision: str | None,
    quiet: bool,
) -> None:
    """Per utterance, how label and probability change without a modality."""
    from erc_cli import console
    from erc_cli.commands.work import Inputs, Wanted, find_inputs, load, say, say_placements, talk, with_names
    from erc_cli.example import example_files
    from erc_cli.prediction import check_judged
    from erc_cli.registry import load_registry

    registry = load_registry()
    if media is None and transcript is None:
        media, transcript = example_files()
        inputs = Inputs(media, transcript, f"Using the example: {media}")
    else:
        inputs = find_inputs(media, transcript, registry, "Type: erc ablate --help")
    inputs = with_names(inputs, columns, speakers)
    say(inputs.note, quiet=quiet)
    wanted = Wanted(preset, (), (), settings, device, precision)
    with console.progress(quiet=quiet) as report:
        work = load(registry, wanted, inputs, transcript_format, report)
        say_placements(work.model.placements, device, quiet=quiet)
        groups = _groups(drop, work.preset, registry)
        heard = work.hear(report)
    whole = work.answer_from(heard)
    check_judged(whole)
    without = [(group, work.answer_from(heard, frozenset(group))) for group in groups]
    if as_json:
        console.print_json(_document(whole, without))
    else:
        _show(whole, without)
    talk(whole, quiet=quiet)


def _groups(drop: tuple[str, ...], preset: Preset, registry: Registry) -> list[tuple[Modality, ...]]:
    """What to leave out in each comparison.

    Raises:
        UsageError: an unknown modality, one that the preset does not have, or all of them.
    """
    from erc_cli.preset import drop as without
    from erc_cli.preset import modalities_of

    there = preset.extractors
    if not drop:
        return [(m,) for m in there if len(there) > 1]
    left = without(preset, drop, registry).extractors
    group = tuple(m for m in there if m not in left)
    absent = modalities_of(drop) - set(group)
    if absent:
        raise UsageError(
            f"--drop {min(absent)}: the preset has no such branch.", hint=f"It has: {', '.join(there)}"
        )
    return [group]


def _show(whole: Result, without: list[tuple[tuple[Modality, ...], Result]]) -> None:
    from erc_cli import console, view

    out = console.out()
    for group, result in without:
        name = " and ".join(group)
        pairs = list(zip(whole.predictions, result.predictions, strict=True))
        changed = sum(before.best != after.best for before, after in pairs)
        out.print(view.ablation_table(whole, result, name, out.width))
        out.print(f"Without {name}: {changed} of {len(pairs)} labels change.\n")


def _document(whole: Result, without: list[tuple[tuple[Modality, ...], Result]]) -> dict[str, Any]:
    from erc_cli.result import to_dict

    full = to_dict(whole)
    return {
        "schema": "erc.ablation/1",
        "labels": full["labels"],
        "media": full["media"],
        "transcript": full["transcript"],
        "utterances": full["utterances"],
        "without": [
            {
                "dropped": list(map(str, group)),
                "changed": [
                    i
                    for i, (a, b) in enumerate(zip(whole.predictions, result.predictions, strict=True))
                    if a.best != b.best
                ],
                "utterances": to_dict(result)["utterances"],
            }
            for group, result in without
        ],
        "warnings": full["warnings"],
        "meta": full["meta"],
    }
