"""`erc plugins new`: a working plugin with its tests, in a folder of its own.

The files are templates for the standard library's `string.Template`, under `templates/plugin`: a folder
with what all plugins have, one with what extractors have, and one for each of `SAMPLES`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from string import Template

from erc_cli import __version__
from erc_cli.errors import ErcError, UsageError
from erc_cli.files import check_folder
from erc_cli.registry import Registry
from erc_cli.types import Modality

TEMPLATES = Path(__file__).resolve().parent / "templates" / "plugin"
EXTRACTOR = "extractor"
LONGEST = 30
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_PREFIX = "erc-"
_SUFFIX = ".tmpl"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a new plugin does at first: who it is, its summary, its working file, and what that imports."""

    what: str
    summary: str
    work: str
    needs: tuple[str, ...] = ()


_NUMPY = ("numpy>=2.0",)
#: kind, or modality of an extractor -> the sample, whose templates are in the folder of that name
SAMPLES: Mapping[str, Sample] = {
    "text": Sample("the text extractor", "counts of words and marks", "extractor.py", _NUMPY),
    "audio": Sample("the audio extractor", "loudness and zero crossings", "extractor.py", _NUMPY),
    "visual": Sample("the visual extractor", "brightness and motion", "extractor.py", _NUMPY),
    "fusion": Sample("the fusion", "a log-linear pool that learns nothing", "pool.py", _NUMPY),
    "reader": Sample("the transcript format", "start, end, speaker, text between tabs", "lines.py"),
    "transcriber": Sample("the transcriber", "pieces of equal length", "pieces.py"),
    "writer": Sample("the result format", "a table in Markdown", "table.py"),
    "dataset": Sample("the data set", "a CSV table of utterances", "table.py"),
}


@dataclass(frozen=True, slots=True)
class NewPlugin:
    """A plugin to be made; it has a modality if its kind is extractor. `plan` makes it."""

    name: str
    kind: str
    modality: Modality | None = None

    @property
    def distribution(self) -> str:
        """What pip calls it."""
        return f"{_PREFIX}{self.name}"

    @property
    def package(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")

    @property
    def sample(self) -> str:
        """Which of `SAMPLES` it is."""
        return str(self.modality or self.kind)

    @property
    def test(self) -> str:
        """The file with its tests."""
        return f"tests/test_{self.name.replace('-', '_')}.py"


# --- what may be made ----------------------------------------------------------------------


def plan(name: str, kind: str, modality: Modality | None, registry: Registry) -> NewPlugin:
    """The plugin, checked before anything is written.

    Raises:
        UsageError: the name does not fit or is taken, or the modality is missing or too much.
    """
    options = f"--modality {modality or Modality.AUDIO}" if kind == EXTRACTOR else f"--kind {kind}"
    if (kind == EXTRACTOR) != (modality is not None):
        lacking = (
            "An extractor reads text, audio or visual" if modality is None else f"A {kind} has no modality"
        )
        raise UsageError(f"{lacking}.", hint=f"Type: erc plugins new {name} {options}")
    _check_name(name, options)
    new = NewPlugin(name, kind, modality)
    _check_free(new, registry, options)
    return new


def _check_name(name: str, options: str) -> None:
    """A name that pip, Python, YAML and a file system can all have."""
    import yaml

    better = "-".join(re.findall("[a-z0-9]+", name.lower()))[:LONGEST].strip("-").removeprefix(_PREFIX)
    fits = _NAME.fullmatch(name) is not None and len(name) <= LONGEST and not name.startswith(_PREFIX)
    if not fits:
        raise UsageError(
            f"{name!r} is no name for a plugin: lower case letters, digits and hyphens, a letter first, at "
            f"most {LONGEST} characters; erc- is put before the package's name.",
            hint=f"Type: erc plugins new {better if _NAME.fullmatch(better) else 'my-plugin'} {options}",
        )
    if yaml.safe_load(name) != name:
        raise UsageError(
            f"{name!r} means {yaml.safe_load(name)} in a preset, so it is no name for a plugin.",
            hint=f"Type: erc plugins new my-{name} {options}",
        )


def _check_free(new: NewPlugin, registry: Registry, options: str) -> None:
    hint = f"Choose another name: erc plugins new my-{new.name} {options}"
    taken = registry.find(new.name)
    if taken:
        owner, kind = taken[0].owner, taken[0].kind
        raise UsageError(f"The name {new.name!r} is taken: a plugin of {owner}, kind {kind}.", hint=hint)
    try:
        installed = version(new.distribution)
    except PackageNotFoundError:
        pass
    else:
        raise UsageError(f"The package {new.distribution} {installed} is installed already.", hint=hint)
    spec = find_spec(new.package)
    if spec is not None and spec.origin is not None:  # without: a folder that an uninstalled package left
        raise UsageError(f"There is a package {new.package} already: {spec.origin}", hint=hint)


# --- making it -----------------------------------------------------------------------------


def create(new: NewPlugin, folder: Path) -> Path:
    """Write the plugin; `folder` appears complete or not at all.

    Raises:
        UsageError: `folder` exists already, or cannot be made there.
        ErcError: writing failed.
    """
    target = Path(os.path.abspath(folder))  # noqa: PTH100 - a link that leads nowhere is not followed
    _check_target(target, folder, new)
    draft = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}")
    try:
        for place, text in rendered(new):
            file = draft / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        draft.rename(target)
    except OSError as error:
        raise ErcError(
            f"{folder} could not be written: {error.strerror}.", hint="Name another place: -o FOLDER"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def rendered(new: NewPlugin) -> Iterator[tuple[str, str]]:
    """Each file of the plugin: its place in the folder, with slashes, and its text."""
    sample = SAMPLES[new.sample]
    words = {
        "name": new.name,
        "distribution": new.distribution,
        "package": new.package,
        "modality": new.sample,
        "what": sample.what,
        "summary": sample.summary,
        "work": sample.work,
        "test": new.test,
        "dependencies": ", ".join(f'"{need}"' for need in (_bounds(), *sample.needs)),
    }
    found = {
        path.relative_to(root).as_posix().removesuffix(_SUFFIX): path
        for root in (TEMPLATES / "all", TEMPLATES / new.kind, TEMPLATES / new.sample)
        for path in sorted(root.rglob(f"*{_SUFFIX}"))
    }
    texts = {place: Template(path.read_text(encoding="utf-8")) for place, path in found.items()}
    words["use"] = texts.pop("use.md").substitute(words)
    for place, text in texts.items():
        named = place.replace("package/", f"{new.package}/").replace("tests/test.py", new.test)
        yield named, text.substitute(words)


def _bounds() -> str:
    """This erc, and those that keep its promises: until the next minor version before 1.0, else major."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f"erc-cli>={__version__},<{f'0.{minor + 1}' if major == 0 else major + 1}"


def _check_target(target: Path, folder: Path, new: NewPlugin) -> None:
    try:
        target.lstat()
    except FileNotFoundError:
        check_folder(target.parent)
    except (OSError, ValueError) as error:  # too long, a file amid the path, a null character
        said = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{folder} cannot be written: {said}.", hint="Name another place: -o FOLDER"
        ) from None
    else:
        raise UsageError(
            f"{folder} exists already and is kept.",
            hint=f"Name a new folder: -o {folder.parent / (new.distribution + '-2')}",
        )
