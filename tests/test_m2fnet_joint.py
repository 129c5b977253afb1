"""Branches and fusion fitted together, with a tiny branch that reads numbers out of the words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erc_cli.errors import ErcError
from erc_cli.learning import FusionJob, JointBranch, JointJob, Labelled, Progress, Split
from erc_cli.types import Conversation, Features, Modality, Status, Utterance
from erc_fusion_m2fnet import erc_fusions
from erc_fusion_m2fnet.fusion import NetworkFusion

TEXT, AUDIO = Modality.TEXT, Modality.AUDIO
SPECS = {spec.name: spec for spec in erc_fusions()}
OPTIONS: dict[str, Any] = {
    "attention_heads": 2,
    "feed_forward": 16,
    "hidden": 16,
    "dropout": 0.1,
    "batch": 6,
    "epochs": 10,
    "lr": 5e-3,
    "average": 0.9,
}


class Words(nn.Module):
    """Numbers in the words [n, 3] -> features [n, 8] -> logits [n, 3]."""

    def __init__(self, *, bent: bool = False) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(3, 8), nn.Linear(8, 3)
        self.dropout, self.bent = nn.Dropout(0.1), bent

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(x).tanh()
        logits = self.head(self.dropout(features))
        return features, logits.pow(3) if self.bent else logits


class Branch:
    """What a text extractor's `joint` returns."""

    def __init__(self, *, bent: bool = False) -> None:
        torch.manual_seed(7)
        self.words, self.asked, self.gradients = Words(bent=bent), 0, 0

    @property
    def network(self) -> nn.Module:
        return self.words

    @property
    def dim(self) -> int:
        return 8

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.words.parameters()), "lr": 2e-2, "weight_decay": 0.0}]

    def inputs(self, conversation: Conversation) -> object:
        self.asked += 1
        rows = [[float(x) for x in u.text.split()] or [0.0] * 3 for u in conversation.utterances]
        return torch.tensor(rows)

    def forward(self, batch: Sequence[object]) -> tuple[Tensor, Tensor]:
        rows = torch.cat([one for one in batch if isinstance(one, Tensor)])
        self.gradients += torch.is_grad_enabled()
        made: tuple[Tensor, Tensor] = self.words(rows)
        return made

    def save(self, folder: Path, prior: np.ndarray) -> Mapping[str, Any]:
        raise NotImplementedError


def split(name: str) -> tuple[Split, Features]:
    """Words that tell the class, and sound that tells it less; some utterances without words."""
    generator = np.random.default_rng(["train", "dev"].index(name))
    conversations, targets, sound = [], [], []
    for _ in range(30):
        k = int(generator.integers(1, 8))
        y = generator.integers(0, 3, k)
        x = generator.normal(size=(k, 3)) + 2 * np.eye(3)[y]
        silent = generator.random(k) < 0.1
        words = ["" if s else " ".join(f"{v:.3f}" for v in row) for s, row in zip(silent, x, strict=True)]
        conversations.append(Conversation(tuple(Utterance(i, i + 1, w) for i, w in enumerate(words))))
        targets.append(tuple(int(t) for t in y))
        sound.append(generator.normal(size=(k, 4)) + np.eye(3, 4)[y])
    values = np.concatenate(sound).astype(np.float32)
    n = len(values)
    features = Features(values, np.ones(n, bool), (Status.OK,) * n)
    made = Split(name, ("a", "b", "c"), "", tuple(conversations), tuple(targets))
    return made, features


def job(
    folder: Path,
    branch: JointBranch,
    *,
    others: tuple[Modality, ...] = (AUDIO,),
    report: Callable[[Progress], None] = lambda step: None,
) -> JointJob:
    folder.mkdir(exist_ok=True)

    def labelled(name: str, part: str, wanted: Collection[Modality]) -> Labelled:
        assert tuple(wanted) == others
        found, features = split(part)
        targets = np.array([t for row in found.targets for t in row], dtype=np.int64)
        dialogues = np.repeat(np.arange(len(found.targets)), [len(row) for row in found.targets])
        return Labelled(targets, dialogues, found.conversations, {AUDIO: features})

    fusion = FusionJob(
        data={"talks": frozenset(others)},
        labelled=labelled,
        heads={TEXT: None, **dict.fromkeys(others)},
        labels=("a", "b", "c"),
        folder=folder,
        seed=0,
        report=report,
    )
    return JointJob(fusion, {TEXT: branch}, lambda name, part: split(part)[0])


def run(kind: str, made: JointJob, **options: Any) -> Mapping[str, Any]:
    joint = SPECS[kind].joint
    assert joint is not None
    trained = joint(made, **(OPTIONS | options))
    assert trained.options == {"weights": "fusion.safetensors"}
    return trained.metrics


