"""`erc ablate`: what changes when a modality is left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erc_cli import completion
from erc_cli.click_parts import Command
from erc_cli.errors import UsageError

if TYPE_CHECKING:
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry
    from erc_cli.types import Modality, Result


@click.command(
    cls=Command,
    examples=(
        "erc ablate --drop visual",
        "erc ablate video.mp4 --transcript video.srt --drop audio --drop visual",
        "erc ablate video.mp4 --transcript video.srt --json",
    ),
)
@click.argument("media", required=False, type=click.Path(path_type=Path))
@click.option("-t", "--transcript", type=click.Path(path_type=Path), help="SRT, VTT, ASS, JSON, CSV or TSV.")
@click.option("--transcript-format", metavar="NAME", help="Its format, where name and content mislead.")
@click.option(
    "-p",
    "--preset",
    shell_complete=completion.presets,
    default="default",
    show_default=True,
    help="A preset, YAML file or run folder.",
)
@click.option(
    "--drop",
    multiple=True,
    shell_complete=completion.modalities,
    metavar="M",
    help="What to leave out, together; without it, each in turn.",
)
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Change an option of the preset.")
@click.option("--json", "as_json", is_flag=True, help="Print erc.ablation/1 instead of tables.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings, no notes.")
def command(
    media: Path | None,
    transcript: Path | None,
    transcript_format: str | None,
    preset: str,
    drop: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    device: str,
    quiet: bool,
) -> None:
    """Show per utterance how label and probability change without a modality.

    Without MEDIA and --transcript, the example conversation is used.
    """
    from erc_cli import console
    from erc_cli.commands.work import Inputs, Wanted, find_inputs, load, say, talk
    from erc_cli.example import example_files
    from erc_cli.prediction import check_judged
    from erc_cli.registry import load_registry

    registry = load_registry()
    if media is None and transcript is None:
        media, transcript = example_files()
        inputs = Inputs(media, transcript, f"Using the example: {media}")
    else:
        inputs = find_inputs(media, transcript, registry, "Type: erc ablate --help")
    say(inputs.note, quiet=quiet)
    wanted = Wanted(preset, (), (), settings, device)
    with console.progress(quiet=quiet) as report:
        work = load(registry, wanted, inputs, transcript_format, report)
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
