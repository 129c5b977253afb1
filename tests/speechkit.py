"""What the tests of transcribers share: a small Whisper in the hub's layout, and long recordings."""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erc_cli.torchaudio_guard import prepare

prepare()  # before transformers is imported
RATE = 16_000
LANGUAGES = ("en", "de", "fr")
SECONDS = 5  # that the small Whisper reads at once; the published ones read 30


def write_sound(path: Path, sound: np.ndarray) -> Path:
    """16 kHz mono, 16 bits."""
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, RATE, 0, "NONE", ""))
        stream.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def write_tokenizer(path: Path) -> dict[str, int]:
    """Bytes, then Whisper's marks in its order, the time marks unnamed; returns the numbers of marks."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    letters = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(letters, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteDecoder()
    names = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    tokenizer.save(str(path))
    return {name: tokenizer.token_to_id(f"<|{name}|>") for name in names}


def write_whisper(folder: Path, *, seconds: int = SECONDS, seed: int = 0, **config: Any) -> Path:
    """A Whisper of one layer and 48 units that has learnt nothing, decoder and tokenizer included."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    marks = write_tokenizer(folder / "tokenizer.json")
    sizes: dict[str, Any] = {"d_model": 48, "init_std": 0.1, "dropout": 0.0}
    sizes |= {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 96))
    }
    end = marks["endoftext"]
    sizes |= {
        "max_source_positions": seconds * 50,
        "max_target_positions": 120,
        "vocab_size": marks["notimestamps"] + 1 + seconds * 50 + 1,
        "decoder_start_token_id": marks["startoftranscript"],
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end),
    }
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(WhisperConfig(**{**sizes, **config}))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    WhisperFeatureExtractor(chunk_length=seconds, feature_size=model.config.num_mel_bins).save_pretrained(
        folder
    )
    return folder


def teach(
    folder: Path, lessons: Sequence[tuple[np.ndarray, str, Sequence[tuple[float, float, str]]]]
) -> None:
    """Fit the small Whisper to sounds: (sound, language, [(start, end, text), …]), until it knows them."""
    import torch
    from tokenizers import Tokenizer
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    number = tokenizer.token_to_id
    times = number("<|notimestamps|>") + 1
    rows = []
    for _, language, segments in lessons:
        row = [number("<|startoftranscript|>"), number(f"<|{language}|>"), number("<|transcribe|>")]
        for start, end, text in segments:
            row += [times + round(start / 0.02), *tokenizer.encode(text).ids, times + round(end / 0.02)]
        rows.append([*row, number("<|endoftext|>")])
    width = max(map(len, rows))
    given = torch.tensor([row[:-1] + [number("<|endoftext|>")] * (width - len(row)) for row in rows])
    wanted = torch.tensor([row[1:] + [-100] * (width - len(row)) for row in rows])
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    mels = WhisperFeatureExtractor.from_pretrained(folder)(
        [sound for sound, _, _ in lessons], sampling_rate=RATE, return_tensors="pt"
    )["input_features"]
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(400):
        loss = torch.nn.functional.cross_entropy(
            model(mels, decoder_input_ids=given, use_cache=False).logits.flatten(0, 1), wanted.flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.03:
            break
    assert loss < 0.1, float(loss)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def config_of(folder: Path) -> dict[str, Any]:
    """The configuration, to be changed."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def write_ecapa(folder: Path, *, seed: int = 0) -> Path:
    """An ECAPA-TDNN of 16 channels that has learnt nothing, in SpeechBrain's layout after `convert`."""
    import torch
    from safetensors.torch import save_file
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(seed)
    network = ECAPA_TDNN(
        80, lin_neurons=24, channels=[16, 16, 16, 16, 48], attention_channels=8, se_channels=8
    ).eval()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / "embedding_model.safetensors")
    return folder
