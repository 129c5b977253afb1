"""Training of the fusion networks on small made-up dialogues, and the plugin that comes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import FusionJob, Labelled, Progress
from erc_cli.metrics import weighted_f1
from erc_cli.options import bind, schema
from erc_cli.registry import load_registry
from erc_cli.testing import check_fusion
from erc_cli.types import Conversation, Features, Head, Modality, Status, Utterance
from erc_fusion_m2fnet import build_m2fnet, erc_fusions
from erc_fusion_m2fnet.fusion import NetworkFusion, spans
from erc_fusion_m2fnet.inputs import dialogues_of, padding_waste

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
WIDTHS = {TEXT: 6, AUDIO: 4, VISUAL: 3}
SPECS = {spec.name: spec for spec in erc_fusions()}
SMALL: dict[str, Any] = {"attention_heads": 2, "feed_forward": 16, "hidden": 16, "dropout": 0.1, "batch": 8}
FAST = SMALL | {"epochs": 6, "lr": 5e-3, "average": 0.9}
Network = pytest.mark.parametrize("kind", ["m2fnet", "concat"])


def talk(n: int) -> Conversation:
    return Conversation(tuple(Utterance(i, i + 1, "so", "AB"[i % 2]) for i in range(n)))


def labelled(
    seed: int, dialogues: int = 40, modalities: Collection[Modality] = tuple(WIDTHS), absent: float = 0.1
) -> Labelled:
    """Text shifts its class by 2.5, sound and face by 1.2, in noise of deviation 1; some rows absent."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, dialogues)
    n = int(lengths.sum())
    targets = generator.choice(3, n, p=[0.5, 0.3, 0.2])
    made = {}
    for m in modalities:
        values = generator.normal(size=(n, WIDTHS[m])).astype(np.float32)
        values[np.arange(n), targets] += 2.5 if m is TEXT else 1.2
        present = generator.random(n) >= absent
        values[~present] = np.nan
        made[m] = Features(values, present, tuple(Status.OK if p else Status.NO_FACE for p in present))
    return Labelled(
        targets.astype(np.int64),
        np.repeat(np.arange(dialogues), lengths),
        tuple(talk(int(k)) for k in lengths),
        made,
    )


