"""Devices and precisions: what is refused, what is said, what stands in results, and that they agree."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from conftest import ROOT, Erc

from erc_cli.device import (
    Placement,
    bf16_units,
    check_precision,
    find_device,
    line_of,
    placements_in_training,
    placements_of,
    slow_bf16,
    unused_gpu,
)
from erc_cli.errors import UsageError
from erc_cli.evaluation import Means
from erc_cli.extraction import branches_of
from erc_cli.preset import find_preset, keep
from erc_cli.registry import load_registry
from erc_cli.transcripts import read_transcript
from erc_cli.types import Conversation, Extractor, Features, Modality

SCRIPT = ROOT / "examples" / "conversation.srt"
#: bf16 keeps 8 bits: the shipped text branch's probabilities may move by this much (measured: 0.0011)
BF16 = 0.01
#: other kernels in another order, all in float32
OTHER_DEVICE = 2e-4


def talk() -> Conversation:
    return Conversation(read_transcript(SCRIPT, load_registry().readers).utterances)


def branch(device: str = "cpu", precision: str | None = None, preset: str = "default") -> Extractor:
    """The shipped text branch as `erc predict` builds it."""
    registry = load_registry()
    reduced = keep(find_preset(preset, registry), ["text"], registry)
    return Means(registry, device, lambda p: None, None, precision).load(reduced).extractors[Modality.TEXT]


def answers(extractor: Extractor) -> tuple[Features, np.ndarray]:
    """Features of the example, and the probabilities of the branch's own head."""
    words = talk()
    found = extractor.gather(words, [None] * len(words.utterances))
    head = extractor.head
    assert head is not None
    logits = found.values @ head.weight.T + head.bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return found, shares / shares.sum(1, keepdims=True)


# --- choosing ------------------------------------------------------------------------------


def test_a_device_is_found_or_refused() -> None:
    assert find_device("auto") in ("cpu", "cuda", "mps")
    assert find_device("cpu") == "cpu"
    for wrong in ("gpu", "cuda:x", ""):
        with pytest.raises(UsageError, match=r"unknown device[\s\S]*auto, cpu, cuda"):
            find_device(wrong)
    with pytest.raises(UsageError, match=r"no such device here[\s\S]*erc doctor"):
        find_device("cuda:99")


def test_half_precision_is_for_gpus() -> None:
    for device in ("cpu", "cuda", "cuda:1", "mps"):
        check_precision(None, device)
        check_precision("fp32", device)
        check_precision("bf16", device)
    check_precision("fp16", "cuda:1")
    with pytest.raises(UsageError, match=r"fp16 is for GPUs[\s\S]*--precision bf16"):
        check_precision("fp16", "cpu")
    with pytest.raises(UsageError, match=r"unknown precision[\s\S]*fp32, bf16, fp16"):
        check_precision("int8", "cpu")


def test_a_gpu_that_nothing_uses_is_told(tmp_path: Path) -> None:
    assert unused_gpu("auto", "cpu", tmp_path / "no driver") is None
    assert unused_gpu("auto", "cpu", tmp_path) is None
    (tmp_path / "0000:01:00.0").mkdir()
    assert f"torch {torch.__version__} cannot use it" in str(unused_gpu("auto", "cpu", tmp_path))
    assert unused_gpu("cpu", "cpu", tmp_path) is None  # asked for
    assert unused_gpu("auto", "cuda", tmp_path) is None


def test_what_a_cpu_says_of_bf16(tmp_path: Path) -> None:
    flags = tmp_path / "cpuinfo"
    assert bf16_units(flags) is None
    flags.write_text("flags\t\t: fpu avx2 avx512f\n")
    assert bf16_units(flags) is False
    flags.write_text("flags\t\t: fpu avx2 avx512_bf16\n")
    assert bf16_units(flags) is True
    assert slow_bf16({"text": Placement("cpu", "fp32")}) is None
    assert slow_bf16({"text": Placement("cuda", "bf16")}) is None


def test_each_stage_says_where_it_runs() -> None:
    registry = load_registry()
    preset = find_preset("default", registry)
    parts = {str(m): object() for m in preset.extractors} | {"fusion": object()}
    found = placements_of(preset, registry, parts, "cuda:1", "bf16")
    assert found["text"] == Placement("cuda:1", "bf16")
    assert found["audio"] == Placement("cpu", "fp32", "prosody has fp32 only")
    assert found["visual"] == Placement("cuda:1", "fp32", "faces has fp32 only")
    assert found["fusion"] == Placement("cpu", "fp32")
    plain = placements_of(preset, registry, parts, "cpu", None)
    assert line_of(plain) == "text: cpu, fp32; audio: cpu, fp32; visual: cpu, fp32; fusion: cpu, fp32"
    assert found["audio"].as_data() == {
        "device": "cpu",
        "precision": "fp32",
        "note": "prosody has fp32 only",
    }


def test_each_stage_says_where_it_is_fitted() -> None:
    registry = load_registry()
    preset = find_preset("m2fnet-mini-meld", registry, recipe=True)
    found = placements_in_training(preset, registry, ("cuda", "bf16"))
    assert found["text"] == Placement("cuda", "bf16")
    assert (found["fusion"].device, found["fusion"].precision) == ("cpu", "fp32")
    assert found["fusion"].note
    together = placements_in_training(preset, registry, ("cuda", "bf16"), joint=True)
    assert {(one.device, one.precision) for one in together.values()} == {("cpu", "fp32")}
    usual = placements_in_training(preset, registry, ("cpu", "fp32"))
    assert {str(one) for one in usual.values()} == {"cpu, fp32"}


