"""Features for the fusion never come from a branch that saw their labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erc_cli.crossfit import CrossFit, deal, lacking, one_fold, out_of_fold, pick, remember
from erc_cli.learning import Progress, Source, Split, Trained, TrainJob
from erc_cli.types import Conversation, Encoded, Features, Status, Utterance

SIZES = (3, 1, 4, 2, 5, 2, 3)


def split_of(sizes: tuple[int, ...] = SIZES) -> Split:
    talks = tuple(
        Conversation(tuple(Utterance(i, i + 1, f"{d}-{i}") for i in range(n)), id=f"d{d}")
        for d, n in enumerate(sizes)
    )
    rows = tuple(
        tuple(Encoded(np.array([d], dtype=np.float32)) for _ in range(n)) for d, n in enumerate(sizes)
    )
    return Split(
        "train",
        ("a", "b"),
        "0",
        talks,
        targets=tuple((0,) * n for n in sizes),
        shares=np.repeat(np.arange(len(sizes), dtype=np.float32), sizes)[:, None],
        ready={"x": rows},
        sources=tuple((Source(Path(f"{d}.wav")),) * n for d, n in enumerate(sizes)),
        ids=tuple(tuple(f"dia{d}_utt{i}" for i in range(n)) for d, n in enumerate(sizes)),
    )


def names(split: Split) -> list[str]:
    return [c.id for c in split.conversations]


def job_in(folder: Path, whole: Split, reports: list[Progress] | None = None) -> TrainJob:
    said = [] if reports is None else reports
    return TrainJob(lambda *_: whole, ("d",), ("a", "b"), folder, 3, said.append, folder)


class Branch:
    """Notes what it was fitted on; its features of a row are the number of times it saw that dialogue."""

    def __init__(self) -> None:
        self.fits: list[list[str]] = []
        self.fail_at: int | None = None

    def fit(self, job: TrainJob) -> Trained:
        if self.fail_at == len(self.fits):
            raise KeyboardInterrupt
        self.fits.append(names(job.read("d", "train")))
        assert names(job.read("d", "dev")) == names(split_of())  # only the train split is reduced
        (job.folder / "weights").write_text(",".join(self.fits[-1]))
        job.report(Progress("text", 1, 1, "epoch 1/1"))
        return Trained({"weights": "weights"}, {})

    def features(self, trained: Trained, folder: Path, part: Split) -> Features:
        seen = (folder / trained.options["weights"]).read_text().split(",")
        rows = [
            (seen.count(c.id), int(u.text.replace("-", ""))) for c in part.conversations for u in c.utterances
        ]
        return Features(np.array(rows, dtype=np.float32), np.ones(len(rows), bool), (Status.OK,) * len(rows))


def plan_of(branch: Branch, job: TrainJob) -> CrossFit:
    return CrossFit(job, "d", 3, branch.fit, branch.features)


def test_every_dialogue_is_dealt_once() -> None:
    dealt = deal(23, 5, seed=1)
    assert sorted(i for fold in dealt for i in fold) == list(range(23))
    assert {len(fold) for fold in dealt} == {4, 5}
    assert deal(23, 5, seed=1) == dealt
    assert deal(23, 5, seed=2) != dealt
    assert len(deal(3, 5, seed=0)) == 3


def test_no_row_comes_from_a_branch_that_saw_it(tmp_path: Path) -> None:
    branch = Branch()
    reports: list[Progress] = []
    found = out_of_fold(plan_of(branch, job_in(tmp_path, split_of(), reports)))
    assert found.values[:, 0].tolist() == [0.0] * sum(SIZES)
    whole = [int(u.text.replace("-", "")) for c in split_of().conversations for u in c.utterances]
    assert found.values[:, 1].tolist() == whole  # every row is its own utterance's
    assert len(branch.fits) == 3
    assert reports[0].note == "fold 1/3: epoch 1/1"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"fold-{k}.safetensors" for k in (1, 2, 3)]


def test_a_run_that_was_cut_off_goes_on_with_its_fold(tmp_path: Path) -> None:
    branch = Branch()
    plan = plan_of(branch, job_in(tmp_path, split_of()))
    branch.fail_at = 2
    with pytest.raises(KeyboardInterrupt):
        out_of_fold(plan)
    assert lacking(plan) == [2]
    branch.fail_at = None
    found = out_of_fold(plan)
    assert len(branch.fits) == 3
    assert not found.values[:, 0].any()


def test_folds_made_one_by_one_in_any_order_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plans = [plan_of(Branch(), job_in(tmp_path / name, split_of())) for name in "ab"]
    for k in (2, 0, 1):
        one_fold(plans[0], k)
    assert lacking(plans[0]) == []
    assert out_of_fold(plans[0]).values.tolist() == out_of_fold(plans[1]).values.tolist()


def test_pick_takes_everything_of_a_dialogue() -> None:
    part = pick(split_of(), [2, 0])
    assert names(part) == ["d2", "d0"]
    assert [len(t) for t in part.targets] == [4, 3]
    assert part.shares is not None
    assert part.shares[:, 0].tolist() == [2, 2, 2, 2, 0, 0, 0]
    assert [len(r) for r in part.ready["x"]] == [4, 3]
    assert part.sources[0][0] == Source(Path("2.wav"))
    assert [row[0] for row in part.ids] == ["dia2_utt0", "dia0_utt0"]
    assert pick(replace(split_of(), shares=None, sources=()), [1]).sources == ()


def test_kept_features_are_what_was_made(tmp_path: Path) -> None:
    made = Features(
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.array([True, False, True]),
        (Status.OK, Status.NO_FACE, Status.OK),
    )
    remember(tmp_path / "a" / "f.safetensors", lambda: made)
    again = remember(tmp_path / "a" / "f.safetensors", lambda: pytest.fail("computed twice"))
    assert again.values.tolist() == made.values.tolist()
    assert again.present.tolist() == made.present.tolist()
    assert again.status == made.status
