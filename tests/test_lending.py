"""Features lent by label, and the network over three branches that is trained with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import FusionJob, Labelled
from erc_cli.metrics import weighted_f1
from erc_cli.types import Conversation, Features, Head, Modality, Status, Utterance
from erc_fusion_m2fnet import build_m2fnet, erc_fusions
from erc_fusion_m2fnet.data import read_material
from erc_fusion_m2fnet.inputs import Dialogue
from erc_fusion_m2fnet.lending import Lender, expected_f1, find_reliability, lending

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
PRIOR = np.array([0.5, 0.3, 0.2])
SPECS = {spec.name: spec for spec in erc_fusions()}
# what Bayes' rule says of `faces`: log p(x|c) is 1.5 times column c, but for what all classes share
HEAD = Head(1.5 * np.eye(3, 4, dtype=np.float32), np.zeros(3, np.float32), np.full(3, 1 / 3, np.float32))


def faces(n: int, seed: int = 0, classes: int = 3) -> Labelled:
    """Pictures: column c of their 4 features is 1.5 higher in class c; every row is unlike the others."""
    generator = np.random.default_rng(seed)
    targets = np.arange(n) % classes
    values = generator.normal(size=(n, 4)).astype(np.float32)
    values[np.arange(n), targets] += 1.5
    shown = Features(values, np.ones(n, dtype=bool), (Status.OK,) * n)
    alone = Conversation((Utterance(0, 0, ""),))
    return Labelled(targets, np.arange(n), (alone,) * n, {VISUAL: shown})


def talks(seed: int, modalities: Collection[Modality]) -> Labelled:
    """Dialogues of four: text and sound shift the column of their class."""
    generator = np.random.default_rng(seed)
    n = 240
    targets = generator.choice(3, n, p=PRIOR)
    made = {}
    for m in modalities:
        values = generator.normal(size=(n, 4)).astype(np.float32)
        values[np.arange(n), targets] += 2.0 if m is TEXT else 1.0
        made[m] = Features(values, np.ones(n, dtype=bool), (Status.OK,) * n)
    talk = Conversation(tuple(Utterance(i, i + 1, "so") for i in range(4)))
    return Labelled(targets, np.repeat(np.arange(60), 4), (talk,) * 60, made)


def job(folder: Path, head: Head | None = HEAD, pictures: Labelled | None = None) -> FusionJob:
    folder.mkdir(exist_ok=True)

    def read(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        if name == "talks":
            return talks({"train": 1, "dev": 2}[split], wanted)
        assert split == "dev", "the branch was fitted to the pictures of train"
        assert list(wanted) == [VISUAL]
        return pictures or faces(600)

    return FusionJob(
        data={"talks": frozenset({TEXT, AUDIO}), "faces": frozenset({VISUAL})},
        labelled=read,
        heads={TEXT: None, AUDIO: None, VISUAL: head},
        labels=("a", "b", "c"),
        folder=folder,
        seed=3,
        report=lambda step: None,
    )


def lender(reliability: float) -> Lender:
    data = faces(300)
    return Lender(VISUAL, data.features[VISUAL].values, data.targets, PRIOR, reliability)


# --- who lends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"talks": {TEXT, AUDIO}, "faces": {VISUAL}}, {VISUAL: "faces"}),
        ({"talks": {TEXT}, "faces": {VISUAL}, "voices": {AUDIO}}, {AUDIO: "voices", VISUAL: "faces"}),
        ({"talks": {TEXT, AUDIO, VISUAL}, "faces": {VISUAL}}, {}),
        ({"talks": {TEXT, AUDIO}, "films": {AUDIO, VISUAL}}, {}),
    ],
)
def test_only_what_no_data_set_pairs_with_words_is_lent(
    data: Mapping[str, set[Modality]], found: Mapping[Modality, str]
) -> None:
    assert lending({n: frozenset(has) for n, has in data.items()}, (TEXT, AUDIO, VISUAL)) == found


# --- what is lent --------------------------------------------------------------------------


@pytest.mark.parametrize("reliability", [0.0, 0.4, 1.0])
def test_so_many_rows_have_the_label_of_the_utterance(reliability: float) -> None:
    lent, data = lender(reliability), faces(300)
    targets = np.tile([2, 0, 0, 1], 2000)
    parts = [Dialogue({}, targets[:5000]), Dialogue({}, targets[5000:])]
    given = lent.lend(parts, np.random.default_rng(0))
    assert [len(one.features[VISUAL].values) for one in given] == [5000, 3000]
    rows = np.concatenate([one.features[VISUAL].values for one in given])
    place = {row.tobytes(): i for i, row in enumerate(data.features[VISUAL].values)}
    labels = data.targets[[place[row.tobytes()] for row in rows]]
    by_chance = PRIOR[targets].mean()
    assert (labels == targets).mean() == pytest.approx(reliability + (1 - reliability) * by_chance, abs=0.02)


def test_an_utterance_without_label_is_given_any_row() -> None:
    unlabelled = Dialogue({}, np.full(4000, -1))
    rows = lender(1.0).lend([unlabelled], np.random.default_rng(0))[0].features[VISUAL].values
    data = faces(300)
    place = {row.tobytes(): i for i, row in enumerate(data.features[VISUAL].values)}
    labels = data.targets[[place[row.tobytes()] for row in rows]]
    assert np.bincount(labels) / len(labels) == pytest.approx(PRIOR, abs=0.03)


def test_the_reliability_gives_the_score() -> None:
    """Checked by lending to many utterances, and asking for each what the densities make most probable."""
    data = faces(900)
    values, target = data.features[VISUAL].values, 50.0
    reliability = find_reliability(HEAD, values, data.targets, PRIOR, target)
    assert 0.1 < reliability < 0.9
    targets = np.random.default_rng(0).choice(3, 40000, p=PRIOR)
    lent = Lender(VISUAL, values, data.targets, PRIOR, reliability)
    rows = lent.lend([Dialogue({}, targets)], np.random.default_rng(1))[0].features[VISUAL].values
    distances = ((rows[:, None] - 1.5 * np.eye(3, 4)) ** 2).sum(axis=2)
    given = np.exp(-distances / 2)  # p(x|c), but for a constant
    anyone = given @ PRIOR
    said = (PRIOR * ((1 - reliability) * anyone[:, None] + reliability * given)).argmax(axis=1)
    assert weighted_f1(targets, said, 3) == pytest.approx(target, abs=1.5)


def test_reliability_at_its_ends() -> None:
    data = faces(300)
    values = data.features[VISUAL].values
    assert find_reliability(HEAD, values, data.targets, PRIOR, 0.0) == 0.0
    with pytest.raises(UsageError, match=r"lent features alone reach \d\d\.\d at most, not 99") as caught:
        find_reliability(HEAD, values, data.targets, PRIOR, 99.0)
    most = float(str(caught.value.hint).split("=")[-1])
    assert find_reliability(HEAD, values, data.targets, PRIOR, most) > 0.9
    always_first = np.zeros(300, dtype=np.int64)
    assert expected_f1(always_first, data.targets, PRIOR, 0.5) == pytest.approx(100 * 0.5 * 2 / 3, abs=0.01)


# --- training ------------------------------------------------------------------------------


def test_train_and_dev_borrow_from_different_rows(tmp_path: Path) -> None:
    material = read_material(job(tmp_path / "run"), (TEXT, AUDIO, VISUAL), "m2fnet", 45.0)
    seen, asked = (
        {row.tobytes() for one in dialogues for row in one.features[VISUAL].values}
        for dialogues in (material.train, material.dev)
    )
    assert len(seen) > 50
    assert len(asked) > 50
    assert not seen & asked
    again = read_material(job(tmp_path / "run"), (TEXT, AUDIO, VISUAL), "m2fnet", 45.0)
    assert all(
        np.array_equal(a.features[VISUAL].values, b.features[VISUAL].values)
        for a, b in zip(material.dev, again.dev, strict=True)
    )


@pytest.mark.parametrize("kind", ["m2fnet", "concat"])
def test_a_network_over_three_branches_one_of_them_lent(tmp_path: Path, kind: str) -> None:
    made, train = job(tmp_path / "run"), SPECS[kind].train
    assert train is not None
    small = {"attention_heads": 2, "feed_forward": 16, "hidden": 16, "dropout": 0.1, "batch": 8}
    found = train(made, **small, epochs=20, lr=5e-3, average=0.9, modality_dropout=0.4, lent_f1=50.0)
    dev = found.metrics["dev"]
    assert len(dev) == 7
    assert 0.1 < found.metrics["reliability"]["visual"] < 0.9
    assert dev["visual"]["weighted_f1"] > 40  # always the first label: 33
    assert dev["text+audio"]["weighted_f1"] > 65
    assert dev["text+audio+visual"]["weighted_f1"] > 65
    if kind == "m2fnet":
        fusion = build_m2fnet(weights=made.folder / found.options["weights"])
        one = talks(2, (TEXT,))
        alone = {TEXT: Features(one.features[TEXT].values[:4], np.ones(4, dtype=bool), (Status.OK,) * 4)}
        assert fusion.predict(one.conversations[0], alone).shape == (4, 3)


def test_a_branch_without_a_classifier_cannot_be_lent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no classifier of its own") as caught:
        read_material(job(tmp_path / "run", head=None), (TEXT, AUDIO, VISUAL), "m2fnet", 45.0)
    assert "--drop visual" in str(caught.value.hint)


def test_two_cannot_lend_the_same() -> None:
    both = {"talks": frozenset({TEXT}), "faces": frozenset({VISUAL}), "more": frozenset({VISUAL})}
    with pytest.raises(UsageError, match="faces and more both have visual to lend") as caught:
        lending(both, (TEXT, VISUAL))
    assert "train.fusion.data=[talks, faces]" in str(caught.value.hint)


@pytest.mark.parametrize("row", range(4))
def test_a_feature_that_is_no_number_is_found_before_training(tmp_path: Path, row: int) -> None:
    bad = faces(600)
    bad.features[VISUAL].values[row, 1] = np.nan
    with pytest.raises(ErcError, match=f"faces, dev: the features of visual hold nan in row {row}"):
        read_material(job(tmp_path / "run", pictures=bad), (TEXT, AUDIO, VISUAL), "m2fnet", 45.0)


def test_a_class_without_rows_cannot_be_lent(tmp_path: Path) -> None:
    made = job(tmp_path / "run", pictures=faces(100, classes=2))
    with pytest.raises(UsageError, match="fewer than two examples of c"):
        read_material(made, (TEXT, AUDIO, VISUAL), "m2fnet", 45.0)
