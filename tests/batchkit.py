"""Folders of small recordings and presets of tiny networks, for the tests of batches and of the live view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EMOTIONS, PHRASES
from mediakit import RATE, Audio, write

WORDS = tuple(PHRASES.values())


def tiny_preset(folder: Path, bert: Path, *, audio: bool = False, past: int = 2) -> Path:
    """A preset of a two-layer encoder and the late pool, with prosody if wanted; weights are random."""
    import torch
    from safetensors.torch import load_file

    from erc_cli.types import Modality
    from erc_fusion_late.pool import LatePool, PoolHead
    from erc_text_minilm.network import ContextEncoder, save

    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((bert / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(1)
    model = ContextEncoder(config, classes=len(EMOTIONS))
    model.encoder.load_state_dict(load_file(bert / "model.safetensors"), strict=False)
    even = np.full(len(EMOTIONS), 1 / len(EMOTIONS), np.float32)
    save(model, even, folder / "text.safetensors")
    (folder / "tokenizer.json").write_bytes((bert / "tokenizer.json").read_bytes())
    random = np.random.default_rng(0)

    def head(width: int) -> PoolHead:
        weight = random.normal(0, 1, (len(EMOTIONS), width)).astype(np.float32)
        flat = np.zeros(width, np.float32)
        bias = np.zeros(len(EMOTIONS), np.float32)
        return PoolHead(flat, np.ones(width, np.float32), 4.0, (((weight, bias),),), even)

    heads = {Modality.TEXT: head(config["hidden_size"]), Modality.AUDIO: head(8)}
    LatePool(heads, even).save(folder / "fusion.safetensors")
    lines = [
        "summary: tiny and random, for tests",
        f"labels: [{', '.join(EMOTIONS)}]",
        "extractors:",
        f"  text: {{use: minilm, past: {past}, weights: text.safetensors, tokenizer: tokenizer.json,"
        " max_tokens: 32}",
        *(["  audio: {use: prosody, log: true}"] if audio else []),
        "fusion: {use: late, weights: fusion.safetensors}",
    ]
    path = folder / "tiny.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Text and prosody; without parselmouth, text alone."""
    from importlib.util import find_spec

    folder = tmp_path_factory.mktemp("preset")
    return tiny_preset(folder, tiny_bert, audio=find_spec("parselmouth") is not None)


def hum(seconds: float, pitch: float = 150.0) -> np.ndarray:
    """A buzzing voice that swells and fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    swell = 0.2 + 0.15 * np.sin(2 * np.pi * 0.7 * time)
    return (np.sign(np.sin(2 * np.pi * pitch * time)) * swell).astype(np.float32)


def sound(path: Path, seconds: float = 3.0, pitch: float = 150.0) -> Path:
    """A sound file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = "pcm_s16le" if path.suffix == ".wav" else "flac"
    return write(path, audio=Audio(hum(seconds, pitch), codec=codec))


def clock(seconds: float) -> str:
    """As SRT has it."""
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"


def script(path: Path, cues: int = 3, seconds: float = 1.0, begin: float = 0.0) -> Path:
    """An SRT, cue after cue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = [
        f"{i + 1}\n{clock(begin + i * seconds)} --> {clock(begin + (i + 0.9) * seconds)}\n"
        f"{'AB'[i % 2]}NN: {WORDS[i * 3 % len(WORDS)]}\n"
        for i in range(cues)
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def recording(stem: Path, pitch: float = 150.0, ending: str = ".wav") -> Path:
    """A sound file and its SRT."""
    script(stem.with_name(stem.name + ".srt"))
    return sound(stem.with_name(stem.name + ending), pitch=pitch)


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest by name; every line is JSON, and every name has one line."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert len({one["name"] for one in found}) == len(found)
    return {one["name"]: one for one in found}


def without_times(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest but for what the clock says."""
    times = ("seconds", "finished", "media_stat")
    return {name: {k: v for k, v in one.items() if k not in times} for name, one in entries(folder).items()}


def needs_parselmouth() -> None:
    """Skip a test that hears a voice where the library for it is not installed."""
    pytest.importorskip("parselmouth", reason="needs parselmouth: pip install 'erc-cli[audio]'")