def job(
    folder: Path,
    *,
    modalities: tuple[Modality, ...] = tuple(WIDTHS),
    data: Mapping[str, Collection[Modality]] | None = None,
    report: Callable[[Progress], None] = lambda step: None,
    head: Head | None = None,
    change: Callable[[Labelled], Labelled] = lambda found: found,
) -> FusionJob:
    folder.mkdir(exist_ok=True)

    def read(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        assert split in ("train", "dev")
        found = labelled({"train": 0, "dev": 1}[split] + 10 * len(name), modalities=tuple(wanted))
        return change(found) if split == "dev" else found

    has = {"talks": modalities} if data is None else data
    return FusionJob(
        data={name: frozenset(given) for name, given in has.items()},
        labelled=read,
        heads=dict.fromkeys(modalities) | ({TEXT: head} if head else {}),
        labels=("a", "b", "c"),
        folder=folder,
        seed=3,
        report=report,
    )


def dialogue(data: Labelled, number: int) -> tuple[Conversation, dict[Modality, Features]]:
    rows = np.flatnonzero(data.dialogues == number)
    features = {
        m: Features(f.values[rows], f.present[rows], tuple(f.status[i] for i in rows))
        for m, f in data.features.items()
    }
    return data.conversations[number], features


def f1(fusion: NetworkFusion, data: Labelled, kept: Collection[Modality]) -> float:
    said = []
    for number, conversation in enumerate(data.conversations):
        _, features = dialogue(data, number)
        said.append(fusion.predict(conversation, {m: features[m] for m in kept}))
    return weighted_f1(data.targets, np.concatenate(said).argmax(axis=1), 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[FusionJob, Mapping[str, Any], NetworkFusion]:
    made = job(tmp_path_factory.mktemp("m2fnet"))
    train = SPECS["m2fnet"].train
    assert train is not None
    found = train(made, **(FAST | {"epochs": 25}), layers=2, modality_dropout=0.4)
    fusion = build_m2fnet(weights=made.folder / found.options["weights"])
    assert isinstance(fusion, NetworkFusion)
    return made, found.metrics, fusion


# --- the options ---------------------------------------------------------------------------


def test_the_signature_is_the_schema_of_options(tmp_path: Path) -> None:
    m2fnet, concat = SPECS["m2fnet"], SPECS["concat"]
    assert m2fnet.train is not None
    assert m2fnet.joint is not None
    assert concat.train is not None
    options = schema(m2fnet.train)
    assert {"layers", "encoders", "attention_heads", "width", "residual", "modality_dropout"} <= set(options)
    assert set(options) - set(schema(concat.train)) == {"layers"}
    assert set(schema(m2fnet.joint)) - set(options) == {"branch_weight"}
    assert options["layers"].default == 5
    assert options["layers"].type_name == "int of at least 1"
    _, wrong = bind(m2fnet.train, {"layers": 0, "dropout": "much", "width": None}, tmp_path)
    assert [c.option for c in wrong] == ["layers", "dropout"]


def test_both_are_registered() -> None:
    registry = load_registry()
    assert registry.fusion("m2fnet").joint is not None
    assert registry.fusion("concat").train is not None


# --- training ------------------------------------------------------------------------------


def test_it_learns_and_every_subset_works(
    trained: tuple[FusionJob, Mapping[str, Any], NetworkFusion],
) -> None:
    made, metrics, fusion = trained
    dev = made.labelled("talks", "dev", tuple(WIDTHS))
    whole = f1(fusion, dev, tuple(WIDTHS))
    assert whole > 85
    assert whole == pytest.approx(metrics["dev"]["text+audio+visual"]["weighted_f1"], abs=0.02)
    # Every tenth row has no words, or no sound: there the answer is the prior's 34.
    assert f1(fusion, dev, (TEXT,)) > 60
    assert f1(fusion, dev, (AUDIO,)) > 45
    assert len(metrics["dev"]) == len(metrics["temperatures"]) == 7
    assert metrics["dev"]["audio"]["weighted_f1"] < whole - 10
    assert metrics["dev"]["text+audio+visual"]["ece"] < 0.1
    assert (made.folder / "log-fusion.csv").exists()
    left = {path.name for path in made.folder.iterdir()}
    assert left == {"fusion.safetensors", "log-fusion.csv"}


def test_the_contract(trained: tuple[FusionJob, Mapping[str, Any], NetworkFusion]) -> None:
    made, _, fusion = trained
    dev = made.labelled("talks", "dev", tuple(WIDTHS))
    longest = int(np.bincount(dev.dialogues).argmax())
    conversation, features = dialogue(dev, longest)
    assert not all(f.present.all() for f in features.values())
    check_fusion(fusion, conversation, features, 3)
    alone = fusion.alone(conversation, AUDIO, features[AUDIO])
    np.testing.assert_array_equal(alone, fusion.predict(conversation, {AUDIO: features[AUDIO]}))


def test_absent_everywhere_is_dropped(trained: tuple[FusionJob, Mapping[str, Any], NetworkFusion]) -> None:
    made, _, fusion = trained
    conversation, features = dialogue(made.labelled("talks", "dev", tuple(WIDTHS)), 0)
    n = len(conversation.utterances)
    gone = replace(features[AUDIO], present=np.zeros(n, dtype=bool), status=(Status.SILENT,) * n)
    np.testing.assert_array_equal(
        fusion.predict(conversation, features | {AUDIO: gone}),
        fusion.predict(conversation, {m: features[m] for m in (TEXT, VISUAL)}),
    )


@pytest.mark.parametrize("n", [1, 2, 200])
def test_dialogues_of_one_utterance_and_of_200(
    trained: tuple[FusionJob, Mapping[str, Any], NetworkFusion], n: int
) -> None:
    _, _, fusion = trained
    generator = np.random.default_rng(0)
    features = {
        m: Features(generator.normal(size=(n, d)).astype(np.float32), np.ones(n, bool), (Status.OK,) * n)
        for m, d in WIDTHS.items()
    }
    found = fusion.predict(talk(n), features)
    assert found.shape == (n, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    if n == 200:  # read in windows of 128: its beginning does not hear of its end
        features[TEXT].values[199] += 50
        again = fusion.predict(talk(n), features)
        np.testing.assert_array_equal(again[:50], found[:50])
        assert not np.array_equal(again[190:], found[190:])


@pytest.mark.parametrize(
    ("count", "window"), [(1, 4), (4, 4), (5, 4), (200, 128), (1000, 128), (7, 2), (9, 3)]
)
def test_windows_answer_everything_once(count: int, window: int) -> None:
    found = list(spans(count, window))
    assert [i for _, _, first, last in found for i in range(first, last)] == list(range(count))
    assert all(begin <= first < last <= end for begin, end, first, last in found)
    assert all(end - begin <= window for begin, end, _, _ in found)


@Network
def test_equal_seeds_give_equal_bytes(kind: str, tmp_path: Path) -> None:
    train = SPECS[kind].train
    assert train is not None
    for name in ("a", "b"):
        train(job(tmp_path / name), **(FAST | {"epochs": 1}))
    assert (tmp_path / "a" / "fusion.safetensors").read_bytes() == (
        tmp_path / "b" / "fusion.safetensors"
    ).read_bytes()


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("at", [8, 18])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, at: int) -> None:
    """Also within the second of two networks: the first is not fitted again."""
    train = SPECS["m2fnet"].train
    assert train is not None
    options = FAST | {"epochs": 2, "ensemble": 2, "layers": 1}
    steps: list[str] = []
    train(job(tmp_path / "whole", report=lambda step: steps.append(step.stage)), **options)
    assert steps.count("fusion-1") == steps.count("fusion-2") == 10
    left = at

    def kill(step: Progress) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(job(tmp_path / "cut", report=kill), **options)
    assert not (tmp_path / "cut" / "fusion.safetensors").exists()
    later: list[str] = []
    train(job(tmp_path / "cut", report=lambda step: later.append(step.stage)), **options)
    assert len(later) < 20
    names = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert names == ["fusion.safetensors", "log-fusion-1.csv", "log-fusion-2.csv"]
    assert (tmp_path / "cut" / "fusion.safetensors").read_bytes() == (
        tmp_path / "whole" / "fusion.safetensors"
    ).read_bytes()


def test_the_residual_form_is_not_below_the_text_head(tmp_path: Path) -> None:
    """A head that finds the class by itself: after one careful epoch the fusion still answers as it does."""
    weight = np.eye(3, 6, dtype=np.float32) * 2
    head = Head(weight, np.zeros(3, np.float32), np.full(3, 1 / 3, np.float32))
    made = job(tmp_path, head=head)
    train = SPECS["m2fnet"].train
    assert train is not None
    options = SMALL | {"epochs": 1, "lr": 1e-5, "residual": True, "average": 0.0, "modality_dropout": 0.0}
    found = train(made, **options)
    fusion = NetworkFusion.load(tmp_path / "fusion.safetensors", "m2fnet")
    dev = made.labelled("talks", "dev", tuple(WIDTHS))
    words = dev.features[TEXT].present
    own = (dev.features[TEXT].values[words] @ head.weight.T).argmax(axis=1)
    said = np.concatenate(
        [fusion.predict(c, dialogue(dev, i)[1]) for i, c in enumerate(dev.conversations)]
    ).argmax(axis=1)
    assert (said[words] == own).mean() > 0.99
    assert found.metrics["dev"]["text"]["weighted_f1"] > 80


# --- refusals ------------------------------------------------------------------------------


@Network
def test_unpaired_data_is_refused(kind: str, tmp_path: Path) -> None:
    train = SPECS[kind].train
    assert train is not None
    made = job(tmp_path, data={"talks": tuple(WIDTHS), "faces": (VISUAL,)})
    with pytest.raises(UsageError, match="faces has no text and no audio") as raised:
        train(made, **FAST)
    assert "--set 'train.fusion.data=[talks]'" in str(raised.value)
    with pytest.raises(UsageError, match="talks has no visual") as raised:
        train(job(tmp_path, data={"talks": (TEXT, AUDIO)}), **FAST)
    assert "--drop visual" in str(raised.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_named_before_training(tmp_path: Path, bad: float) -> None:
    def spoil(data: Labelled) -> Labelled:
        data.features[AUDIO].present[7] = True
        data.features[AUDIO].values[7] = 0
        data.features[AUDIO].values[7, 2] = bad
        return data

    train = SPECS["concat"].train
    assert train is not None
    with pytest.raises(ErcError, match=r"talks, dev: .* audio hold (nan|inf) in row 7, column 2"):
        train(job(tmp_path, change=spoil), **FAST)
    assert list(tmp_path.iterdir()) == []


def test_no_labels_at_all_are_refused(tmp_path: Path) -> None:
    def erase(data: Labelled) -> Labelled:
        return replace(data, targets=np.full_like(data.targets, -1))

    train = SPECS["concat"].train
    assert train is not None
    with pytest.raises(UsageError, match="no labelled utterances in the dev split of talks"):
        train(job(tmp_path, change=erase), **FAST)


def test_residual_needs_a_head(tmp_path: Path) -> None:
    train = SPECS["m2fnet"].train
    assert train is not None
    with pytest.raises(UsageError, match="no classifier of its own"):
        train(job(tmp_path), **FAST, residual=True)
    with pytest.raises(UsageError, match="no text branch"):
        train(job(tmp_path, modalities=(AUDIO, VISUAL)), **FAST, residual=True)


def test_other_modalities_and_widths_are_refused(
    trained: tuple[FusionJob, Mapping[str, Any], NetworkFusion], tmp_path: Path
) -> None:
    made, _, fusion = trained
    _, features = dialogue(made.labelled("talks", "dev", tuple(WIDTHS)), 0)
    wide = Features(np.zeros((1, 9), np.float32), np.ones(1, bool), (Status.OK,))
    with pytest.raises(ErcError, match="learnt 4 features of audio, and was given 9"):
        fusion.predict(talk(1), {AUDIO: wide})
    train = SPECS["m2fnet"].train
    assert train is not None
    train(job(tmp_path, modalities=(TEXT, AUDIO)), **(FAST | {"epochs": 1}))
    two = NetworkFusion.load(tmp_path / "fusion.safetensors", "m2fnet")
    with pytest.raises(ErcError, match="trained without visual"):
        two.predict(talk(1), {VISUAL: features[VISUAL]})
    with pytest.raises(ErcError, match=r"erc\.m2fnet/1 weights, expected erc\.concat/1"):
        NetworkFusion.load(tmp_path / "fusion.safetensors", "concat")


# --- odd data ------------------------------------------------------------------------------


def test_unlabelled_utterances_are_context_only(tmp_path: Path) -> None:
    """Targets of -1 are neither learnt nor scored; a class without any example does no harm."""

    def hide(data: Labelled) -> Labelled:
        targets = np.where(data.targets == 2, -1, data.targets)
        return replace(data, targets=targets)

    train = SPECS["m2fnet"].train
    assert train is not None
    made = job(tmp_path, modalities=(TEXT, AUDIO))
    hidden = replace(made, labelled=lambda *asked: hide(made.labelled(*asked)))
    found = train(hidden, **(FAST | {"balance": 1.0, "layers": 1, "epochs": 20}))
    assert found.metrics["dev"]["text+audio"]["weighted_f1"] > 85


def test_dialogues_need_not_be_in_one_piece() -> None:
    data = labelled(0, dialogues=6)
    order = np.argsort(np.arange(len(data.targets)) % 3, kind="stable")
    mixed = Labelled(
        data.targets[order],
        data.dialogues[order],
        data.conversations,
        {
            m: Features(f.values[order], f.present[order], tuple(f.status[i] for i in order))
            for m, f in data.features.items()
        },
    )
    assert [len(d) for d in dialogues_of(mixed, "x")] == [len(d) for d in dialogues_of(data, "x")]


def test_padding_waste_is_small() -> None:
    """Lengths as in MELD: 1 to 24, most of them about 10."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.gamma(2.6, 3.7, 1038).astype(int) + 1, 1, 24)
    n = int(lengths.sum())
    data = Labelled(
        np.zeros(n, np.int64), np.repeat(np.arange(1038), lengths), tuple(talk(int(k)) for k in lengths), {}
    )
    assert padding_waste(dialogues_of(data, "x"), 16, 0) < 0.15
