"""The control of table 2: dialogue encoders and nothing that fuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erc_cli.learning import FusionJob, Labelled
from erc_cli.testing import check_fusion
from erc_cli.types import Conversation, Features, Modality, Status, Utterance
from erc_fusion_m2fnet import build_concat, erc_fusions
from erc_fusion_m2fnet.concat import Concat
from erc_fusion_m2fnet.shape import Shape

TEXT, AUDIO = Modality.TEXT, Modality.AUDIO
SHAPE = Shape(
    widths={TEXT: 4, AUDIO: 2},
    classes=3,
    encoders=0,
    layers=0,
    heads=2,
    width=None,
    feed_forward=8,
    hidden=5,
    dropout=0.0,
    positions=False,
    residual=False,
)


def test_without_encoders_it_is_two_layers_on_features_side_by_side() -> None:
    torch.manual_seed(0)
    model = Concat(SHAPE).eval()
    values = {TEXT: torch.randn(2, 3, 4), AUDIO: torch.randn(2, 3, 2)}
    present = {m: torch.ones(2, 3, dtype=torch.bool) for m in values}
    joined = torch.cat([values[TEXT], values[AUDIO]], dim=-1)
    first, last = model.classifier.first, model.classifier.last
    hidden = (joined @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(model(values, present), hidden @ last.weight.T + last.bias)


def test_modalities_do_not_meet_before_the_end() -> None:
    """With encoders, sound of one utterance reaches another only through sound; words do not hear it."""
    torch.manual_seed(0)
    model = Concat(replace(SHAPE, encoders=1)).eval()
    values = {TEXT: torch.randn(1, 3, 4), AUDIO: torch.randn(1, 3, 2)}
    present = {m: torch.ones(1, 3, dtype=torch.bool) for m in values}
    before = model.branches(values, present)
    after = model.branches(values | {AUDIO: values[AUDIO] + 1}, present)
    assert torch.equal(before[TEXT], after[TEXT])
    assert not torch.allclose(before[AUDIO], after[AUDIO])


def data(seed: int) -> Labelled:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 9, 30)
    n = int(lengths.sum())
    targets = generator.integers(0, 3, n)
    features = {}
    for m, d in SHAPE.widths.items():
        values = generator.normal(size=(n, d)).astype(np.float32)
        values[np.arange(n), targets % d] += 2
        features[m] = Features(values, np.ones(n, bool), (Status.OK,) * n)
    talks = tuple(Conversation(tuple(Utterance(i, i + 1, "so") for i in range(k))) for k in lengths)
    return Labelled(targets.astype(np.int64), np.repeat(np.arange(30), lengths), talks, features)


def test_it_trains_and_keeps_the_contract(tmp_path: Path) -> None:
    (train,) = [spec.train for spec in erc_fusions() if spec.name == "concat"]
    assert train is not None
    job = FusionJob(
        data={"talks": frozenset(SHAPE.widths)},
        labelled=lambda name, split, wanted: data(["train", "dev"].index(split)),
        heads={TEXT: None, AUDIO: None},
        labels=("a", "b", "c"),
        folder=tmp_path,
        seed=0,
        report=lambda step: None,
    )
    options = {"attention_heads": 2, "feed_forward": 16, "hidden": 16, "dropout": 0.1, "lr": 5e-3}
    found = train(job, **options, epochs=20, batch=8, average=0.9)
    figures = found.metrics["dev"]
    assert figures["text+audio"]["weighted_f1"] > max(70, figures["audio"]["weighted_f1"] + 10)
    fusion = build_concat(weights=tmp_path / found.options["weights"])
    dev = data(1)
    rows = dev.dialogues == np.bincount(dev.dialogues).argmax()
    features = {
        m: Features(f.values[rows], f.present[rows], (Status.OK,) * int(rows.sum()))
        for m, f in dev.features.items()
    }
    features[AUDIO].present[0] = False
    holed = replace(features[AUDIO], status=(Status.SILENT, *features[AUDIO].status[1:]))
    talk = Conversation((Utterance(0, 1, "so"),) * int(rows.sum()))
    check_fusion(fusion, talk, features | {AUDIO: holed}, 3)


@pytest.mark.parametrize("name", ["m2fnet", "concat"])
def test_the_front_page_is_light(name: str) -> None:
    import subprocess
    import sys

    code = "import sys, erc_fusion_m2fnet; print('torch' in sys.modules or 'numpy' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "False", name
