"""A preset's YAML file as records; everything that is wrong with its shape is told at once.

Nothing here knows which plugins exist: see `preset_check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from erc_cli.errors import UsageError, nearest
from erc_cli.options import shown
from erc_cli.registry import listed
from erc_cli.types import Modality

FILE = "preset.yaml"
STAGES: tuple[str, ...] = (*map(str, Modality), "fusion")
_KEYS = ("summary", "labels", "extractors", "fusion", "data", "train", "meta")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Use:
    """A plugin by name, and its options as written; files are relative to `folder`."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset as written. `path` is its YAML file, `folder` the one that holds that file.

    `train[STAGE]` are options of that stage's `train`, and `data`, the data sets it learns from;
    `data[NAME]` are options that the data set of that name is opened with;
    `lines` says where a key stands. `recipe`: it is about to be trained, so what training makes
    (required options and files of a plugin that has a `train`) may still be missing.
    """

    name: str
    path: Path
    summary: str
    labels: tuple[str, ...]
    extractors: Mapping[Modality, Use]
    fusion: Use
    train: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    recipe: bool = False
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the preset's files are."""
        return self.path.parent

    @property
    def trained(self) -> bool:
        """Whether it is the folder of a trained preset."""
        return self.path.name == FILE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a preset: file, key path (`extractors.text.past`), what.

    `kind`: `wrong`, or `file` (a file is not there), or `untrained` (training makes what is not
    there), or `missing` (a library is not installed).
    `plugin` is the one whose options it is about, if any.
    """

    path: Path
    key: str
    message: str
    line: int | None = None
    kind: str = "wrong"
    plugin: str = ""

    def __str__(self) -> str:
        line = f"line {self.line}, " if self.line else ""
        return f"{line}{self.key}: {self.message}" if self.key else f"{line}{self.message}"


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of the file with its key path; what is wrong with it goes to `problems`."""

    raw: Mapping[str, Any]
    key: str
    path: Path
    lines: Mapping[str, int]
    problems: list[Problem]
    found: bool = True

    def wrong(self, key: str, message: str) -> None:
        """Note a problem of one key."""
        full = f"{self.key}.{key}" if self.key and key else self.key or key
        self.problems.append(Problem(self.path, full, message, line_of(full, self.lines)))

    def only(self, known: Iterable[str], what: str = "key") -> None:
        """Note every key that is not one of `known`."""
        words = list(known)
        for key in self.raw:
            if key not in words:
                close = nearest(str(key), words) or f" Known: {', '.join(words)}"
                self.wrong(str(key), f"unknown {what}.{close}")

    def text(self, key: str) -> str:
        """A text, empty where there is none."""
        value = self.raw.get(key, "")
        if not isinstance(value, str):
            self.wrong(key, f"expected text, got {shown(value)}")
            return ""
        return value

    def table(self, key: str, *, required: bool = False) -> Table:
        """A mapping below this one; `found` is false where it is not usable."""
        full = f"{self.key}.{key}" if self.key else key
        value = self.raw.get(key)
        if isinstance(value, Mapping):
            return Table(value, full, self.path, self.lines, self.problems)
        if key in self.raw:
            self.wrong(key, f"expected a mapping, got {shown(value)}; leave the key out to do without")
        elif required:
            self.wrong(key, "is required")
        return Table(_NOTHING, full, self.path, self.lines, self.problems, found=False)


def read_preset(path: Path, name: str | None = None) -> tuple[Preset | None, list[Problem]]:
    """A preset file as far as it can be understood, and what is wrong with its shape.

    Nothing is looked up in a registry. None when the file is not a YAML mapping.
    """
    raw, lines, problems = _read_yaml(path)
    if raw is None:
        return None, problems
    top = Table(raw, "", path, lines, problems)
    top.only(_KEYS)
    preset = Preset(
        name=name or path.stem,
        path=path,
        summary=top.text("summary"),
        labels=_labels(top),
        extractors=_extractors(top, path.parent),
        fusion=_use(top.table("fusion", required=True), path.parent) or Use(""),
        train=_train(top),
        meta=dict(top.table("meta").raw),
        lines=lines,
        data=_data(top),
    )
    return preset, problems


def complain(problems: Sequence[Problem]) -> None:
    """Raise one UsageError that names all problems, if there are any."""
    if not problems:
        return
    problems = by_line(problems)
    path = problems[0].path
    if len(problems) == 1:
        raise UsageError(f"{path}: {problems[0]}", hint=_hint(problems))
    lines = "\n".join(f"  {p}" for p in problems)
    raise UsageError(f"{path} has {len(problems)} problems:\n{lines}", hint=_hint(problems))


