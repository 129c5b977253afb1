"""What is there is documented, and what is documented is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from conftest import ROOT

from erc_cli import hookspecs
from erc_cli.main import COMMANDS
from erc_cli.options import schema
from erc_cli.preset import all_presets
from erc_cli.registry import load_registry
from erc_cli.types import ExtractorSpec, FusionSpec, Status

PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
PRESETS = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def test_every_hook_is_documented() -> None:
    hooks = [name for name, f in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("erc_")]
    assert len(hooks) >= 6
    assert [name for name in hooks if f"`{name}`" not in PLUGINS] == []
    assert [name for name in hooks if not getattr(hookspecs, name).__doc__] == []


def test_every_plugin_of_ours_and_every_option_is_documented() -> None:
    ours = [e for e in load_registry().entries if e.owner.package == "erc-cli" and e.kind != "preset"]
    assert len(ours) >= 10
    text = PLUGINS + FORMATS
    lacking = [
        e.spec.name for e in ours if f"`{e.spec.name}`" not in text and f"`.{e.spec.name}`" not in text
    ]
    for entry in ours:
        if isinstance(entry.spec, ExtractorSpec | FusionSpec):
            functions = [entry.spec.build, *([entry.spec.train] if entry.spec.train else [])]
            options = {name for f in functions for name in schema(f)}
            lacking += [f"{entry.spec.name}.{name}" for name in options if f"`{name}`" not in text]
    assert lacking == []


def test_every_preset_is_documented() -> None:
    names = [found.name for found in all_presets(load_registry()) if found.package == "erc-cli"]
    assert "default" in names
    assert [name for name in names if f"`{name}`" not in PRESETS] == []


def test_every_status_is_documented() -> None:
    assert [s for s in Status if f"`{s.value}`" not in FORMATS] == []


def test_every_dependency_is_documented_with_its_licence() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [*project["project"]["dependencies"]]
    named += [d for extra in project["project"]["optional-dependencies"].values() for d in extra]
    named += project["dependency-groups"]["dev"]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    words = {re.split(r"[\[<>=!~ ]", d)[0] for d in named} - {"erc-cli"}
    assert [w for w in sorted(words) if not re.search(rf"\b{re.escape(w)}\b", text)] == []


@pytest.mark.parametrize(
    "page", [*sorted(p.relative_to(ROOT) for p in ROOT.glob("docs/*.md")), Path("README.md")]
)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^erc +([a-z]+)", text, re.MULTILINE))
    assert used
    assert used <= set(COMMANDS)
