"""Features of one fit in the coordinates of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from erc_cli.alignment import carry
from erc_cli.crossfit import CrossFit, out_of_fold
from erc_cli.learning import Split, Trained, TrainJob
from erc_cli.registry import load_registry
from erc_cli.types import Conversation, Features, Status, Utterance

Matrix = NDArray[np.float64]

DIM = 12


def features(values: Matrix, present: list[bool] | None = None) -> Features:
    here = np.ones(len(values), bool) if present is None else np.array(present)
    status = tuple(Status.OK if p else Status.NO_FACE for p in here)
    return Features(values.astype(np.float32), here, status)


def known(count: int, seed: int = 0) -> Matrix:
    """What there is to know of `count` utterances."""
    return np.random.default_rng(seed).normal(size=(count, DIM))


def seen_by(number: int, facts: Matrix, noise: float = 0.0) -> Matrix:
    """The facts in the coordinates of fit `number`, some of them lost in noise."""
    generator = np.random.default_rng(100 + number)
    turned, _ = np.linalg.qr(generator.normal(size=(DIM, DIM)))
    begins = generator.normal(size=DIM)
    values: Matrix = facts @ turned + begins + noise * generator.normal(size=facts.shape)
    return values


def test_turned_features_are_turned_back() -> None:
    dev, rows = known(80), known(30, 1)
    found = carry(features(seen_by(1, rows)), features(seen_by(1, dev)), features(seen_by(2, dev)))
    assert np.abs(found.values - seen_by(2, rows)).max() < 1e-2
    assert found.values.dtype == np.float32


def test_noise_is_held_down_where_examples_are_few() -> None:
    dev, rows = known(15), known(200, 1)
    x, y = features(seen_by(1, dev, 1.0)), features(seen_by(2, dev))
    found = carry(features(seen_by(1, rows, 1.0)), x, y)
    wanted = seen_by(2, rows)
    plain = np.linalg.lstsq(np.c_[x.values, np.ones(15)], y.values, rcond=None)[0]
    unheld = np.c_[seen_by(1, rows, 1.0), np.ones(200)] @ plain
    of_mean = np.square(wanted - y.values.mean(0)).mean()
    assert np.square(found.values - wanted).mean() < min(of_mean, np.square(unheld - wanted).mean())


def test_only_what_both_have_tells_and_absent_rows_stay_absent() -> None:
    dev, rows = known(60), known(3, 1)
    x, y = seen_by(1, dev), seen_by(2, dev)
    x[:5], y[5:9] = 1e6, -1e6
    here = [True] * 60
    seen = features(x, [False] * 5 + here[5:])
    wanted = features(y, here[:5] + [False] * 4 + here[9:])
    found = carry(features(seen_by(1, rows), [True, False, True]), seen, wanted)
    assert found.present.tolist() == [True, False, True]
    assert found.status[1] is Status.NO_FACE
    assert np.abs(found.values[[0, 2]] - seen_by(2, rows)[[0, 2]]).max() < 1e-2
    assert not found.values[1].any()


@pytest.mark.parametrize("common", [0, 1])
def test_without_common_utterances_there_is_no_map(common: int) -> None:
    dev = known(4)
    seen = features(dev, [True] * common + [False] * (4 - common))
    found = carry(features(known(2, 1)), seen, features(np.zeros((4, 5))))
    assert found.values.shape == (2, 5)
    assert not found.present.any()


def test_constant_columns_and_fewer_examples_than_columns() -> None:
    x = known(6)
    x[:, 0] = 3.0
    found = carry(features(x), features(x), features(seen_by(2, x)))
    assert np.isfinite(found.values).all()


# --- in cross-fitting ----------------------------------------------------------------------


def split_of(name: str, first: int, dialogues: int) -> Split:
    talks = tuple(
        Conversation(tuple(Utterance(i, i + 1, f"{first + 3 * d + i}") for i in range(3)), id=f"{name}{d}")
        for d in range(dialogues)
    )
    return Split(name, ("a", "b"), "0", talks, targets=((0, 1, 0),) * dialogues)


SPLITS = {"train": split_of("train", 0, 10), "dev": split_of("dev", 30, 20)}
FACTS = known(90)


def plan_of(folder: Path, *, aligned: bool) -> CrossFit:
    def rows(split: Split) -> list[int]:
        return [int(u.text) for c in split.conversations for u in c.utterances]

    def fit(job: TrainJob) -> Trained:
        return Trained({"number": int(job.folder.name.removeprefix("fold-"))}, {})

    def said(trained: Trained, _: Path, split: Split) -> Features:
        return features(seen_by(trained.options["number"], FACTS[rows(split)]))

    job = TrainJob(lambda _, split: SPLITS[split], ("d",), ("a", "b"), folder, 0, lambda _: None, folder)
    plan = CrossFit(job, "d", 3, fit, said)
    return replace(plan, dev=lambda: features(seen_by(9, FACTS[30:90]))) if aligned else plan


def test_folds_are_brought_into_the_coordinates_of_the_branch_that_is_used(tmp_path: Path) -> None:
    wanted = seen_by(9, FACTS[:30])
    found = out_of_fold(plan_of(tmp_path, aligned=True))
    assert found.values.shape == wanted.shape
    assert np.abs(found.values - wanted).max() < 1e-2
    # Folds of an earlier version have nothing to align them by: they are made anew, under another name.
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"fold-{k}-and-dev.safetensors" for k in (1, 2, 3)]


def test_without_it_every_fold_stays_in_its_own(tmp_path: Path) -> None:
    found = out_of_fold(plan_of(tmp_path, aligned=False))
    assert np.abs(found.values - seen_by(9, FACTS[:30])).max() > 1


def test_branches_that_begin_at_random_say_so() -> None:
    registry = load_registry()
    assert registry.extractor("mel").own_space
    assert not registry.extractor("minilm").own_space
