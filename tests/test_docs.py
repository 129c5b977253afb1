"""What is there is documented, and what is documented is there."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from erc_cli import hookspecs
from erc_cli.main import COMMANDS
from erc_cli.options import schema
from erc_cli.preset import all_presets
from erc_cli.registry import load_registry
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import Status

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
            section = _section(entry.spec.name)
            functions = [entry.spec.build, *([entry.spec.train] if entry.spec.train else [])]
            options = {name for f in functions for name in schema(f)}
            lacking += [f"{entry.spec.name}.{name}" for name in options if f"`{name}`" not in section]
    assert lacking == []


def _section(plugin: str) -> str:
    """What docs/plugins.md says of one plugin: from its bold name to the next one or heading."""
    _, found, rest = PLUGINS.partition(f"**`{plugin}`**")
    assert found, plugin
    return re.split(r"^(?:#|\*\*`)", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_a_section_holds_one_plugin_only() -> None:
    assert "`silence_db`" in _section("prosody")
    assert "`min_face`" not in _section("prosody")


def test_the_plugin_in_the_docs_is_the_one_that_the_tests_install() -> None:
    """Run from the page: its front page, its working part and its test."""
    from types import ModuleType

    blocks = dict(re.findall(r"```python\n# (\S+?):?(?= |\n)(.*?)```", PLUGINS, re.DOTALL))
    assert list(blocks) == ["erc_echo/__init__.py", "erc_echo/words.py", "test_echo.py"]
    modules = {"erc_echo": "erc_echo/__init__.py", "erc_echo.words": "erc_echo/words.py", "t": "test_echo.py"}
    made = {name: ModuleType(name) for name in modules}
    made["erc_echo"].__path__ = []
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        for name, block in modules.items():
            exec(compile(f"#{blocks[block]}", block, "exec"), vars(made[name]))
        made["t"].test_echo()
        assert [spec.name for spec in made["erc_echo"].erc_extractors()] == ["echo"]
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", PLUGINS, re.DOTALL)[0])
    real = tomllib.loads((ROOT / "tests/data/erc_echo/pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"].items() <= real["project"].items()


def test_every_preset_is_documented() -> None:
    names = [found.name for found in all_presets(load_registry()) if found.package == "erc-cli"]
    assert "default" in names
    assert [name for name in names if f"`{name}`" not in PRESETS] == []


def test_every_status_is_documented() -> None:
    assert [s for s in Status if f"`{s.value}`" not in FORMATS] == []


def test_every_dependency_is_documented_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [*project["project"]["dependencies"]]
    named += [d for extra in project["project"]["optional-dependencies"].values() for d in extra]
    named += project["dependency-groups"]["dev"]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    words = {re.split(r"[\[<>=!~ ]", d)[0] for d in named} - {"erc-cli"}
    assert [w for w in sorted(words) if not re.search(rf"\b{re.escape(w)}\b", text)] == []


def test_every_extra_is_in_all_or_said_not_to_be() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = extras.pop("all")
    inside = set(re.findall(r"\w+", everything.partition("[")[2]))
    text = (ROOT / "docs" / "dependencies.md").read_text()
    row = re.search(r"^\| `all` \|(.*?)\|", text, re.MULTILINE)
    outside = re.search(r"^Not in `all`:(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert row and set(re.findall(r"`(\w+)`", row[1])) == inside
    assert outside and set(extras) - inside <= set(re.findall(r"`(\w+)`", outside[1]))


@pytest.mark.parametrize(
    "page",
    [
        *sorted(p.relative_to(ROOT) for p in ROOT.glob("docs/*.md")),
        *map(Path, ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    ],
)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:sh|console|bash)?\n(.*?)```", text, re.DOTALL))
    used = set(re.findall(r"^(?:\$ )?erc +([a-z]+)", blocks, re.MULTILINE))
    assert used
    assert used <= set(COMMANDS)
