"""What `erc ablate --data` compares, and the paper's figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import EMOTIONS

from erc_cli import paper
from erc_cli.ablation_plan import Choice, Plan, filled, make_plan, setting_of, split_values, with_settings
from erc_cli.errors import UsageError
from erc_cli.fakes import FakePlugin
from erc_cli.preset import Preset, Use
from erc_cli.registry import Registry, load_registry
from erc_cli.types import Modality

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL


def preset(fusion: str = "m2fnet", modalities: Sequence[Modality] = tuple(Modality), **train: Any) -> Preset:
    uses = {TEXT: Use("minilm"), AUDIO: Use("prosody"), VISUAL: Use("faces", {"scene": True})}
    parts = {m: uses[m] for m in modalities}
    return Preset(
        "p", Path("p.yaml"), "", tuple(EMOTIONS), parts, Use(fusion), {"fusion": train}, recipe=True
    )


def names(plan: Plan) -> list[str]:
    return [one.name for one in plan.variants]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_all_subsets_are_seven_where_the_fusion_can_do_with_each() -> None:
    fakes = Registry.of(FakePlugin())
    parts = {m: Use(f"fake-{m}") for m in Modality}
    made = Preset("f", Path("f.yaml"), "", ("a", "b", "c"), parts, Use("fake-mean"))
    plan = make_plan(made, fakes, Choice(subsets=True))
    assert names(plan) == [
        "text+audio+visual",
        "text+audio",
        "text+visual",
        "audio+visual",
        "text",
        "audio",
        "visual",
    ]
    assert plan.reference == "text+audio+visual"
    reduced = make_plan(made, fakes, Choice(subsets=True, drop=("visual",)))
    assert names(reduced) == ["text+audio", "text", "audio"]


def test_what_is_dropped_or_kept_is_one_variant(registry: Registry) -> None:
    late = preset("late")
    assert names(make_plan(late, registry, Choice())) == [
        "text+audio+visual",
        "audio+visual",
        "text+visual",
        "text+audio",
    ]
    dropped = make_plan(late, registry, Choice(drop=("audio", "visual")))
    assert names(dropped) == ["text+audio+visual", "text"]
    assert names(make_plan(late, registry, Choice(keep=("text,audio",)))) == [
        "text+audio+visual",
        "text+audio",
    ]
    with pytest.raises(UsageError, match="has no visual branch"):
        make_plan(preset("late", (TEXT, AUDIO)), registry, Choice(drop=("visual",)))
    with pytest.raises(UsageError, match="leaves one variant only"):
        make_plan(preset("late", (TEXT,)), registry, Choice())


def test_values_of_an_option_with_the_presets_own_as_reference(registry: Registry) -> None:
    plan = make_plan(preset(layers=2), registry, Choice(vary=("fusion.layers=1,2,3",)))
    assert names(plan) == ["fusion.layers=1", "fusion.layers=2", "fusion.layers=3"]
    assert plan.reference == "fusion.layers=2"
    assert next(one.name for one in plan.reference_first()) == "fusion.layers=2"
    assert plan.variants[2].preset.train["fusion"]["layers"] == 3
    assert plan.variants[2].settings == ("train.fusion.layers=3",)


def test_a_default_counts_as_the_presets_own_value(registry: Registry) -> None:
    """`layers` is not in the preset; the plugin's default, 5, is what it has."""
    plan = make_plan(preset(), registry, Choice(vary=("fusion.layers=1,5",)))
    assert plan.reference == "fusion.layers=5"
    several = make_plan(preset(), registry, Choice(vary=("fusion.layers=1,5", "fusion.encoders=1,2")))
    assert names(several) == ["fusion.layers=1", "fusion.layers=5", "fusion.encoders=2"]


def test_a_preset_that_is_not_among_the_values_stands_beside_them(registry: Registry) -> None:
    plan = make_plan(preset(layers=4), registry, Choice(vary=("fusion.layers=1,2",)))
    assert names(plan) == ["as given", "fusion.layers=1", "fusion.layers=2"]
    assert plan.reference == "as given"


def test_another_fusion_keeps_what_it_understands(registry: Registry) -> None:
    made = with_settings(preset(layers=2, epochs=3, folds=2), ("fusion.use=concat",), registry)
    assert made.preset.train["fusion"] == {"epochs": 3, "folds": 2}
    assert made.without == ("train.fusion.layers",)
    assert made.preset.fusion.name == "concat"


