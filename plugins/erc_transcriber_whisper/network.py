"""A Whisper model (Radford et al. 2022) from a folder as the hub has it; greedy, with time stamps.

The network and the decoding are those of transformers; its settings are made of `config.json` and the
tokenizer, so that a folder without `generation_config.json` works, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from erc_cli.device import Placement
from erc_cli.errors import UsageError
from erc_cli.hearing import RATE
from erc_cli.nets.hub import (
    CONFIG,
    SOUND,
    WEIGHTS,
    check_files,
    fill,
    new_network,
    read_object,
    read_tensors,
    ready,
    shape_of,
)
from erc_cli.nets.speech import casting, check_rate
from erc_transcriber_whisper.tokens import Said, Tokens, read_tokens

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

GENERATION = "generation_config.json"
TOKENIZER = "tokenizer.json"
_SPECTROGRAM = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value")
_SUPPRESSED = ("suppress_tokens", "begin_suppress_tokens")
_NOT_SHAPE = (*_SUPPRESSED, "forced_decoder_ids", "max_length")
_ENGLISH = 51864  # tokens of OpenAI's models for English only, which name the other languages, too
_TIED = ("proj_out.weight",)  # the same tensor as the decoder's embedding


def load_network(folder: Path, language: str | None, placement: Placement, option: str) -> Speech:
    """The network of a model's folder.

    Raises:
        UsageError: a file is missing or damaged, of another architecture, or its files do not belong
            together; or the model does not know the language.
    """
    check_files(folder, (CONFIG, SOUND, WEIGHTS, TOKENIZER), option)
    shape = shape_of(folder, ("whisper",), option)
    sound = read_object(folder / SOUND)
    check_rate(folder / SOUND, sound)
    generation = read_object(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    english = generation.get("is_multilingual") is False or shape.get("vocab_size") == _ENGLISH
    tokens = read_tokens(folder / TOKENIZER, language, option, english=english)
    suppressed = {key: generation.get(key) or shape.get(key) for key in _SUPPRESSED}
    network: Any = new_network({k: v for k, v in shape.items() if k not in _NOT_SHAPE}, _build)
    _check_vocabulary(folder / TOKENIZER, tokens, int(network.config.vocab_size))
    path = folder / WEIGHTS
    fill(network, read_tensors(path, option), path, option, idle=_TIED)
    network.tie_weights()
    network.generation_config = _settings(tokens, network.config, suppressed)
    return Speech(network, _spectrogram(sound, network, folder / SOUND), tokens, placement)


def _build(config: Any) -> nn.Module:
    from transformers import WhisperForConditionalGeneration

    made: nn.Module = WhisperForConditionalGeneration(config)
    return made


def _check_vocabulary(path: Path, tokens: Tokens, size: int) -> None:
    if tokens.times + 1 >= size:
        raise UsageError(
            f"{path}: its tokens do not fit the network, which knows {size}.",
            hint="Get the whole model anew: its files belong together.",
        )


def _settings(tokens: Tokens, config: Any, suppressed: Mapping[str, Any]) -> Any:
    """What `generate` needs to know: numbers of tokens, and which ones are never said."""
    from transformers import GenerationConfig

    room = int(config.max_target_positions)
    return GenerationConfig(
        decoder_start_token_id=tokens.start,
        bos_token_id=tokens.end,
        eos_token_id=tokens.end,
        pad_token_id=tokens.end,
        max_length=room,
        no_timestamps_token_id=tokens.times - 1,
        is_multilingual=bool(tokens.languages),
        return_timestamps=True,
        max_initial_timestamp_index=50,  # the first words come within a second: speech begins the part
        **({"lang_to_id": dict(tokens.languages)} if tokens.languages else {}),
        **({"task_to_id": dict(tokens.tasks)} if tokens.languages else {}),
        **{key: _inside(value, int(config.vocab_size)) for key, value in suppressed.items()},
    )


def _inside(numbers: Any, size: int) -> list[int] | None:
    """The numbers that are tokens of the network; None for none of them."""
    listed = numbers if isinstance(numbers, list) else []
    return [n for n in listed if isinstance(n, int) and 0 <= n < size] or None


def _spectrogram(sound: Mapping[str, Any], network: Any, path: Path) -> Any:
    from transformers import WhisperFeatureExtractor

    given = {key: sound[key] for key in _SPECTROGRAM if key in sound}
    wrong = UsageError(
        f"{path} makes no spectrogram that the network can read.",
        hint="Get the whole model anew: its files belong together.",
    )
    try:
        made = WhisperFeatureExtractor(**given)
    except (TypeError, ValueError, ArithmeticError):
        raise wrong from None
    config = network.config
    if (made.feature_size, made.nb_max_frames) != (config.num_mel_bins, config.max_source_positions * 2):
        raise wrong
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers has to say of its own calls."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@dataclass(slots=True)
class Speech:
    """What turns sounds of at most `seconds` into words with times; the first ones decide the language."""

    network: Any
    spectrogram: Any
    tokens: Tokens
    placement: Placement

    def __post_init__(self) -> None:
        ready(self.network, self.placement.device)

    @property
    def seconds(self) -> float:
        """The longest sound that it reads, 30 s in all published models."""
        return float(self.spectrogram.n_samples) / RATE

    @property
    def language(self) -> str | None:
        """The code of the language, such as `en`: as given, or as heard; None before, and where the model
        knows only one."""
        return self.tokens.language

    @torch.inference_mode()
    def write(self, sounds: Sequence[FloatArray]) -> list[list[Said]]:
        """What is said in each sound, 16 kHz mono: segments with times from the sound's start."""
        clean = [np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0) for sound in sounds]
        made = self.spectrogram(clean, sampling_rate=RATE, return_tensors="pt")
        with casting(self.placement), _quiet():
            mels = made["input_features"].to(self.placement.device)
            spoken: dict[str, Any] = {}
            if self.tokens.languages:
                spoken = {"language": f"<|{self._decided(mels)}|>", "task": "transcribe"}
            # One call and no more: the rest of the 30 s is padding, in which there is nothing to go on with.
            found = self.network.generate(
                mels, force_unique_generate_call=True, return_dict_in_generate=True, **spoken
            )
        rows = found["sequences"].cpu().tolist()
        return [self.tokens.said(row, len(sound) / RATE) for row, sound in zip(rows, sounds, strict=True)]

    def _decided(self, mels: torch.Tensor) -> str:
        if self.tokens.language is None:
            votes = Counter(self.network.detect_language(input_features=mels).tolist())
            self.tokens = self.tokens.speaking(votes.most_common(1)[0][0])
        return str(self.tokens.language)
