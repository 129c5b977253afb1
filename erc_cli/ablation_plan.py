"""What `erc ablate --data` compares: variants of a preset, and which of them is the reference."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from erc_cli import options
from erc_cli.errors import UsageError, nearest
from erc_cli.paper import Setting
from erc_cli.preset import Preset, drop, keep, modalities_of, override
from erc_cli.registry import Registry
from erc_cli.stages import FUSION, core_schema
from erc_cli.types import Modality

#: `--table N`: what the paper's table N varies; the values are its own, but that `faces` has no scene
#: stream without faces
TABLES: Mapping[int, tuple[str, ...]] = {
    2: (),
    3: ("visual.scene=false,true",),
    4: ("fusion.encoders=1,2,3,4,5,6",),
    5: ("fusion.layers=1,2,3,4,5,6",),
}
CONCAT, M2FNET = "concat", "m2fnet"
_TEXT = frozenset({Modality.TEXT})


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to score: a preset, the settings that made it, and what was left out of it on the way.

    `without`: options of the training that its fusion does not have.
    """

    name: str
    preset: Preset
    settings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Variants in the order of the table; `reference` is the name of the one to compare with."""

    variants: tuple[Variant, ...]
    reference: str

    def reference_first(self) -> Iterator[Variant]:
        """In the order of training: others can take the reference's branches over."""
        yield from sorted(self.variants, key=lambda one: one.name != self.reference)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line asks for."""

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    subsets: bool = False
    vary: tuple[str, ...] = ()
    table: int | None = None


def make_plan(preset: Preset, registry: Registry, choice: Choice) -> Plan:
    """The variants that are asked for.

    `drop` and `keep` by themselves are variants; beside `subsets`, `vary` or a `table` they leave
    branches out of all variants.

    Raises:
        UsageError: what is asked for does not fit the preset, or leaves nothing to compare.
    """
    base = preset
    if choice.subsets or choice.vary or choice.table:
        base = keep(base, choice.keep, registry) if choice.keep else base
        base = drop(base, choice.drop, registry)
    if choice.table == 2:
        plan = _fusions_by_subset(base, registry)
    elif choice.vary or choice.table:
        keys = (*choice.vary, *TABLES.get(choice.table or 0, ()))
        plan = _varied(base, registry, keys)
    else:
        plan = _left_out(base, registry, choice)
    if len(plan.variants) < 2:
        raise UsageError(
            f"Nothing to compare: preset {preset.name!r} leaves one variant only.",
            hint="Try: --all, --drop audio, or --vary fusion.layers=1,2 --retrain -o RUN",
        )
    return plan


def name_of(modalities: Sequence[Modality] | frozenset[Modality]) -> str:
    """`text+audio`: the modalities in their usual order."""
    return "+".join(m for m in Modality if m in modalities)


def _subsets(modalities: Sequence[Modality], requires: frozenset[Modality]) -> list[frozenset[Modality]]:
    """Every subset that a fusion can do with; all of them first, single ones last."""
    sizes = range(len(modalities), 0, -1)
    found = [frozenset(c) for size in sizes for c in itertools.combinations(modalities, size)]
    return [subset for subset in found if requires <= subset]


def _left_out(base: Preset, registry: Registry, choice: Choice) -> Plan:
    everything = frozenset(base.extractors)
    wanted: list[frozenset[Modality]] = []
    if choice.subsets:
        wanted = _subsets(list(base.extractors), registry.fusion(base.fusion.name).requires)
    elif choice.drop or choice.keep:
        left = keep(base, choice.keep, registry) if choice.keep else base
        absent = (modalities_of(choice.drop) | modalities_of(choice.keep)) - everything
        if absent:
            raise UsageError(
                f"The preset has no {min(absent)} branch.", hint=f"It has: {', '.join(base.extractors)}"
            )
        wanted = [frozenset(drop(left, choice.drop, registry).extractors)]
    else:
        requires = registry.fusion(base.fusion.name).requires
        wanted = [everything - {m} for m in base.extractors if requires <= everything - {m}]
    found = [everything, *(subset for subset in wanted if subset and subset != everything)]
    variants = tuple(Variant(name_of(one), only(base, one)) for one in found)
    return Plan(variants, name_of(everything))


def only(preset: Preset, modalities: frozenset[Modality]) -> Preset:
    """The preset with those of its branches."""
    return replace(preset, extractors={m: u for m, u in preset.extractors.items() if m in modalities})


def _fusions_by_subset(base: Preset, registry: Registry) -> Plan:
    """Table 2: every subset by concat; what has several modalities also by the preset's fusion."""
    kind = M2FNET if base.fusion.name == CONCAT else base.fusion.name
    everything = frozenset(base.extractors)
    variants = []
    for subset in _subsets(list(base.extractors), frozenset()):
        for fusion in (kind, CONCAT):
            single = len(subset) == 1
            # M2FNet's fusion is nothing without text, its query and value.
            needs = registry.fusion(fusion).requires | (_TEXT if fusion == M2FNET else frozenset())
            if (single and fusion == kind) or not needs <= subset:
                continue
            named = f"{name_of(subset)}, {fusion}"
            part = only(base, subset)
            made = with_settings(part, (f"fusion.use={fusion}",), registry)
            variants.append(replace(made, name=name_of(subset) if single else named))
    reference = f"{name_of(everything)}, {kind}"
    if reference not in (one.name for one in variants):
        raise UsageError(
            f"Table 2 compares fusions of text with others; the preset has {name_of(everything)}.",
            hint="Name a preset with text and another branch.",
        )
    return Plan(tuple(variants), reference)


