"""When another plugin takes a place in a preset: training options that go, a fusion that is stale."""

from __future__ import annotations

import filecmp
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.preset_file import Preset, Use
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.stages import FUSION, core_schema
from erc_cli.types import Modality

_WEIGHTS = {".safetensors", ".onnx"}


def forget_training(preset: Preset, stage: str, registry: Registry) -> Preset:
    """`train.STAGE` after another plugin has taken the place of the one that it was written for.

    Another branch starts from its own defaults, on the same data; a fusion keeps what it understands, so
    that two can be compared. What cannot be trained keeps nothing.
    """
    values = preset.train.get(stage)
    spec = _spec_of(preset, stage, registry)
    if values is None or spec is None:
        return preset
    known = {"data"} if spec.train is not None else set()
    if stage == FUSION and spec.train is not None:
        known |= {*options.schema(core_schema(stage)), *options.schema(spec.train)}
    kept = {key: value for key, value in values.items() if key in known}
    train = {name: held for name, held in preset.train.items() if name != stage}
    return replace(preset, train={**train, stage: kept} if kept else train)


def _spec_of(preset: Preset, stage: str, registry: Registry) -> ExtractorSpec | FusionSpec | None:
    """None where there is no such plugin: `check` tells."""
    if stage == FUSION:
        name = preset.fusion.name
        return registry.fusion(name) if name in registry.names("fusion") else None
    name = preset.extractors[Modality(stage)].name
    return registry.extractor(name) if name in registry.names("extractor") else None


def refuse_stale_fusion(before: Preset, after: Preset, registry: Registry) -> None:
    """A trained fusion reads the features of the branches that it was trained with, and no others.

    Told before anything is loaded; two plugins, or two models of one, may give features of one width, and
    the answers would then be wrong without a word.

    Raises:
        UsageError: `after` has another plugin or model in a branch of `before`, or a new branch, and the
            same trained fusion. The hint has the commands that train one for it.
    """
    if before.fusion != after.fusion or not _is_trained(after.fusion, registry):
        return
    changes = {m: c for m in after.extractors if (c := _change(before, after, m, registry)) is not None}
    for change in changes.values():
        raise UsageError(
            f"--set {change.setting}: the fusion of preset {before.name!r} was trained {change.learnt};"
            f" those of {change.new} would mislead it.",
            hint=_how_to_train(before, after, changes, registry),
        )


@dataclass(frozen=True, slots=True)
class _Change:
    """What is new about a branch; `kept`: its plugin is the same, its model another."""

    setting: str
    learnt: str
    new: str
    kept: bool = False


def _change(before: Preset, after: Preset, modality: Modality, registry: Registry) -> _Change | None:
    use, old = after.extractors[modality], before.extractors.get(modality)
    if old is None or old.name != use.name:
        learnt = f"on the features of {old.name}" if old is not None else f"without {modality}"
        return _Change(f"{modality}.use={use.name}", learnt, use.name)
    build = registry.extractor(use.name).build
    (had, _), (has, _) = (options.bind(build, one.options, one.folder) for one in (old, use))
    models = [k for k, o in options.schema(build).items() if o.required and o.takes_file]
    for key in models:
        if key in had and key in has and not _same(Path(had[key]), Path(has[key])):
            setting = f"{modality}.{key}={use.options[key]}"
            return _Change(setting, "on the features of another model", "this one", kept=True)
    return None


def _same(one: Path, other: Path) -> bool:
    """Whether two files, or the weights in two folders, are the same."""
    if one.resolve() == other.resolve():
        return True
    if one.is_dir() and other.is_dir():
        names = {p.name for folder in (one, other) for p in folder.iterdir() if p.suffix in _WEIGHTS}
        return bool(names) and len(filecmp.cmpfiles(one, other, names, shallow=False)[0]) == len(names)
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _how_to_train(
    before: Preset, after: Preset, changes: Mapping[Modality, _Change], registry: Registry
) -> str:
    """The commands, whole but for the places of data that only the user knows."""
    gone = [f"--drop {m}" for m in before.extractors if m not in after.extractors]
    begin = ["erc train", _named(before), *gone]
    swapped = [
        one for m, c in changes.items() for one in _settings(before if c.kept else None, after, m, registry)
    ]
    trainable = [m for m, u in after.extractors.items() if registry.extractor(u.name).train is not None]
    frozen = [f"--set train.{m}.frozen=true" for m in trainable if m not in changes]
    learn = [str(m) for m, change in changes.items() if m in trainable and not change.kept]
    own = [f"--set 'train.{stage}.data=[NAME]'" for stage in (*learn, FUSION)]
    said = ["Train one for it, and then predict with --preset RUN. With data of your own:"]
    said.append(" ".join([*begin, *swapped, *frozen, *own, "--data NAME:PATH -o RUN"]))
    data = [f"--data {name}:PATH" for name in _data_of(before)]
    if data and not any(change.kept for change in changes.values()):
        said.append(f"With the data that {before.name!r} learnt from, all of it anew:")
        said.append(" ".join([*begin, *swapped, *data, "-o RUN"]))
    return "\n".join([*said, "Or name one that was trained with it: --set fusion.weights=FILE"])


def _is_trained(use: Use, registry: Registry) -> bool:
    """Whether one of its options names a file of weights."""
    schema = options.schema(registry.fusion(use.name).build, options.NOTHING)
    return any(schema[name].takes_file for name in use.options if name in schema)


def _named(preset: Preset) -> str:
    """A built-in preset by its name, another one by where it is."""
    from erc_cli.preset import presets_folder

    built_in = presets_folder() in preset.path.parents
    place = preset.folder if preset.trained else preset.path
    return preset.name if built_in else shlex.quote(str(place))


def _settings(before: Preset | None, after: Preset, modality: Modality, registry: Registry) -> Iterator[str]:
    """`--set` for a changed branch as `erc train` takes it: files that training makes are not given, and
    what training begins from is. Another model of a trained plugin stays as it is, and of its options
    only what is new is told; `before` is given for that case."""
    use = after.extractors[modality]
    spec = registry.extractor(use.name)
    built = options.schema(spec.build)
    trained = {} if spec.train is None or before else options.schema(spec.train)
    files = {k: v for k, v in use.options.items() if trained and built[k].takes_file}
    known = before.extractors[modality].options if before else {}
    if not before:
        yield f"--set {modality}.use={use.name}"
    for key, value in use.options.items():
        if key in known and known[key] == value:
            continue
        if key not in files:
            yield f"--set {_quoted(f'{modality}.{key}', value)}"
        if key in trained:  # what the branch is trained with is what it is used with
            yield f"--set {_quoted(f'train.{modality}.{key}', value)}"
    if spec.train is not None and before:
        yield f"--set train.{modality}.frozen=true"
    for option in trained.values():
        if option.required and option.takes_file:
            yield f"--set {_quoted(f'train.{modality}.{option.name}', next(iter(files.values()), 'MODEL'))}"


def _quoted(key: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)  # which YAML reads, too
    return shlex.quote(f"{key}={text}")


def _data_of(preset: Preset) -> list[str]:
    """Every data set that a stage of it learnt from."""
    lists = [values.get("data") or () for values in preset.train.values()]
    return list(dict.fromkeys(name for names in lists for name in names if isinstance(name, str)))
