"""Real speech, and small speech models in the formats in which real ones are published."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import EMOTIONS, ROOT

from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Wish

RATE = 16_000
FILM = ROOT / "examples" / "conversation.mp4"
SPANS = ((0.5, 3.7), (4.2, 5.9), (8.0, 10.7), (14.0, 14.3))  # of speech in the film, no two of a length
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
#: name -> the extractor that reads it, and what its configuration has of its own
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-base": ("wav2vec2", {}),
    "wav2vec2-large": ("wav2vec2", LARGE),
    "wavlm-base": ("wavlm", {}),
    "wavlm-large": ("wavlm", LARGE),
    "hubert-base": ("hubert", {}),
    "hubert-large": ("hubert", LARGE),
    "whisper": ("whisper-encoder", {}),
}


def speech(path: Path = FILM, spans: Sequence[tuple[float, float]] = SPANS) -> list[Clip]:
    """Clips of a recording."""
    found = sorted(read_clips(probe(path), [Wish(sound=s) for s in spans]), key=lambda item: item[0])
    return [clip for _, clip in found]


def long_speech(seconds: float) -> Clip:
    """The film's sound, over and over."""
    (clip,) = speech(spans=[(0.0, 27.0)])
    assert clip.sound is not None
    return Clip(np.resize(clip.sound, round(seconds * RATE)))


def sounds_of(clips: Sequence[Clip]) -> list[np.ndarray]:
    return [clip.sound for clip in clips if clip.sound is not None]


def write_speech_model(folder: Path, kind: str, *, seed: int = 0, **config: Any) -> Path:
    """A wav2vec2, wavlm or hubert of three layers and 32 units, as `save_pretrained` writes it."""
    import torch
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "initializer_range": 0.2,
    }
    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{**sizes, **config}))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def write_whisper(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """A Whisper of two layers and 32 units, decoder included."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    sizes: dict[str, Any] = {"d_model": 32, "vocab_size": 60, "init_std": 0.2}
    sizes |= {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
    }
    sizes |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(WhisperConfig(**{**sizes, **config}))
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(folder)
    return folder


def write_models(folder: Path) -> dict[str, Path]:
    """All of `MODELS`."""
    made = {}
    for name, (extractor, config) in MODELS.items():
        place = folder / name
        whisper = extractor == "whisper-encoder"
        made[name] = write_whisper(place) if whisper else write_speech_model(place, extractor, **config)
    return made


def change_tensors(folder: Path, change: Any, name: str = "model.safetensors") -> Path:
    """Write the tensors that `change` makes of a model's."""
    from safetensors.torch import load_file, save_file

    made = {key: value.contiguous() for key, value in change(load_file(folder / name)).items()}
    save_file(made, folder / name)
    return folder


def write_table(path: Path) -> Path:
    """A manifest of the film's utterances, the same in train and dev."""
    spans = ((8.0, 10.7), (4.2, 7.5), (11.2, 13.5), (16.9, 21.8), (0.5, 3.7), (24.3, 28.0), (14.0, 16.4))
    names = ["split", "dialogue", "turn", "speaker", "text", "emotion", "media", "start", "end"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(names)
        for split in ("train", "dev"):
            for turn, (span, emotion) in enumerate(zip(spans, EMOTIONS, strict=True)):
                table.writerow([split, split, turn, "AB"[turn % 2], "words", emotion, FILM, *span])
    return path


def write_fusion(path: Path, width: int) -> Path:
    """The default preset's fusion, its audio head exchanged for one that was not trained, of this width."""
    from erc_cli.types import Modality
    from erc_fusion_late.pool import LatePool, PoolHead

    pool = LatePool.load(ROOT / "presets" / "default" / "fusion.safetensors")
    old, random = pool.heads[Modality.AUDIO], np.random.default_rng(0)
    weight = random.normal(0, 0.1, (len(EMOTIONS), width)).astype(np.float32)
    layer = (weight, np.zeros(len(EMOTIONS), np.float32))
    even, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
    pool.heads[Modality.AUDIO] = PoolHead(even, ones, old.clip, ((layer,),), old.prior, 1.0, old.weight)
    pool.save(path)
    return path
