"""A preset against the registry: plugins, options, files, libraries; before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from erc_cli import options
from erc_cli.errors import UsageError, nearest
from erc_cli.preset_file import Preset, Problem, Use, line_of
from erc_cli.registry import Registry, listed, pip_command
from erc_cli.types import ExtractorSpec, FusionSpec, Modality

S = TypeVar("S", ExtractorSpec, FusionSpec)


def check(preset: Preset, registry: Registry) -> list[Problem]:
    """What keeps the preset from running: unknown plugins, wrong options, missing files and extras."""
    problems: list[Problem] = []
    for modality, use in preset.extractors.items():
        key = f"extractors.{modality}"
        spec = _look_up(registry.extractor, use, preset, key, problems)
        if spec is None:
            continue
        if spec.modality != modality:
            said = f"{use.name!r} works on {spec.modality}, not on {modality}"
            problems.append(_problem(preset, f"{key}.use", said))
        problems += _check_use(preset, registry, spec, use, key)
        problems += _check_train(preset, registry, spec, str(modality))
    if not preset.fusion.name:
        return problems
    fusion = _look_up(registry.fusion, preset.fusion, preset, "fusion", problems)
    if fusion is not None:
        problems += _check_use(preset, registry, fusion, preset.fusion, "fusion")
        problems += _check_train(preset, registry, fusion, "fusion")
        lacking = [m for m in Modality if m in fusion.requires and m not in preset.extractors]
        if lacking:
            said = f"{fusion.name!r} cannot do without {listed(lacking)}"
            problems.append(_problem(preset, "fusion.use", said))
    return problems


def _look_up(
    get: Callable[[str], S], use: Use, preset: Preset, key: str, problems: list[Problem]
) -> S | None:
    try:
        return get(use.name)
    except UsageError as error:
        problems.append(_problem(preset, f"{key}.use", str(error).replace("\n", " ")))
        return None


def _check_use(
    preset: Preset, registry: Registry, spec: ExtractorSpec | FusionSpec, use: Use, key: str
) -> list[Problem]:
    trainable = spec.train is not None
    _, wrong = options.bind(spec.build, use.options, use.folder)
    problems = []
    for c in wrong:
        if preset.recipe and trainable and (c.left_out or c.missing_file):
            continue
        kind = "untrained" if c.left_out and trainable else "file" if c.missing_file else "wrong"
        said = f"{c.message}; training makes it" if kind == "untrained" else c.message
        problems.append(_problem(preset, f"{key}.{c.option}", said, kind, spec.name))
    missing = registry.missing(spec)
    if missing:
        said = f"{spec.name!r} needs {listed(missing)}: {pip_command(spec, missing)}"
        if isinstance(spec, ExtractorSpec) and len(preset.extractors) > 1:
            said += f", or leave it out: --drop {spec.modality}"
        problems.append(_problem(preset, f"{key}.use", said, "missing"))
    return problems


def _check_train(
    preset: Preset, registry: Registry, spec: ExtractorSpec | FusionSpec, stage: str
) -> list[Problem]:
    values = preset.train.get(stage)
    if values is None:
        return []
    if spec.train is None:
        return [_problem(preset, f"train.{stage}", f"{spec.name!r} cannot be trained")]
    known = options.schema(spec.train)
    problems = []
    if "data" in values and "data" not in known:
        problems = _check_data(preset, registry, stage, values["data"])
        values = {k: v for k, v in values.items() if k != "data"}
    _, wrong = options.bind(spec.train, values, preset.folder)
    kinds = {True: "file", False: "wrong"}
    return problems + [
        _problem(preset, f"train.{stage}.{c.option}", c.message, kinds[c.missing_file], spec.name)
        for c in wrong
    ]


def _check_data(preset: Preset, registry: Registry, stage: str, value: Any) -> list[Problem]:
    """`train.STAGE.data` lists the data sets that the stage learns from."""
    key = f"train.{stage}.data"
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return [_problem(preset, key, "expected a list of data sets, such as [meld]")]
    known = registry.names("dataset")
    unknown = [name for name in value if name not in known]
    return [_problem(preset, key, f"no data set {n!r}.{nearest(n, known)}") for n in unknown]


def _problem(preset: Preset, key: str, message: str, kind: str = "wrong", plugin: str = "") -> Problem:
    return Problem(preset.path, key, message, line_of(key, preset.lines), kind, plugin)
