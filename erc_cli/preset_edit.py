"""Variations of a preset: `--set KEY=VALUE`, `--drop MODALITY`, `--keep MODALITY`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from erc_cli import options
from erc_cli.errors import UsageError, nearest
from erc_cli.preset_check import check
from erc_cli.preset_file import STAGES, Preset, Problem, Use, complain
from erc_cli.preset_swap import forget_training
from erc_cli.registry import Registry, listed
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import Modality

Keys = tuple[str, ...]
_TOPS: Mapping[str, tuple[str, ...]] = {"extractors": STAGES[:-1], "fusion": (), "train": STAGES, "data": ()}
_EXAMPLE = "For instance: --set text.past=1, or --set text.use=minilm"


def override(preset: Preset, settings: Iterable[str], registry: Registry | None = None) -> Preset:
    """The preset with `--set` settings: `text.past=1`, `extractors.text.past=2`, `text.use=minilm`.

    Values are YAML. Another plugin starts from its own defaults, see `preset_swap`. With a registry the
    outcome is checked, and files are looked for in the current folder before the preset's own. Of a preset
    that is about to be trained, `fusion.layers=3` may also be an option of the plugin's training.

    Raises:
        UsageError: a setting is not KEY=VALUE, names nothing, or does not fit the plugin.
    """
    typed = list(settings)
    pairs = [_parse(setting) for setting in typed]
    # A swap forgets the options of the plugin that goes, so it comes before all other settings.
    for i in sorted(range(len(pairs)), key=lambda i: pairs[i][0][-1] != "use"):
        keys, value = pairs[i]
        if registry is not None and preset.recipe:
            keys = _where_it_belongs(preset, keys, registry)
        pairs[i] = keys, value
        before, preset = preset, _set(preset, keys, value)
        if registry is not None and keys[-1] == "use" and _uses(before) != _uses(preset):
            preset = forget_training(preset, keys[-2], registry)
    if registry is None or not pairs:
        return preset
    for keys, _ in pairs:
        preset = _own_file(preset, keys, registry)
    touched = {".".join(keys[: 1 if keys[0] == "fusion" else 2]) for keys, _ in pairs}
    wrong = [p for p in check(preset, registry) if p.kind != "missing" and p.key.startswith(tuple(touched))]
    _complain_of_settings(
        wrong, [(".".join(keys), text) for (keys, _), text in zip(pairs, typed, strict=True)]
    )
    complain(wrong)
    return preset


def _uses(preset: Preset) -> tuple[str, ...]:
    """The names of its plugins."""
    return (preset.fusion.name, *(f"{m}={use.name}" for m, use in preset.extractors.items()))


def _where_it_belongs(preset: Preset, keys: Keys, registry: Registry) -> Keys:
    """`fusion.layers` -> `train.fusion.layers`, if training has the option and the plugin has not."""
    *place, name = keys
    if place == ["fusion"] and preset.fusion.name in registry.names("fusion"):
        spec: ExtractorSpec | FusionSpec = registry.fusion(preset.fusion.name)
    elif len(place) == 2 and place[0] == "extractors" and place[1] in preset.extractors:
        use = preset.extractors[Modality(place[1])]
        if use.name not in registry.names("extractor"):
            return keys
        spec = registry.extractor(use.name)
    else:
        return keys
    if spec.train is None or name in options.schema(spec.build) or name not in options.schema(spec.train):
        return keys
    return ("train", place[-1], name)


def _complain_of_settings(problems: Iterable[Problem], settings: list[tuple[str, str]]) -> None:
    """Raise one UsageError for the problems that settings brought; the file is fine there.

    `settings`: full key, and the setting as typed; the last of several for one key holds.
    """
    said: list[str] = []
    found: list[Problem] = []
    for problem in problems:
        own = [text for key, text in settings if f"{key}.".startswith(f"{problem.key}.")]
        swap = [text for key, text in settings if key == problem.key.rpartition(".")[0] + ".use"]
        if own or swap:
            option = "" if own else f"{problem.key.rpartition('.')[2]}: "
            said.append(f"--set {(own or swap)[-1]}: {option}{problem.message}")
            found.append(problem)
    if not said:
        return
    plugins = {p.plugin for p in found if p.plugin}
    if all(p.kind == "untrained" for p in found):
        hint = f"Train it first: erc train {found[0].path} --set … --data NAME:PATH -o RUN"
    else:
        hint = " and ".join(f"erc plugins show {name}" for name in sorted(plugins))
        hint = f"Options: {hint}" if hint else _EXAMPLE
    head = f"{len(said)} settings do not fit:\n  " if len(said) > 1 else ""
    raise UsageError(head + "\n  ".join(said), hint=hint)


def modalities_of(words: Iterable[str]) -> frozenset[Modality]:
    """The modalities that `--drop` and `--keep` name, one or several with commas: `text,audio`.

    Raises:
        UsageError: a word is no modality.
    """
    return frozenset(_modality(part.strip()) for word in words for part in str(word).split(","))


def keep(preset: Preset, modalities: Iterable[str], registry: Registry | None = None) -> Preset:
    """The preset with these modalities only.

    Raises:
        UsageError: none is left, a word is no modality, or the fusion cannot do without another
            (told with a registry).
    """
    wanted = modalities_of(modalities)
    left = {m: use for m, use in preset.extractors.items() if m in wanted}
    if not left:
        raise UsageError(
            f"Nothing is left of preset {preset.name!r}: it has {listed(preset.extractors)}.",
            hint="Drop fewer modalities, or keep one that it has.",
        )
    if registry is not None:
        lacking = sorted(registry.fusion(preset.fusion.name).requires - set(left))
        if lacking:
            raise UsageError(
                f"The fusion {preset.fusion.name!r} cannot do without {listed(lacking)}.",
                hint=f"Keep {listed(lacking)}, or choose another fusion: --set fusion.use=NAME",
            )
    return replace(preset, extractors=left)


def drop(preset: Preset, modalities: Iterable[str], registry: Registry | None = None) -> Preset:
    """The preset without these modalities; raises UsageError as `keep` does."""
    gone = modalities_of(modalities)
    # What the file has and the preset has not was left out before, by `keep`.
    kept = any(f"extractors.{m}" in preset.lines and m not in preset.extractors for m in Modality)
    if kept and gone.issuperset(preset.extractors):
        raise UsageError(
            f"--keep and --drop together leave nothing of preset {preset.name!r}.",
            hint="One of them is enough: --keep leaves out all others.",
        )
    return keep(preset, [m for m in preset.extractors if m not in gone], registry) if gone else preset


def _modality(word: str) -> Modality:
    known = STAGES[:-1]
    if word not in known:
        raise UsageError(
            f"There is no modality {word!r}.{nearest(word, known)}", hint=f"One of: {listed(known)}"
        )
    return Modality(word)


def _parse(setting: str) -> tuple[Keys, Any]:
    """`text.past=2` -> (("extractors", "text", "past"), 2)."""
    key, equals, text = setting.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys):
        raise UsageError(f"--set {setting}: expected KEY=VALUE.", hint=_EXAMPLE)
    if keys[0] in _TOPS["extractors"]:
        keys = ("extractors", *keys)
    if keys[0] not in _TOPS:
        close = nearest(keys[0], [*_TOPS["extractors"], *_TOPS])
        raise UsageError(f"--set {setting}: nothing is called {keys[0]!r}.{close}", hint=_EXAMPLE)
    inner = _TOPS[keys[0]]
    if inner and len(keys) > 1 and keys[1] not in inner:
        raise UsageError(
            f"--set {setting}: nothing is called {keys[1]!r}.{nearest(keys[1], inner)}", hint=_EXAMPLE
        )
    if len(keys) < (2 if keys[0] == "fusion" else 3):
        raise UsageError(f"--set {setting}: {key} is not one option.", hint=_EXAMPLE)
    try:
        return keys, yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(
            f"--set {setting}: {text!r} is not a YAML value.", hint="Put it in quotes."
        ) from None


def _set(preset: Preset, keys: Keys, value: Any) -> Preset:
    if keys[0] == "fusion":
        return replace(preset, fusion=_set_use(preset, preset.fusion, keys[1:], value))
    if keys[0] == "data":
        options_ = _put(preset.data.get(keys[1], {}), keys[2:], value)
        return replace(preset, data={**preset.data, keys[1]: options_})
    if keys[0] == "train":
        stage = _put(preset.train.get(keys[1], {}), keys[2:], value)
        return replace(preset, train={**preset.train, keys[1]: stage})
    modality = Modality(keys[1])
    use = _set_use(preset, preset.extractors.get(modality), keys[2:], value)
    both = {**preset.extractors, modality: use}
    return replace(preset, extractors={m: both[m] for m in Modality if m in both})


def _set_use(preset: Preset, use: Use | None, keys: Keys, value: Any) -> Use:
    if keys == ("use",):
        if not isinstance(value, str) or not value:
            raise UsageError(
                f"--set …use={value}: expected the name of a plugin.", hint="See: erc plugins list"
            )
        return use if use is not None and use.name == value else Use(value, {}, preset.folder)
    if use is None:
        raise UsageError(
            f"Preset {preset.name!r} has no such branch to set {'.'.join(keys)} on: it has "
            f"{listed(preset.extractors)}.",
            hint="Add a branch first, for instance: --set text.use=minilm",
        )
    return replace(use, options=_put(use.options, keys, value))


def _put(values: Mapping[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    """A copy with the value at a path of keys."""
    if len(keys) == 1:
        return {**values, keys[0]: value}
    inner = values.get(keys[0], {})
    if not isinstance(inner, Mapping):
        raise UsageError(f"{keys[0]!r} is one value, so {'.'.join(keys)!r} names nothing.", hint=_EXAMPLE)
    return {**values, keys[0]: _put(inner, keys[1:], value)}


def _own_file(preset: Preset, keys: Keys, registry: Registry) -> Preset:
    """Who types a file's name means the current folder: make it absolute if the file is there."""
    build: Callable[..., object]
    values: Mapping[str, Any]
    if keys[0] == "fusion":
        use, name = preset.fusion, keys[1]
        values, build = use.options, registry.fusion(use.name).build
    elif keys[0] == "extractors":
        use, name = preset.extractors[Modality(keys[1])], keys[2]
        values, build = use.options, registry.extractor(use.name).build
    elif keys[0] == "train" and keys[1] in preset.extractors:
        spec = registry.extractor(preset.extractors[Modality(keys[1])].name)
        if spec.train is None:
            return preset
        name, values, build = keys[2], preset.train[keys[1]], spec.train
    elif keys[0] == "data" and keys[1] in registry.names("dataset"):
        name = keys[2]
        values, build = preset.data[keys[1]], registry.dataset(keys[1]).open
    else:
        return preset
    value = values.get(name)
    option = options.schema(build, options.NOTHING).get(name)
    if option is None or not isinstance(value, str) or not option.takes_file or not Path(value).exists():
        return preset
    return _set(preset, keys, str(Path(value).resolve()))
