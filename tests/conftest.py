"""Fixtures that several test files share."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two busy threads are slower than one on small machines
os.environ["COLUMNS"] = "120"

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
PHRASES = {
    "neutral": "the report is on the table",
    "surprise": "oh my god what is that",
    "fear": "please hide me i am scared",
    "sadness": "i miss her so much",
    "joy": "this is wonderful thank you",
    "disgust": "that is gross and rotten",
    "anger": "get out of my house now",
}
Erc = Callable[..., "subprocess.CompletedProcess[str]"]


def needs(extra: str, *libraries: str) -> None:
    """Skip the whole file where a library of the extra is not installed; nothing is imported for that."""
    absent = [library for library in libraries if find_spec(library) is None]
    if absent:
        reason = f"needs {', '.join(absent)}: pip install 'erc-cli[{extra}]'"
        pytest.skip(reason, allow_module_level=True)


def pytest_runtest_setup() -> None:
    """Forget SpeechBrain's lazy modules: hypothesis looks at every module, and these import themselves, and
    libraries that are not there, as soon as one looks at them."""
    for name in [n for n in sys.modules if n.startswith("speechbrain.")]:
        if type(sys.modules[name]).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):
            del sys.modules[name]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public data that may lie beside the checkout; tests that need it are skipped."""
    folder = Path(os.environ.get("ERC_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the data folder beside the checkout (or ERC_SHARED), which is not here")
    return folder


@pytest.fixture(scope="session")
def erc() -> Erc:
    """Runs `erc ARGS…` as a user does, in a process of its own."""

    def run(*args: object, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "erc_cli", *map(str, args)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **env},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and 32 units with its own word vocabulary, in the usual file layout."""
    import json

    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    from erc_text_minilm.network import ContextEncoder

    words = sorted({w for phrase in PHRASES.values() for w in phrase.split()} | {"anna", "ben", ":", "."})
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    config = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    folder = tmp_path_factory.mktemp("tiny_bert")
    torch.manual_seed(0)
    model = ContextEncoder(config, classes=7)
    save_file(model.encoder.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def tiny_meld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in MELD's layout: small, separable dialogues with prosody; its test split is a trap.

    The test tables hold a label that does not exist, so whoever reads them fails.
    """
    folder = tmp_path_factory.mktemp("tiny_meld")
    (folder / "prosody").mkdir()
    for split, dialogues in (("train", 24), ("dev", 6), ("test", 1)):
        _write_meld(folder, split, dialogues)
    return folder


def _write_meld(folder: Path, split: str, dialogues: int) -> None:
    names = ["Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime"]
    figures = ["duration", "avg_intensity", "intensity_variation", "avg_pitch", "pitch_std", "pitch_range"]
    figures += ["articulation_rate", "mean_hnr"]
    rows, sounds = [], []
    for d in range(dialogues):
        for u in range(5):
            place = (d + u * 2) % len(EMOTIONS)
            emotion = EMOTIONS[place] if split != "test" else "trap"
            speaker = "Anna" if u % 2 else "Ben"
            start, end = f"00:00:{u * 3:02d},000", f"00:00:{u * 3 + 2:02d},500"
            rows.append([PHRASES[EMOTIONS[place]], speaker, emotion, d, u, start, end])
            if (d, u) != (0, 0):  # one utterance without sound, as in the real tables
                low, step = (2, 55, 6, 150, 40, 200, 2, 3), (0.3, 2, 0.8, 30, 10, 30, 0.5, 1)
                voice = [a + b * (place + 0.01 * d) for a, b in zip(low, step, strict=True)]
                sounds.append([f"dia{d}_utt{u}.wav", *voice])
    with (folder / f"{split}_sent_emo.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *rows])
    with (folder / "prosody" / f"meld_{split}_audio_features.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["filename", *figures], *sounds])


@pytest.fixture(scope="session")
def tiny_fer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `fer2013.npz`: pictures whose brightest row tells the class, one of them blank."""
    import numpy as np

    folder = tmp_path_factory.mktemp("tiny_fer")
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"label_names": np.array(names)}
    for part, count in (("train", 70), ("validation", 21), ("test", 7)):
        labels = np.arange(count) % 7
        pictures = generator.integers(0, 60, (count, 48, 48)).astype(np.uint8)
        for i, label in enumerate(labels):
            pictures[i, 3 + 6 * label : 8 + 6 * label] = 250
        pictures[0] = 0
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = pictures, labels.astype(np.uint8)
    np.savez(folder / "fer2013.npz", **arrays)
    return folder
