"""Another plugin in a branch of a preset: its training options, and a trained fusion that knows another."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from erc_cli.errors import UsageError
from erc_cli.preset import check, drop, find_preset, override, refuse_stale_fusion
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


def test_the_command_that_trains_a_fusion_for_it_is_whole(registry: Registry, tmp_path: Path) -> None:
    found = find_preset("default", registry)
    model = tmp_path / "my model"
    model.mkdir()
    settings = ["text.use=roberta", f"text.weights={model}", "text.past=3", "text.pooling=mean"]
    swapped = drop(override(found, settings, registry), ["visual"])
    with pytest.raises(UsageError) as told:
        refuse_stale_fusion(found, swapped, registry)
    own, words = _commands(told.value)
    assert own[:5] == words[:5] == ["erc", "train", "default", "--drop", "visual"]
    swap = [
        "text.use=roberta",
        *("text.past=3", "train.text.past=3", "text.pooling=mean", "train.text.pooling=mean"),
        f"train.text.init={model}",
    ]
    assert _settings(words) == swap
    assert _settings(own) == [*swap, "train.text.data=[NAME]", "train.fusion.data=[NAME]"]
    assert own[-4:] == ["--data", "NAME:PATH", "-o", "RUN"]
    assert words[-8:] == [
        "--data",
        "goemotions:PATH",
        "--data",
        "meld:PATH",
        "--data",
        "fer2013:PATH",
        "-o",
        "RUN",
    ]


def _commands(error: UsageError) -> list[list[str]]:
    return [shlex.split(line) for line in str(error.hint).splitlines() if line.startswith("erc train")]


def _settings(words: list[str]) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == "--set"]


def test_what_is_not_swapped_stays_with_data_of_one_s_own(registry: Registry) -> None:
    found = find_preset("default", registry)
    with pytest.raises(UsageError) as told:
        refuse_stale_fusion(found, override(found, ["audio.use=opensmile"], registry), registry)
    own = _commands(told.value)[0]
    frozen = ["train.text.frozen=true", "train.visual.frozen=true"]
    assert _settings(own) == ["audio.use=opensmile", *frozen, "train.fusion.data=[NAME]"]
    recipe = find_preset("default", registry, recipe=True)
    made = override(recipe, [one.replace("NAME", "manifest") for one in _settings(own)], registry)
    assert not [p for p in check(made, registry) if p.kind != "missing"]


def test_nor_is_it_given_another_model_of_the_same_branch(registry: Registry, tmp_path: Path) -> None:
    """Features of one width from other weights would mislead it as well; a copy of the weights does not."""
    found = find_preset("default", registry)
    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    content = (found.folder / "visual.safetensors").read_bytes()
    copy.write_bytes(content)
    other.write_bytes(content[:-1] + b"\x01")
    refuse_stale_fusion(found, override(found, [f"visual.weights={copy}"], registry), registry)
    settings = [f"visual.weights={other}", "visual.frames=3"]
    with pytest.raises(UsageError, match=r"visual.weights=\S+: .* features of another model") as told:
        refuse_stale_fusion(found, override(found, settings, registry), registry)
    (own,) = _commands(told.value)
    assert _settings(own)[:3] == ["visual.frames=3", f"visual.weights={other}", "train.visual.frozen=true"]
    detector = override(found, ["visual.detector=yunet", f"visual.detector_weights={other}"], registry)
    refuse_stale_fusion(found, detector, registry)  # finds the same faces, and features stay the network's


def test_nor_a_folder_of_other_weights(registry: Registry, tmp_path: Path) -> None:
    for name, weights in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    found = find_preset("default", registry)
    trained = override(found, ["audio.use=wavlm", f"audio.weights={tmp_path / 'one'}"], registry)
    refuse_stale_fusion(
        trained, override(trained, [f"audio.weights={tmp_path / 'same'}"], registry), registry
    )
    with pytest.raises(UsageError, match="another model"):
        refuse_stale_fusion(
            trained, override(trained, [f"audio.weights={tmp_path / 'other'}"], registry), registry
        )


def test_training_options_go_with_the_branch_that_they_are_of(registry: Registry, tmp_path: Path) -> None:
    """Another branch starts from its own defaults on the same data; what cannot be trained has none."""
    found = find_preset("default", registry, recipe=True)
    text = override(found, ["text.use=roberta", f"train.text.init={tmp_path}"], registry)
    assert text.train["text"] == {"data": ["goemotions", "meld"], "init": str(tmp_path)}
    assert text.train["visual"] == found.train["visual"]
    visual = override(found, ["visual.use=insightface", f"visual.pack={tmp_path}"], registry)
    assert "visual" not in visual.train
    assert check(visual, registry) == [p for p in check(visual, registry) if p.kind == "missing"]
    same = override(found, ["text.use=minilm", "visual.frames=3"], registry)
    assert same.train == found.train


def test_another_fusion_keeps_what_it_understands(registry: Registry) -> None:
    found = find_preset("default", registry, recipe=True)
    swapped = override(found, ["fusion.use=concat", "train.fusion.encoders=2"], registry)
    kept = {"data", "hidden", "epochs", "lr", "dropout", "weight_decay", "balance", "ensemble"}
    left = {key: value for key, value in found.train["fusion"].items() if key in kept}
    assert set(found.train["fusion"]) == {*left, "unpaired_weight"}
    assert swapped.train["fusion"] == {**left, "encoders": 2}
    assert not [p for p in check(swapped, registry) if p.kind == "wrong"]