def test_an_option_that_both_the_branch_and_its_training_have_is_set_in_both(registry: Registry) -> None:
    made = with_settings(preset(), ("text.past=3",), registry)
    assert made.settings == ("text.past=3", "train.text.past=3")
    whole = filled(made.preset, registry)
    assert whole["text"]["past"] == whole["train.text"]["past"] == 3


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("fusion.leyers=1,2", "'m2fnet' has no option 'leyers'. Did you mean 'layers'"),
        ("fusion.layers", "expected KEY=VALUE,VALUE"),
        ("fusion.layers=", "expected KEY=VALUE,VALUE"),
        ("fusion.layers=1,1", "1 is there twice"),
        ("fusion.layers=0,1", "layers"),
        ("fusion.use=m2fnett", "m2fnett"),
        ("visual.scene=true", "has no visual branch"),
        ("visuel.scene=true", "nothing is called 'visuel'"),
    ],
)
def test_what_cannot_be_varied_is_told(registry: Registry, vary: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(preset(modalities=(TEXT, AUDIO)), registry, Choice(vary=(vary,)))


def test_commas_in_brackets_separate_nothing() -> None:
    assert split_values("a.b=[1, 2],[3],x") == ("a.b", ["[1, 2]", "[3]", "x"])
    assert split_values('a.b="x,y",z') == ("a.b", ['"x,y"', "z"])


def test_the_papers_tables_from_one_preset(registry: Registry) -> None:
    whole = preset(epochs=1)
    two = make_plan(whole, registry, Choice(table=2))
    assert two.reference == "text+audio+visual, m2fnet"
    assert names(two) == [
        "text+audio+visual, m2fnet",
        "text+audio+visual, concat",
        "text+audio, m2fnet",
        "text+audio, concat",
        "text+visual, m2fnet",
        "text+visual, concat",
        "audio+visual, concat",
        "text",
        "audio",
        "visual",
    ]
    for part in ((TEXT,), (AUDIO, VISUAL)):
        with pytest.raises(UsageError, match="compares fusions of text with others"):
            make_plan(preset(modalities=part), registry, Choice(table=2))
    three = make_plan(whole, registry, Choice(table=3))
    assert (names(three), three.reference) == (
        ["visual.scene=false", "visual.scene=true"],
        "visual.scene=true",
    )
    assert names(make_plan(whole, registry, Choice(table=4))) == [f"fusion.encoders={n}" for n in range(1, 7)]
    five = make_plan(whole, registry, Choice(table=5, drop=("visual",)))
    assert names(five) == [f"fusion.layers={m}" for m in range(1, 7)]
    assert {tuple(one.preset.extractors) for one in five.variants} == {(TEXT, AUDIO)}
    assert five.reference == "fusion.layers=5"


# --- the paper's figures -------------------------------------------------------------------

WHOLE = paper.Setting(paper.ALL, "m2fnet", encoders=1, layers=5, streams="both")


def test_figures_stand_beside_the_papers_settings_only() -> None:
    def f1(
        setting: paper.Setting, data: str = "meld", split: str = "test", count: int = 2610
    ) -> float | None:
        found = paper.printed(data, split, count, setting)
        return found and found.weighted_f1

    assert f1(WHOLE) == 66.71
    assert f1(replace(WHOLE, encoders=5), "iemocap", count=1622) == 69.86
    assert f1(WHOLE, "iemocap", count=1622) == 69.36  # N = 1, table 4
    assert f1(replace(WHOLE, encoders=6)) == 65.48
    assert f1(replace(WHOLE, layers=6)) == 65.32
    assert f1(replace(WHOLE, streams="face")) == 65.67
    assert f1(paper.Setting(frozenset({TEXT, AUDIO}), "concat", encoders=1)) == 66.32
    assert f1(paper.Setting(frozenset({AUDIO}), "concat", encoders=1)) == 39.63
    for other in (
        {"layers": 7},
        {"layers": 2, "encoders": 2},
        {"fusion": "late"},
        {"modalities": frozenset({TEXT, AUDIO})},
        {"streams": "face", "layers": 1},
    ):
        assert f1(replace(WHOLE, **other)) is None  # type: ignore[arg-type]
    assert f1(WHOLE, split="dev") is None
    assert f1(WHOLE, data="emorynlp") is None
    assert f1(WHOLE, count=1109) is None
    assert f1(WHOLE, count=2608) == 66.71  # without its two corrupt clips


def test_a_residual_path_is_not_the_papers_setting(registry: Registry) -> None:
    theirs, ours = preset(encoders=1, layers=5), preset(encoders=1, layers=5, residual=True)
    assert paper.printed("meld", "test", 2610, setting_of(theirs, registry)) is not None
    assert paper.printed("meld", "test", 2610, setting_of(ours, registry)) is None


def test_the_papers_tables_agree_with_one_another() -> None:
    """Its own system stands in tables 2 to 5 with the same figure."""
    for data in ("meld", "iemocap"):
        own = paper._FUSION[data][1]
        assert paper._STREAMS[data]["both"] == own
        assert paper._ENCODERS[data][paper.ENCODERS[data] - 1] == own == max(paper._ENCODERS[data])
        assert paper._LAYERS[data][paper.LAYERS[data] - 1] == own == max(paper._LAYERS[data])
        assert len(paper._CONCAT[data]) == 7