# --- as users see it -----------------------------------------------------------------------


def test_stages_stand_on_stderr_and_in_the_result(erc: Erc) -> None:
    done = erc("predict", "-t", SCRIPT, "--keep", "text", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "text: cpu, fp32; fusion: cpu, fp32" in done.stderr
    meta = json.loads(done.stdout)["meta"]
    assert (meta["device"], meta["precision"]) == ("cpu", "fp32")
    assert meta["stages"] == {
        "text": {"device": "cpu", "precision": "fp32"},
        "fusion": {"device": "cpu", "precision": "fp32"},
    }
    assert "contaminated" not in meta


def test_a_branch_that_has_no_bf16_says_so(erc: Erc) -> None:
    arguments = ("--drop", "visual", "--precision", "bf16", "--device", "cpu", "--json")
    done = erc("predict", ROOT / "examples" / "conversation.mp4", *arguments)
    assert done.returncode == 0, done.stderr
    assert "text: cpu, bf16; audio: cpu, fp32 (prosody has fp32 only)" in done.stderr
    found = json.loads(done.stdout)
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found["meta"]["stages"]["text"] == {"device": "cpu", "precision": "bf16"}
    assert found["meta"]["precision"] == "bf16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "fp16", "--device", "cpu"), "Type: --precision bf16, or fp32"),
        (("--precision", "int8"), "'fp32', 'bf16', 'fp16'"),
        (("--device", "tpu"), "One of: auto, cpu, cuda, cuda:N, mps"),
        (("--set", "text.precision=bf16"), "is set by erc itself, not by a preset"),
    ],
)
def test_what_there_is_not_is_refused(arguments: tuple[str, ...], message: str, erc: Erc) -> None:
    done = erc("predict", "-t", SCRIPT, "--keep", "text", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["predict", "evaluate", "extract", "ablate", "train"])
def test_every_command_has_both_options(command: str, erc: Erc) -> None:
    said = erc(command, "--help").stdout
    assert "--device" in said
    assert "--precision [fp32|bf16|fp16]" in said


def test_evaluate_and_extract_and_ablate_keep_what_was_used(
    erc: Erc, tiny_meld: Path, tmp_path: Path
) -> None:
    data = ("--data", f"meld:{tiny_meld}")
    less = ("--device", "cpu", "--precision", "bf16", "--json")
    done = erc("evaluate", "default", *data, "--split", "dev", "--keep", "text", *less)
    assert done.returncode == 0, done.stderr
    assert "text: cpu, bf16" in done.stderr
    found = json.loads(done.stdout)
    assert found["stages"]["text"] == {"device": "cpu", "precision": "bf16"}
    assert found["precision"] == "bf16"
    done = erc("ablate", "default", *data, "--drop", "audio", "--drop", "visual", *less)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"]["text"]["precision"] == "bf16"
    output = tmp_path / "features"
    done = erc("extract", "text-only", *data, "-o", output, "--split", "dev", *less)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"]["text"]["precision"] == "bf16"


def test_features_of_another_precision_are_not_taken_for_these() -> None:
    registry = load_registry()
    uses = keep(find_preset("default", registry), ["text"], registry).extractors
    keys = []
    for precision in (None, "fp32", "bf16"):
        extractors = {Modality.TEXT: branch(precision=precision)}
        made = branches_of(uses, registry, extractors, device="cpu", precision=precision, labels=())
        keys.append(made[Modality.TEXT].recipe.options)
    assert keys[0] == keys[1]
    assert json.loads(keys[2]) == {**json.loads(keys[0]), "precision": "bf16"}


# --- numbers agree -------------------------------------------------------------------------


def test_bf16_on_the_cpu_agrees_with_fp32() -> None:
    """The shipped text branch on the example: the same labels, probabilities within `BF16`."""
    whole, half = branch(), branch(precision="bf16")
    (first, exact), (second, rounded) = answers(whole), answers(half)
    assert second.values.dtype == np.float32
    assert first.status == second.status
    moved = np.abs(exact - rounded).max()
    assert 0 < moved < BF16
    np.testing.assert_array_equal(exact.argmax(1), rounded.argmax(1))
    lengths = np.linalg.norm(first.values, axis=1) * np.linalg.norm(second.values, axis=1)
    assert ((first.values * second.values).sum(1) / lengths).min() > 0.999


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@gpu
@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu() -> None:
    _, exact = answers(branch())
    _, there = answers(branch("cuda"))
    np.testing.assert_allclose(there, exact, atol=OTHER_DEVICE)
    for precision in ("bf16", "fp16"):
        _, rounded = answers(branch("cuda", precision))
        np.testing.assert_allclose(rounded, exact, atol=BF16)
        np.testing.assert_array_equal(exact.argmax(1), rounded.argmax(1))


@gpu
@pytest.mark.gpu
def test_predict_on_the_gpu_says_the_same(erc: Erc) -> None:
    said = {}
    for device in ("cpu", "cuda"):
        done = erc("predict", ROOT / "examples" / "conversation.mp4", "--device", device, "--json")
        assert done.returncode == 0, done.stderr
        assert f"text: {device}, fp32" in done.stderr
        said[device] = json.loads(done.stdout)["utterances"]
    for here, there in zip(said["cpu"], said["cuda"], strict=True):
        assert here["label"] == there["label"]
        for label, value in here["probabilities"].items():
            assert there["probabilities"][label] == pytest.approx(value, abs=0.01)
