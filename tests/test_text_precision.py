"""`roberta` in fewer bits, compiled, with every pooling; and its training in fewer bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EMOTIONS, ROOT, Erc
from textkit import NOTHING, TALK, write_model
from torch import Tensor, nn

from erc_cli.device import Placement
from erc_cli.errors import UsageError
from erc_cli.fitting import Plan, fit
from erc_cli.learning import TrainJob
from erc_text_minilm.context import Window, sequences
from erc_text_minilm.network import load, save
from erc_text_minilm.pretrained import pretrained, read_tokenizer
from erc_text_minilm.roberta import build, train
from erc_text_minilm.running import batches


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny_roberta"), "roberta", task=True)


def job(tiny_meld: Path, folder: Path, **more: str) -> TrainJob:
    from erc_data_meld.meld import Meld

    folder.mkdir(exist_ok=True)
    read = Meld(tiny_meld).read
    made = TrainJob(lambda _, split: read(split), ("meld",), EMOTIONS, folder, 3, lambda p: None, folder)
    return replace(made, **more)


# --- inference -----------------------------------------------------------------------------


def test_the_command_line_s_precision_goes_before_the_preset_s(tiny_roberta: Path) -> None:
    options: dict[str, Any] = {"weights": tiny_roberta, "max_tokens": 64}
    assert build(**options).placement == Placement("cpu", "fp32")
    half = build(**options, dtype="bfloat16")
    assert half.placement == Placement("cpu", "bf16")
    asked = build(**options, precision="bf16")
    np.testing.assert_array_equal(half.gather(TALK, NOTHING).values, asked.gather(TALK, NOTHING).values)
    whole = build(**options, dtype="bfloat16", precision="fp32")
    np.testing.assert_array_equal(
        whole.gather(TALK, NOTHING).values, build(**options).gather(TALK, NOTHING).values
    )
    for wrong in ({"precision": "fp16"}, {"dtype": "float16"}):
        with pytest.raises(UsageError, match=r"fp16 is for GPUs[\s\S]*--precision bf16"):
            build(**options, **wrong)


def test_a_mean_over_all_tokens(tiny_roberta: Path, tmp_path: Path) -> None:
    """By hand, without padding; and the trained weights remember it."""
    tokenizer = read_tokenizer(tiny_roberta / "tokenizer.json")
    model = pretrained(tiny_roberta, EMOTIONS, "roberta", "mean").eval()
    made = build(weights=tiny_roberta, max_tokens=64, pooling="mean", batch=3).gather(TALK, NOTHING).values
    for sample, row in zip(sequences(TALK, tokenizer, Window(1, 1, True, 64)), made, strict=True):
        with torch.inference_mode():
            states = model.encoder(input_ids=torch.tensor([sample.ids])).last_hidden_state[0]
        np.testing.assert_allclose(row, states.mean(0).numpy(), atol=1e-5)
    save(model, np.full(7, 1 / 7, np.float32), tmp_path / "text.safetensors")
    assert load(tmp_path / "text.safetensors", "roberta")[0].pooling == "mean"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, when it compiles
def test_compiled_or_not_the_numbers_are_the_same(tiny_roberta: Path) -> None:
    """With a compiler both ways are taken; without one it stays as it is, and says so."""
    options: dict[str, Any] = {"weights": tiny_roberta, "max_tokens": 64, "batch": 2}
    plain = build(**options).gather(TALK, NOTHING).values
    made = build(**options, compile=True)
    assert made.placement.note.startswith(("compiled", "not compiled: "))
    np.testing.assert_allclose(made.gather(TALK, NOTHING).values, plain, atol=1e-4)


@pytest.mark.slow
def test_without_a_compiler_it_goes_on(tiny_roberta: Path, tmp_path: Path, erc: Erc) -> None:
    output = tmp_path / "out.json"
    done = erc(
        *("predict", "-t", ROOT / "examples" / "conversation.srt", "-o", output, "--keep", "text"),
        *(
            "--set",
            "text.use=roberta",
            "--set",
            f"text.weights={tiny_roberta}",
            "--set",
            "text.max_tokens=64",
        ),
        *("--set", "text.compile=true"),
        *("--set", f"fusion.weights={ROOT / 'presets' / 'default' / 'fusion.safetensors'}"),
        CXX=str(tmp_path / "none"),
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"),
    )
    # The example preset's fusion has another width, which is told after the encoder was built.
    assert "not compiled: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_batches_hold_every_input_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(5, 90, 40).tolist()
    for tight in (False, True):
        found = list(batches(lengths, 16, tight=tight))
        assert sorted(i for batch in found for i in batch) == list(range(40))
        assert max(map(len, found)) <= 16
        ends = [lengths[i] for batch in found for i in batch]
        assert ends == sorted(lengths)
    shares = [1 - sum(lengths[i] for i in b) / (len(b) * max(lengths[i] for i in b)) for b in found]
    assert all(share <= 0.1 for share, batch in zip(shares, found, strict=True) if len(batch) > 4)
    assert [len(b) for b in batches([7] * 40, 16, tight=True)] == [16, 16, 8]
    assert list(batches([], 16, tight=True)) == []


# --- training ------------------------------------------------------------------------------


def test_training_in_bf16_by_the_job(tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    """As by the option; a checkpoint of another precision is not gone on with."""
    options: dict[str, Any] = {"epochs": 1, "lr": 1e-2, "batch": 16, "max_tokens": 60}
    bytes_of = []
    for name, precision, dtype in (
        ("a", "bf16", "float32"),
        ("b", "fp32", "bfloat16"),
        ("c", "fp32", "float32"),
    ):
        work = job(tiny_meld, tmp_path / name, precision=precision)
        train(work, init=tiny_roberta, **options, dtype=dtype)
        bytes_of.append((tmp_path / name / "text.safetensors").read_bytes())
    assert bytes_of[0] == bytes_of[1]
    assert bytes_of[0] != bytes_of[2]


def test_a_run_that_was_cut_off_goes_on(tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    """A kill within the second epoch changes no byte of the result."""

    class KilledError(Exception):
        pass

    def kill(step: Any) -> None:
        if step.done == 12:  # of 8 steps an epoch
            raise KilledError

    options: dict[str, Any] = {"epochs": 3, "lr": 1e-2, "batch": 16, "max_tokens": 60}
    whole, cut = (job(tiny_meld, tmp_path / name) for name in ("whole", "cut"))
    train(whole, init=tiny_roberta, **options)
    with pytest.raises(KilledError):
        train(replace(cut, report=kill), init=tiny_roberta, **options)
    assert (cut.folder / "checkpoint-text.pt").exists()
    train(cut, init=tiny_roberta, **options)
    one, other = ((work.folder / "text.safetensors").read_bytes() for work in (whole, cut))
    assert one == other


def test_fp16_trains_on_cuda_only(tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    work = job(tiny_meld, tmp_path / "run", precision="fp16")
    with pytest.raises(UsageError, match=r"fp16 trains on CUDA only[\s\S]*--precision bf16"):
        train(work, init=tiny_roberta, max_tokens=60)


def plan(folder: Path, scaler: torch.amp.GradScaler | None, report: Any = lambda step: None) -> Plan[Tensor]:
    torch.manual_seed(5)
    model = nn.Linear(4, 1)
    data = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    folder.mkdir(exist_ok=True)
    return Plan(
        stage="text",
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.1),
        batches=lambda epoch: data.split(8),
        loss=lambda batch: (model(batch).squeeze(1) - batch.sum(1)).pow(2).mean(),
        score=lambda net: {"weighted_f1": 1.0},
        epochs=3,
        steps=4,
        folder=folder,
        report=report,
        scaler=scaler,
    )


def test_a_scaled_loss_leads_to_the_same_weights(tmp_path: Path) -> None:
    """A scale of 2^k changes no bit of a float32 gradient; it is kept in the checkpoint."""
    folders = [tmp_path / name for name in "abc"]
    plain, scaled = plan(folders[0], None), plan(folders[1], torch.amp.GradScaler("cpu", init_scale=2.0**10))
    for one in (plain, scaled):
        fit(one)
    torch.testing.assert_close(scaled.model.state_dict(), plain.model.state_dict(), rtol=0, atol=1e-7)

    class KilledError(Exception):
        pass

    def kill(step: Any) -> None:
        if step.done == 6:
            raise KilledError

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    with pytest.raises(KilledError):
        fit(plan(folders[2], scaler, kill))
    again = plan(folders[2], torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2))
    fit(again)
    assert again.scaler is not None
    assert again.scaler.get_scale() == 2.0**16  # doubled after every second of 12 steps


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_on_the_gpu(precision: str, tiny_roberta: Path, tiny_meld: Path, tmp_path: Path) -> None:
    """It learns, and what it learnt is the same on both devices."""
    work = job(tiny_meld, tmp_path / "run", device="cuda", precision=precision)
    options: dict[str, Any] = {"epochs": 10, "lr": 1e-2, "batch": 8, "max_tokens": 60, "average": 0.5}
    made = train(work, init=tiny_roberta, **options)
    assert made.metrics["dev"]["member 1"]["weighted_f1"] > 80
    weights = work.folder / "text.safetensors"
    here, there = (
        build(weights=weights, max_tokens=60, device=device).gather(TALK, NOTHING).values
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_every_seed_begins_with_the_same_new_head(
    tiny_meld: Path, tmp_path: Path, tiny_roberta: Path
) -> None:
    """Else the fusion of a second seed is fitted to features that point other ways than its branch's."""
    from erc_text_minilm.joint import JointEncoder

    options = {"init": str(tiny_roberta), "past": 1, "future": 0, "speakers": True, "max_tokens": 60}
    rest = {"epochs": 1, "lr": 1e-3, "layer_decay": 0.9, "batch": 4, "average": 0.5}
    heads = [
        JointEncoder(replace(job(tiny_meld, tmp_path / "a"), seed=seed), {**options, **rest}, "roberta")
        for seed in (0, 1)
    ]
    first, second = ([p for n, p in one.network.named_parameters() if "head" in n] for one in heads)
    assert len(first) == 2
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
