"""The late pool against numbers worked out by hand, and what a fusion must keep to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erc_cli.errors import ErcError
from erc_cli.learning import FusionJob, Labelled
from erc_cli.testing import check_fusion
from erc_cli.types import Conversation, Features, Head, Modality, Status, Utterance
from erc_fusion_late import train
from erc_fusion_late.pool import LatePool, PoolHead

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
PRIOR = np.array([0.5, 0.25, 0.25], dtype=np.float32)
FLAT = np.full(3, 1 / 3, dtype=np.float32)


def identity_head(prior: np.ndarray, weight: float = 1.0, temperature: float = 1.0) -> PoolHead:
    """Logits are the values themselves."""
    eye, zero = np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32)
    return PoolHead(zero, np.ones(3, dtype=np.float32), 1e9, (((eye, zero),),), prior, temperature, weight)


def features(rows: list[list[float] | None]) -> Features:
    values = np.array([row or [0.0] * 3 for row in rows], dtype=np.float32)
    present = np.array([row is not None for row in rows])
    return Features(values, present, tuple(Status.OK if p else Status.NO_FACE for p in present))


def talk(n: int) -> Conversation:
    return Conversation(tuple(Utterance(i, i + 1, "x") for i in range(n)))


POOL = LatePool({TEXT: identity_head(PRIOR), VISUAL: identity_head(FLAT, weight=0.5)}, PRIOR)


def test_one_modality_with_the_same_prior_says_its_own_opinion() -> None:
    row = [0.2, 1.0, -0.3]
    expected = np.exp(row) / np.exp(row).sum()
    np.testing.assert_allclose(POOL.predict(talk(1), {TEXT: features([row])})[0], expected, rtol=1e-5)
    np.testing.assert_allclose(POOL.alone(talk(1), TEXT, features([row]))[0], expected, rtol=1e-5)


def test_two_modalities_by_hand() -> None:
    found = POOL.predict(talk(1), {TEXT: features([[0, 0, 0]]), VISUAL: features([[0, 2, 0]])})[0]
    # π · (p_text / π) · (p_visual / flat)^0.5 is proportional to 1, e^1, 1
    expected = np.array([1, np.e, 1]) / (2 + np.e)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_missing_modality_changes_nothing() -> None:
    text = features([[0.2, 1.0, -0.3], [1, 0, 0]])
    face = features([None, [0, 3, 0]])
    both, alone = POOL.predict(talk(2), {TEXT: text, VISUAL: face}), POOL.predict(talk(2), {TEXT: text})
    np.testing.assert_array_equal(both[0], alone[0])
    assert both[1, 1] > alone[1, 1]


def test_with_nothing_the_answer_is_the_prior() -> None:
    np.testing.assert_allclose(POOL.predict(talk(2), {}), [PRIOR, PRIOR], rtol=1e-6)
    np.testing.assert_allclose(POOL.predict(talk(1), {VISUAL: features([None])}), [PRIOR], rtol=1e-6)


def test_the_contract() -> None:
    given = {
        TEXT: features([[0.2, 1.0, -0.3], [1, 0, 0], [0, 0, 9]]),
        VISUAL: features([None, [0, 3, 0], None]),
    }
    check_fusion(POOL, talk(3), given, 3)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    POOL.save(tmp_path / "fusion.safetensors")
    again = LatePool.load(tmp_path / "fusion.safetensors")
    given = {TEXT: features([[0.2, 1.0, -0.3]]), VISUAL: features([[1, 2, 3]])}
    np.testing.assert_array_equal(again.predict(talk(1), given), POOL.predict(talk(1), given))


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fusion.safetensors"
    path.write_bytes(content)
    with pytest.raises(ErcError, match=r"fusion\.safetensors"):
        LatePool.load(path)


def test_a_modality_it_never_learnt_is_an_error() -> None:
    with pytest.raises(ErcError, match="without audio") as raised:
        POOL.predict(talk(1), {AUDIO: features([[0, 0, 0]])})
    assert "--drop audio" in str(raised.value)


def test_features_of_another_width_are_refused() -> None:
    wide = Features(np.zeros((1, 5), np.float32), np.array([True]), (Status.OK,))
    with pytest.raises(ErcError, match="learnt 3 features of text, and was given 5"):
        POOL.predict(talk(1), {TEXT: wide})


def labelled(seed: int, n: int, *, paired: bool) -> Labelled:
    """Text shifts its class by 2, sound by 1, in noise of deviation 1."""
    generator = np.random.default_rng(seed)
    targets = generator.choice(3, n, p=PRIOR)
    made = {}
    for modality, strength in ((TEXT, 2.0), (AUDIO, 1.0)) if paired else ((VISUAL, 2.0),):
        values = generator.normal(size=(n, 3)).astype(np.float32)
        values[np.arange(n), targets] += strength
        made[modality] = Features(values, np.ones(n, dtype=bool), (Status.OK,) * n)
    talks = tuple(talk(5) for _ in range(n // 5))
    return Labelled(targets.astype(np.int64), np.arange(n) // 5, talks, made)


def test_training_calibrates_and_finds_the_weights(tmp_path: Path) -> None:
    """Independent evidence is best simply added up: both weights near 1. An overconfident head is
    cooled down."""
    data = {
        "paired": {"train": labelled(0, 1500, paired=True), "dev": labelled(1, 1500, paired=True)},
        "faces": {"train": labelled(2, 300, paired=False), "dev": labelled(3, 300, paired=False)},
    }
    bold = Head(6 * np.eye(3, dtype=np.float32), 3 * np.log(PRIOR).astype(np.float32), PRIOR)
    steps: list[str] = []
    asked: list[tuple[str, str, str]] = []

    def get(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        asked.extend((name, split, str(m)) for m in wanted)
        found = data[name][split]
        return replace(found, features={m: found.features[m] for m in Modality if m in wanted})

    job = FusionJob(
        data={name: frozenset(splits["train"].features) for name, splits in data.items()},
        labelled=get,
        heads={TEXT: bold, AUDIO: None, VISUAL: None},
        labels=("a", "b", "c"),
        folder=tmp_path,
        seed=0,
        report=lambda step: steps.append(step.note),
    )
    trained = train(job, unpaired_weight=0.4, epochs=15, ensemble=1)
    heads = trained.metrics["heads"]
    assert heads["text"]["temperature"] == pytest.approx(3, abs=0.5)
    assert 0.8 <= heads["text"]["weight"] <= 1.2
    assert 0.7 <= heads["audio"]["weight"] <= 1.3
    assert heads["visual"]["weight"] == 0.4
    figures = trained.metrics["dev"]["paired"]
    assert figures["text+audio"]["log_loss"] < figures["text"]["log_loss"] - 0.02
    assert figures["text+audio"]["ece"] < 0.05
    pool = LatePool.load(tmp_path / trained.options["weights"])
    assert set(pool.heads) == {TEXT, AUDIO, VISUAL}
    assert "head of audio" in steps
    assert ("paired", "train", "audio") in asked
    assert ("paired", "train", "text") not in asked  # it has a head of its own: hours are saved
