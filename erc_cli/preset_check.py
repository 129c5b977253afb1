"""A preset against the registry: plugins, options, files, libraries; before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from erc_cli import options
from erc_cli.errors import UsageError, nearest
from erc_cli.preset_file import Preset, Problem, Use, line_of
from erc_cli.registry import Registry, listed, pip_command
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.stages import FUSION, core_schema, split_options
from erc_cli.types import Modality

S = TypeVar("S", ExtractorSpec, FusionSpec)


def check(preset: Preset, registry: Registry) -> list[Problem]:
    """What keeps the preset from running: unknown plugins, wrong options, missing files and extras."""
    problems: list[Problem] = _check_datasets(preset, registry)
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
        if c.get:  # like a library that is not there: told, and again by who loads the branch
            said = c.message + _or_drop(preset, spec)
            problems.append(_problem(preset, f"{key}.{c.option}", said, "missing", spec.name))
            continue
        if preset.recipe and trainable and (c.left_out or c.missing_file):
            continue
        kind = "untrained" if c.left_out and trainable else "file" if c.missing_file else "wrong"
        said = f"{c.message}; training makes it" if kind == "untrained" else c.message
        problems.append(_problem(preset, f"{key}.{c.option}", said, kind, spec.name))
    missing = registry.missing(spec)
    if missing:
        said = f"{spec.name!r} needs {listed(missing)}: {pip_command(spec, missing)}"
        problems.append(_problem(preset, f"{key}.use", said + _or_drop(preset, spec), "missing"))
    return problems


def _or_drop(preset: Preset, spec: ExtractorSpec | FusionSpec) -> str:
    """The other way out where a branch lacks something, if the preset has another one."""
    other = isinstance(spec, ExtractorSpec) and len(preset.extractors) > 1
    return f", or leave it out: --drop {spec.modality}" if other and isinstance(spec, ExtractorSpec) else ""


def _check_train(
    preset: Preset, registry: Registry, spec: ExtractorSpec | FusionSpec, stage: str
) -> list[Problem]:
    values = preset.train.get(stage)
    if values is None:
        return []
    fit = spec.joint if stage == FUSION and values.get("joint") and spec.joint else spec.train
    if fit is None:
        return [_problem(preset, f"train.{stage}", f"{spec.name!r} cannot be trained")]
    known = options.schema(fit)
    problems = []
    if "data" in values and "data" not in known:
        problems = _check_data(preset, registry, stage, values["data"])
    core, rest = split_options(stage, values, fit)
    _, wrong = options.bind(core_schema(stage), core, preset.folder)
    wrong += options.bind(fit, rest, preset.folder)[1]
    return problems + [
        _problem(
            preset,
            f"train.{stage}.{c.option}",
            c.message,
            "missing" if c.get else "file" if c.missing_file else "wrong",
            spec.name,
        )
        for c in wrong
        # What training began from is not needed any more, and may be set anew before it begins.
        if not (c.missing_file and (preset.trained or (preset.recipe and not c.get)))
    ]


def _check_data(preset: Preset, registry: Registry, stage: str, value: Any) -> list[Problem]:
    """`train.STAGE.data` lists the data sets that the stage learns from."""
    key = f"train.{stage}.data"
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return [_problem(preset, key, "expected a list of data sets, such as [meld]")]
    known = registry.names("dataset")
    unknown = [name for name in value if name not in known]
    return [_problem(preset, key, f"no data set {n!r}.{nearest(n, known)}") for n in unknown]


def _check_datasets(preset: Preset, registry: Registry) -> list[Problem]:
    """`data.NAME` holds options that the data set of that name is opened with."""
    problems = []
    for name, values in preset.data.items():
        key = f"data.{name}"
        try:
            spec = registry.dataset(name)
        except UsageError as error:
            problems.append(_problem(preset, key, str(error).replace("\n", " ")))
            continue
        _, wrong = options.bind(spec.open, values, preset.folder, options.NOTHING)
        for c in wrong:
            if c.missing_file and preset.trained:
                continue  # a trained preset predicts without its data; who opens them is told
            kind = "file" if c.missing_file else "wrong"
            problems.append(_problem(preset, f"{key}.{c.option}", c.message, kind, name))
    return problems


def _problem(preset: Preset, key: str, message: str, kind: str = "wrong", plugin: str = "") -> Problem:
    return Problem(preset.path, key, message, line_of(key, preset.lines), kind, plugin)
