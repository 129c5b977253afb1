"""docs/backends.md has a row for every extractor and fusion of ours, and says the truth about it."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from erc_cli.model_lock import load_lock
from erc_cli.registry import Registry, load_registry
from erc_cli.specs import ExtractorSpec, FusionSpec

PAGE = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def table(kind: str) -> dict[str, dict[str, str]]:
    """The page's table whose first heading is `kind`: name -> heading -> cell."""
    (found,) = re.findall(rf"^\| {kind} \|.*?(?=\n\n|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found.splitlines()]
    assert all(len(row) == len(head) for row in rows)
    assert all(all(row) for row in rows)
    return {row[0].strip("`"): dict(zip(head, row, strict=True)) for row in rows}


def ours(registry: Registry, kind: str) -> list[ExtractorSpec | FusionSpec]:
    entries = [e for e in registry.entries if e.kind == kind and e.owner.package == "erc-cli"]
    return [e.spec for e in entries if isinstance(e.spec, ExtractorSpec | FusionSpec)]


@pytest.mark.parametrize("kind", ["extractor", "fusion"])
def test_every_one_has_its_row(kind: str, registry: Registry) -> None:
    rows, specs = table(kind), ours(registry, kind)
    assert sorted(rows) == sorted(spec.name for spec in specs)
    wanted = {"what it computes", "extra", "licence", "speed", "offline"}
    assert wanted <= set(next(iter(rows.values())))
    for spec in specs:
        extra = rows[spec.name]["extra"]
        assert extra.startswith(f"`{spec.extra}`" if spec.extra else "none"), spec.name
        if isinstance(spec, ExtractorSpec):
            assert rows[spec.name]["modality"] == spec.modality


def test_models_that_are_named_can_be_pulled() -> None:
    known = set(load_lock())
    for name, row in table("extractor").items():
        models = re.findall(r"`([a-z0-9_-]+)`", row["model, size"])
        assert set(models) - {"default"} <= known, name
        assert ("pull" in row["offline"]) == bool(set(models) & known), name