def by_line(problems: Iterable[Problem]) -> list[Problem]:
    """The problems in the order of the file; those without a line come last."""
    return sorted(problems, key=lambda p: (p.line is None, p.line or 0))


def _hint(problems: Sequence[Problem]) -> str:
    path = problems[0].path
    if all(p.kind == "untrained" for p in problems):
        return f"Train it: erc train {path} --data NAME:PATH -o RUN. Then: --preset RUN"
    plugins = {p.plugin for p in problems if p.plugin}
    if len(plugins) > 1:
        return f"When they are mended: erc presets check {path}"
    return f"Options: erc plugins show {plugins.pop()}" if plugins else "An example: erc presets show default"


def _labels(top: Table) -> tuple[str, ...]:
    value = top.raw.get("labels")
    if not isinstance(value, list) or not value:
        top.wrong("labels", "expected a list of labels, such as [neutral, joy, anger]")
        return ()
    for i, label in enumerate(value):
        if not isinstance(label, str) or not label.strip():
            top.wrong(f"labels.{i}", f"expected text, got {shown(label)} (put it in quotes)")
    words = [label for label in value if isinstance(label, str)]
    for label in sorted({w for w in words if words.count(w) > 1}):
        top.wrong("labels", f"{label!r} is there twice")
    if len(value) == 1:
        top.wrong("labels", "one label leaves nothing to choose between")
    return tuple(words)


def _extractors(top: Table, folder: Path) -> dict[Modality, Use]:
    table = top.table("extractors", required=True)
    known = [str(m) for m in Modality]
    if not table.raw and isinstance(top.raw.get("extractors"), Mapping):
        top.wrong("extractors", f"expected at least one of {listed(known)}")
    table.only(known, "modality")
    uses = {m: _use(table.table(m, required=True), folder) for m in Modality if m in table.raw}
    return {m: use for m, use in uses.items() if use is not None}


def _use(table: Table, folder: Path) -> Use | None:
    if not table.found:
        return None
    name = table.raw.get("use")
    if not isinstance(name, str) or not name:
        table.wrong("use", "expected the name of a plugin, such as {use: minilm}")
        return None
    return Use(name, {k: v for k, v in table.raw.items() if k != "use"}, folder)


def _train(top: Table) -> dict[str, Mapping[str, Any]]:
    table = top.table("train")
    table.only(STAGES, "stage")
    return {stage: dict(table.table(stage).raw) for stage in STAGES if stage in table.raw}


def _data(top: Table) -> dict[str, Mapping[str, Any]]:
    table = top.table("data")
    return {str(name): dict(table.table(name).raw) for name in table.raw}


def line_of(key: str, lines: Mapping[str, int]) -> int | None:
    """Line of a key path, or of the nearest one above it that is written down."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key)


def _read_yaml(path: Path) -> tuple[Mapping[str, Any] | None, dict[str, int], list[Problem]]:
    """The file's mapping, the line (from 1) of every key path, and what is wrong with it as YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return None, {}, [Problem(path, "", "not a text file in UTF-8")]
    except OSError as error:
        return None, {}, [Problem(path, "", f"cannot be read: {error.strerror or error}")]
    try:
        raw = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError:  # control characters
        return None, {}, [Problem(path, "", "not a text file")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or "cannot be parsed"
        line = mark.line + 1 if mark is not None else None
        return None, {}, [Problem(path, "", f"not valid YAML: {said}", line)]
    if node is None:
        return None, {}, [Problem(path, "", "the file is empty")]
    if not isinstance(raw, Mapping):
        return None, {}, [Problem(path, "", f"expected a mapping with {listed(_KEYS)}, got {shown(raw)}")]
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    _walk(node, "", path, lines, problems)
    return raw, lines, problems


def _walk(
    node: yaml.Node | None, key: str, path: Path, lines: dict[str, int], problems: list[Problem]
) -> None:
    """Note each key's line and the keys that stand twice, three levels deep (which bounds aliases)."""
    if not isinstance(node, yaml.MappingNode) or key.count(".") > 1:
        return
    for name, value in node.value:
        full = f"{key}.{name.value}" if key else str(name.value)
        line = name.start_mark.line + 1
        if full in lines:
            problems.append(Problem(path, full, f"stands in line {lines[full]} already", line))
            continue
        lines[full] = line
        _walk(value, full, path, lines, problems)