def _varied(base: Preset, registry: Registry, keys: Sequence[str]) -> Plan:
    """One option at a time; the preset as it is stands among them, by the value that it has."""
    variants: list[Variant] = []
    reference = ""
    for text in keys:
        key, values = split_values(text)
        for value in values:
            made = replace(with_settings(base, (f"{key}={value}",), registry), name=f"{key}={value}")
            same = filled(made.preset, registry) == filled(base, registry)
            if same and reference:
                continue  # the value that the preset has, in a second option: it is there already
            reference = made.name if same else reference
            if made.name in (one.name for one in variants):
                raise UsageError(f"--vary {text}: {value} is there twice.", hint="Give each value once.")
            variants.append(made)
    if not reference:
        reference = "as given"
        variants.insert(0, Variant(reference, base))
    return Plan(tuple(variants), reference)


def split_values(text: str) -> tuple[str, list[str]]:
    """`fusion.layers=1,2` as key and values; commas inside brackets and quotes separate nothing.

    Raises:
        UsageError: it is not of that form.
    """
    key, equals, rest = text.partition("=")
    values = re.findall(r"""(?:\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*'|[^,])+""", rest)
    found = [value.strip() for value in values]
    if not equals or not key.strip() or not found or not all(found):
        raise UsageError(
            f"--vary {text}: expected KEY=VALUE,VALUE,…", hint="For instance: --vary fusion.layers=1,2,3"
        )
    return key.strip(), found


def with_settings(base: Preset, settings: Sequence[str], registry: Registry) -> Variant:
    """The preset with settings, as `--set` takes them.

    An option of a part's training may be named as the part's own: `fusion.layers` is
    `train.fusion.layers` where only the training knows it, and both where both do. Another fusion
    keeps what it understands of `train.fusion`.

    Raises:
        UsageError: a setting does not fit.
    """
    full = [one for text in settings for one in _full_keys(base, text, registry)]
    preset = override(base, full, registry)
    without: tuple[str, ...] = ()
    if preset.fusion.name != base.fusion.name:  # `override` has left out what the other one does not know
        kept = preset.train.get(FUSION, {})
        without = tuple(f"train.fusion.{key}" for key in base.train.get(FUSION, {}) if key not in kept)
    return Variant("", preset, tuple(full), without)


def _full_keys(base: Preset, text: str, registry: Registry) -> list[str]:
    key, _, value = text.partition("=")
    part, _, name = key.removeprefix("extractors.").partition(".")
    if part not in (*Modality, FUSION) or not name or name == "use" or "." in name:
        return [text]
    if part != FUSION and Modality(part) not in base.extractors:
        raise UsageError(
            f"--vary {text}: the preset has no {part} branch.", hint=f"It has: {', '.join(base.extractors)}"
        )
    trained, built = _trained_by(base, part, registry), _built_by(base, part, registry)
    core = options.schema(core_schema(part))
    found = [f"{part}.{name}"] if name in built else []
    found += [f"train.{part}.{name}"] if name in trained or name in core else []
    if not found:
        known = {*trained, *built, *core}
        use = base.fusion.name if part == FUSION else base.extractors[Modality(part)].name
        raise UsageError(
            f"--vary {text}: {use!r} has no option {name!r}.{nearest(name, known)}",
            hint=f"Options: erc plugins show {use}",
        )
    return [f"{one}={value}" for one in found]


def _built_by(preset: Preset, part: str, registry: Registry) -> Mapping[str, options.Option]:
    if part == FUSION:
        return options.schema(registry.fusion(preset.fusion.name).build)
    return options.schema(registry.extractor(preset.extractors[Modality(part)].name).build)


def _trained_by(preset: Preset, part: str, registry: Registry) -> Mapping[str, options.Option]:
    if part == FUSION:
        train = registry.fusion(preset.fusion.name).train
    else:
        train = registry.extractor(preset.extractors[Modality(part)].name).train
    return {} if train is None else options.schema(train)


def filled(preset: Preset, registry: Registry) -> dict[str, Any]:
    """All options of a preset with their defaults, by part and by `train.PART`: what can be compared."""
    found: dict[str, Any] = {"labels": preset.labels}
    for part in (*preset.extractors, FUSION):
        use = preset.fusion if part == FUSION else preset.extractors[Modality(part)]
        found[str(part)] = {"use": use.name, **_defaults(_built_by(preset, part, registry)), **use.options}
        core = options.schema(core_schema(str(part)))
        defaults = {**_defaults(core), **_defaults(_trained_by(preset, part, registry))}
        found[f"train.{part}"] = {**defaults, **preset.train.get(str(part), {})}
    return found


def _defaults(schema: Mapping[str, options.Option]) -> dict[str, Any]:
    return {name: option.default for name, option in schema.items() if not option.required}


def setting_of(preset: Preset, registry: Registry) -> Setting:
    """The preset in the paper's terms."""
    found = filled(preset, registry)
    fusion = found["train.fusion"]
    scene = found.get("visual", {}).get("scene")
    return Setting(
        modalities=frozenset(preset.extractors),
        fusion=preset.fusion.name + (" with a residual path" if fusion.get("residual") else ""),
        encoders=fusion.get("encoders"),
        layers=fusion.get("layers"),
        streams=None if scene is None else "both" if scene else "face",
    )
