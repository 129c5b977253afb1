"""A trained fusion with another branch: refused before anything is loaded."""

from __future__ import annotations

import pytest

from erc_cli.errors import UsageError
from erc_cli.preset import drop, find_preset, override, refuse_stale_fusion
from erc_cli.registry import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_a_trained_fusion_is_not_given_another_branch(registry: Registry) -> None:
    found = find_preset("default", registry)
    swapped = override(found, ["audio.use=mel"])
    with pytest.raises(UsageError, match=r"audio.use=mel: .* trained on the features of prosody") as told:
        refuse_stale_fusion(found, swapped, registry)
    assert "erc train default --set audio.use=mel" in (told.value.hint or "")


def test_nor_a_branch_more(registry: Registry) -> None:
    found = drop(find_preset("default", registry), ["audio"])
    with pytest.raises(UsageError, match=r"audio.use=mel: .* trained without audio"):
        refuse_stale_fusion(found, override(found, ["audio.use=mel"]), registry)


def test_what_is_no_swap(registry: Registry) -> None:
    found = find_preset("default", registry)
    swapped = override(found, ["audio.use=mel"])
    named = override(swapped, ["fusion.weights=other.safetensors"])
    recipe = find_preset("m2fnet-mini-meld", registry, recipe=True)
    refuse_stale_fusion(found, named, registry)  # by who knows what it learnt
    refuse_stale_fusion(found, drop(swapped, ["audio"]), registry)  # not used
    refuse_stale_fusion(found, override(found, ["visual.frames=3"]), registry)
    refuse_stale_fusion(recipe, override(recipe, ["audio.use=mel"]), registry)  # nothing trained
