"""Presets: which extractors, which fusion, which labels. Data only: no import paths, no code.

A preset is a YAML file, or the folder of a trained preset with `preset.yaml` inside. Names of
plugins and options are checked against the registry before anything heavy is imported, and all
problems are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from erc_cli import options
from erc_cli.errors import UsageError, nearest
from erc_cli.preset_check import check
from erc_cli.preset_edit import drop, keep, modalities_of, override
from erc_cli.preset_file import FILE, Preset, Problem, Use, complain, read_preset
from erc_cli.preset_swap import refuse_stale_fusion
from erc_cli.registry import Registry, listed
from erc_cli.specs import PresetSpec
from erc_cli.stages import split_options
from erc_cli.types import Extractor, Fusion

__all__ = [
    "FILE",
    "Found",
    "Preset",
    "Problem",
    "Use",
    "all_presets",
    "build_extractor",
    "build_fusion",
    "check",
    "drop",
    "find_preset",
    "keep",
    "locate",
    "modalities_of",
    "override",
    "presets_folder",
    "read_preset",
    "refuse_stale_fusion",
    "require_models",
    "train_options",
]

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Found:
    """A preset that can be named: where it is, and which package brings it."""

    name: str
    path: Path
    package: str


# --- finding and reading -------------------------------------------------------------------


def presets_folder() -> Path:
    """The built-in presets: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    beside = package.parent
    checkout = not (package / "presets").is_dir() and (beside / "pyproject.toml").is_file()
    return (beside if checkout else package) / "presets"


def all_presets(registry: Registry, folder: Path | None = None) -> tuple[Found, ...]:
    """Every preset that has a name, sorted; two may claim the same one."""
    home = presets_folder() if folder is None else folder
    files = [p for suffix in _SUFFIXES for p in home.glob(f"*{suffix}")]
    found = [Found(p.stem, p, "erc-cli") for p in files]
    found += [Found(p.parent.name, p, "erc-cli") for p in home.glob(f"*/{FILE}")]
    for entry in registry.presets:
        if isinstance(entry.spec, PresetSpec):
            path = entry.spec.path / FILE if entry.spec.path.is_dir() else entry.spec.path
            found.append(Found(entry.spec.name, path, str(entry.owner)))
    return tuple(sorted(found, key=lambda f: (f.name, str(f.path))))


def locate(name_or_path: str, registry: Registry, folder: Path | None = None) -> Found:
    """The preset of that name, else the YAML file or run folder at that path.

    Raises:
        UsageError: there is none, or two packages claim the name.
    """
    presets = all_presets(registry, folder)
    matches = [found for found in presets if found.name == name_or_path]
    if len(matches) > 1:
        claims = listed(f"{found.path} ({found.package})" for found in matches)
        raise UsageError(f"Two presets are called {name_or_path!r}: {claims}.", hint="Name it by its path.")
    if matches:
        return matches[0]
    path = Path(name_or_path)
    if path.is_dir():
        if not (path / FILE).is_file():
            raise UsageError(
                f"{path} is not a trained preset: it has no {FILE}.",
                hint="A run has one when its training is finished: erc train … writes it last.",
            )
        return Found(path.resolve().name, path / FILE, "")
    if path.is_file():
        return Found(path.resolve().parent.name if path.name == FILE else path.stem, path, "")
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        raise UsageError(f"No such preset file: {path}", hint="Names of presets: erc presets list")
    known = nearest(name_or_path, [found.name for found in presets])
    raise UsageError(f"There is no preset called {name_or_path!r}.{known}", hint="See: erc presets list")


def find_preset(name_or_path: str, registry: Registry, *, recipe: bool = False) -> Preset:
    """The preset of that name or path, read and checked.

    `recipe`: it is about to be trained, so what training makes (required options, files of a
    plugin that has a `train`) may still be missing.

    Raises:
        UsageError: there is no such preset, or it has problems; all of them are named. Libraries
            that are not installed are no problem here: `build_extractor` tells.
    """
    found = locate(name_or_path, registry)
    preset, problems = read_preset(found.path, found.name)
    if preset is not None:
        preset = replace(preset, recipe=recipe)
        problems = problems + [p for p in check(preset, registry) if p.kind != "missing"]
    complain(problems)
    if preset is None:
        raise UsageError(f"{found.path} is empty.", hint="See: erc presets show default")
    return preset


def build_extractor(use: Use, registry: Registry, **given: Any) -> Extractor:
    """The extractor with its options; `given` (device, labels, …) as far as its `build` asks for them.

    Raises:
        UsageError: an option does not fit.
        ErcError: a library is missing; the hint is the pip command.
    """
    spec = registry.extractor(use.name)
    registry.require(spec)
    return cast("Extractor", _call(spec.build, use, given))


def build_fusion(use: Use, registry: Registry, **given: Any) -> Fusion:
    """The fusion with its options; `given` and errors as for `build_extractor`."""
    spec = registry.fusion(use.name)
    registry.require(spec)
    return cast("Fusion", _call(spec.build, use, given))


def train_options(preset: Preset, stage: str, train: Callable[..., object]) -> dict[str, Any]:
    """What to call a plugin's `train` with for `text`, `audio`, `visual` or `fusion`: files resolved,
    numbers as annotated. What the core reads itself (see `stages`) is not among them.

    Raises:
        UsageError: an option does not fit.
    """
    _, values = split_options(stage, preset.train.get(stage, {}), train)
    bound, wrong = options.bind(train, values, preset.folder)
    _refuse(wrong, f"train.{stage}", f"erc presets check {preset.path}")
    return bound


def _call(build: Callable[..., object], use: Use, given: Mapping[str, Any]) -> object:
    bound, wrong = options.bind(build, use.options, use.folder)
    _refuse(wrong, repr(use.name), f"erc plugins show {use.name}")
    asked = options.given(build)
    return build(**bound, **{name: value for name, value in given.items() if name in asked})


def require_models(preset: Preset, registry: Registry) -> None:
    """Whether the models that the branches name are here, before hours are spent on the first branch.

    Raises:
        UsageError: one is not; the hint is the command that gets it.
    """
    uses = [(use, registry.extractor(use.name).build) for use in preset.extractors.values()]
    for use, build in uses:
        _, wrong = options.bind(build, use.options, use.folder)
        _refuse([c for c in wrong if c.get], repr(use.name), f"erc plugins show {use.name}")


def _refuse(wrong: Sequence[options.Complaint], whose: str, see: str) -> None:
    get = list(dict.fromkeys(c.get for c in wrong if c.get))
    if get and all(c.get for c in wrong):
        said = "; ".join(f"{c.option}: {c.message.removesuffix(f': {c.get}')}" for c in wrong)
        raise UsageError(f"{whose} lacks a model: {said}.", hint=f"Type: {' && '.join(get)}")
    if wrong:
        said = "\n".join(f"  {c.option}: {c.message}" for c in wrong)
        raise UsageError(f"The options of {whose} do not fit:\n{said}", hint=f"See: {see}")