@torch.inference_mode()
def own_answers(branch: Branch, fusion: NetworkFusion, *, fused: bool) -> float:
    """Share of right answers on dev with what is left in the network and in the file."""
    branch.words.eval()
    found, sound = split("dev")
    right, begin = [], 0
    for conversation, targets in zip(found.conversations, found.targets, strict=True):
        k = len(targets)
        features, logits = branch.forward([branch.inputs(conversation)])
        here = np.array([bool(u.text) for u in conversation.utterances])
        status = tuple(Status.OK if h else Status.NO_TEXT for h in here)
        text = Features(features.numpy(), here, status)
        part = Features(sound.values[begin : begin + k], sound.present[begin : begin + k], (Status.OK,) * k)
        said = fusion.predict(conversation, {TEXT: text, AUDIO: part}) if fused else logits.numpy()
        right += [y == t for y, t in zip(said.argmax(axis=1), targets, strict=True)]
        begin += k
    return 100 * sum(right) / len(right)


@pytest.mark.parametrize("kind", ["m2fnet", "concat"])
def test_branch_and_fusion_learn_together(kind: str, tmp_path: Path) -> None:
    branch = Branch()
    before = branch.words.encoder.weight.detach().clone()
    metrics = run(kind, job(tmp_path, branch))
    assert branch.asked == 60  # inputs are made once per dialogue
    assert not torch.equal(branch.words.encoder.weight, before)
    best = metrics["best"]
    assert best["weighted_f1"] > 72
    assert metrics["branches_own"] == {"text": best["text_weighted_f1"]}
    assert best["text_weighted_f1"] > 65
    # The network holds the very weights that were scored, and the file those of the fusion.
    fusion = NetworkFusion.load(tmp_path / "fusion.safetensors", kind)
    assert own_answers(branch, fusion, fused=True) == pytest.approx(best["accuracy"], abs=0.01)
    assert metrics["dev"]["text+audio"]["weighted_f1"] == pytest.approx(best["weighted_f1"], abs=0.01)
    log = (tmp_path / "log-fusion.csv").read_text().splitlines()
    assert "text_weighted_f1" in log[0]
    assert len(log) == 11


def test_text_alone_needs_no_other_features(tmp_path: Path) -> None:
    metrics = run("m2fnet", job(tmp_path, Branch(), others=()))
    assert list(metrics["dev"]) == ["text"]
    assert metrics["dev"]["text"]["weighted_f1"] > 70


def test_the_residual_form_finds_the_living_head(tmp_path: Path) -> None:
    branch = Branch()
    metrics = run("m2fnet", job(tmp_path, branch), residual=True)
    fusion = NetworkFusion.load(tmp_path / "fusion.safetensors", "m2fnet")
    model = fusion.models[0]
    torch.testing.assert_close(model.head_weight, branch.words.head.weight.detach(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.head_bias, branch.words.head.bias.detach(), atol=1e-3, rtol=1e-3)
    assert own_answers(branch, fusion, fused=True) == pytest.approx(metrics["best"]["accuracy"], abs=0.6)


def test_a_head_that_is_not_linear_is_told(tmp_path: Path) -> None:
    with pytest.raises(ErcError, match="not linear in its features"):
        run("m2fnet", job(tmp_path, Branch(bent=True)), residual=True, epochs=1)


def test_without_branch_weight_the_own_head_learns_nothing(tmp_path: Path) -> None:
    branch = Branch()
    before = branch.words.head.weight.detach().clone()
    run("concat", job(tmp_path, branch), branch_weight=0.0, epochs=2)
    assert torch.equal(branch.words.head.weight, before)


class StoppedError(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut, rest = Branch(), Branch(), Branch()
    run("m2fnet", job(tmp_path / "whole", whole), epochs=4)

    def kill(step: Progress) -> None:
        if step.done == 12:
            raise StoppedError

    with pytest.raises(StoppedError):
        run("m2fnet", job(tmp_path / "cut", cut, report=kill), epochs=4)
    assert (tmp_path / "cut" / "checkpoint-fusion.pt").exists()
    steps: list[int] = []
    run("m2fnet", job(tmp_path / "cut", rest, report=lambda step: steps.append(step.done)), epochs=4)
    assert len(steps) == 10  # two epochs of five were not lost
    for one, other in zip(whole.words.parameters(), rest.words.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "whole" / "fusion.safetensors").read_bytes() == (
        tmp_path / "cut" / "fusion.safetensors"
    ).read_bytes()
