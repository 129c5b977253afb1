"""Every backend in the place of a branch of the preset `default`, by `--set`, as a user would do it.

What is refused says which commands to type; they are run as they stand, and their runs predict.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from audiokit import write_speech_model, write_whisper
from click.testing import CliRunner
from conftest import EMOTIONS, ROOT, needs
from facekit import arcface_like, scrfd_like

from erc_cli import main
from erc_cli.crossfit import SCHEMA
from erc_cli.errors import ErcError
from erc_cli.registry import load_registry
from erc_cli.weights import read_weights

needs("text", "transformers", "tokenizers")
needs("audio", "parselmouth")

MEDIA = ROOT / "examples" / "conversation.mp4"
SCRIPT = ROOT / "examples" / "conversation.srt"
COUNT = 8  # utterances of the example
FACES = [0, 1, 4, 5, 6]  # those that show a face
Make = Callable[[Path], tuple[str, ...]]


def _speech(kind: str) -> Make:
    return lambda folder: (f"audio.weights={write_speech_model(folder, kind)}",)


def _whisper(folder: Path) -> tuple[str, ...]:
    return (f"audio.weights={write_whisper(folder)}",)


def _ecapa(folder: Path) -> tuple[str, ...]:
    from speechkit import write_ecapa

    return (f"audio.weights={write_ecapa(folder)}",)


def _pack(folder: Path) -> tuple[str, ...]:
    folder.mkdir()
    scrfd_like(folder / "det_10g.onnx", (200.0, 120.0, 296.0, 232.0))
    arcface_like(folder / "w600k_r50.onnx")
    return (f"visual.pack={folder}",)


def _roberta(folder: Path) -> tuple[str, ...]:
    from textkit import write_model

    model = write_model(folder, "roberta", max_position_embeddings=300)
    return (f"text.weights={model}", "text.past=2")


#: backend -> modality, libraries it needs, width of its features here, what it is given beside its name
BACKENDS: dict[str, tuple[str, tuple[str, ...], int, Make]] = {
    "wav2vec2": ("audio", (), 32, _speech("wav2vec2")),
    "wavlm": ("audio", (), 32, _speech("wavlm")),
    "hubert": ("audio", (), 32, _speech("hubert")),
    "whisper-encoder": ("audio", (), 32, _whisper),
    "speechbrain": ("audio", ("speechbrain",), 24, _ecapa),
    "opensmile": ("audio", ("opensmile",), 88, lambda folder: ()),
    "insightface": ("visual", ("insightface", "onnxruntime"), 16, _pack),
    "roberta": ("text", (), 32, _roberta),
}
ANEW = {"opensmile", "roberta"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of the example's utterances, their labels invented, the same in train and dev."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    said = load_registry().reader("srt").read(SCRIPT).utterances
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["split", "dialogue", "turn", "speaker", "text", "emotion", "media", "start", "end"])
        for split in ("train", "dev"):
            for turn, one in enumerate(said):
                emotion = EMOTIONS[turn % len(EMOTIONS)]
                rows.writerow([split, split, turn, one.speaker, one.text, emotion, MEDIA, one.start, one.end])
    return path


def run(*words: object) -> str:
    """`erc WORDS…` in this process; its stdout. ErcError where it is refused."""
    done = CliRunner().invoke(main.erc, list(map(str, words)), standalone_mode=False, catch_exceptions=False)
    assert not done.return_value
    return done.stdout


@pytest.fixture(scope="module")
def base(
    tmp_path_factory: pytest.TempPathFactory, table: Path, tiny_bert: Path, tiny_fer: Path
) -> tuple[Path, dict[str, Path]]:
    """The preset `default` trained on the table, small and short; and where its data sets are."""
    folder = tmp_path_factory.mktemp("base") / "run"
    settings = (
        *("text.max_tokens=64", "visual.frames=1", "train.text.data=[manifest]", "train.text.first=[]"),
        *(f"train.text.init={tiny_bert}", "train.text.epochs=1", "train.text.max_tokens=64"),
        *("train.visual.epochs=1", "train.fusion.data=[manifest, fer2013]"),
        *("train.fusion.epochs=2", "train.fusion.ensemble=1"),
    )
    data = {"manifest": table, "fer2013": tiny_fer}
    given = [word for name, path in data.items() for word in ("--data", f"{name}:{path}")]
    run("train", "default", *given, *_set(settings), "-o", folder)
    return folder, data


def _set(settings: tuple[str, ...]) -> list[str]:
    return [word for one in settings for word in ("--set", one)]


def _command(error: ErcError, data: dict[str, Path], folder: Path, *, anew: bool) -> list[str]:
    """A command that the refusal tells, with what only the user knows filled in.

    The first one keeps the other branches; the last one (`anew`) trains all of it.
    """
    lines = [one for one in str(error.hint).splitlines() if one.startswith("erc train ")]
    words = shlex.split(lines[-1 if anew else 0].removeprefix("erc ").replace("[NAME]", "[manifest]"))
    places = {f"{name}:PATH": f"{name}:{path}" for name, path in data.items()}
    places |= {"NAME:PATH": places["manifest:PATH"], "RUN": str(folder)}
    return [places.get(word, word) for word in words]


def _predicted(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("predict", MEDIA, "-t", SCRIPT, *words, "--json", "-q"))
    assert len(found["utterances"]) == COUNT
    return found


def _skip_without(*libraries: str) -> None:
    for library in libraries:
        if find_spec(library) is None:
            pytest.skip(f"needs {library}")


@pytest.mark.parametrize("name", BACKENDS)
def test_a_branch_is_swapped_trained_and_used(
    name: str, base: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    modality, libraries, width, make = BACKENDS[name]
    _skip_without(*libraries)
    preset, data = base
    settings = _set((f"{modality}.use={name}", *make(tmp_path / "model")))
    with pytest.raises(ErcError, match=rf"those of {name} would mislead it") as refused:
        run("predict", MEDIA, "-t", SCRIPT, "-p", preset, *settings)
    trained = tmp_path / "run"
    run(*_command(refused.value, data, trained, anew=name in ANEW), "-q")

    run("presets", "check", trained)
    assert yaml.safe_load((trained / "preset.yaml").read_text())["extractors"][modality]["use"] == name
    learnt = read_weights(trained / "features" / f"manifest-dev-{modality}.safetensors", SCHEMA)
    assert learnt.tensors["values"].shape == (COUNT, width)

    found = _predicted("-p", trained)
    assert found["meta"]["plugins"][modality].startswith(f"{name} ")
    assert {"text", "audio", "visual"} == set(found["meta"]["plugins"]) - {"fusion"}
    opinions = [one["modalities"][modality] for one in found["utterances"]]
    there = [one for one in opinions if one["status"] == "ok"]
    assert len(there) >= COUNT - 1, opinions  # one utterance is all but silent
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-6) for one in there)


@pytest.mark.parametrize(("name", "path"), [("yunet", "yunet/yunet_n_640_640.onnx"),
                                            ("scrfd", "scrfd/scrfd_2.5g_kps.onnx")])  # fmt: skip
def test_a_detector_is_swapped_without_training(name: str, path: str, shared: Path) -> None:
    """The shipped preset: a real detector of another kind finds the faces that MTCNN finds."""
    _skip_without(*{"yunet": ("cv2", "onnx"), "scrfd": ("insightface", "onnxruntime")}[name])
    weights = shared / "data" / "models" / path
    if not weights.exists():
        pytest.skip(f"needs {path} of the shared data")
    settings = _set((f"visual.detector={name}", f"visual.detector_weights={weights}"))
    found = _predicted(*settings)
    statuses = [one["modalities"]["visual"]["status"] for one in found["utterances"]]
    assert [i for i, status in enumerate(statuses) if status == "ok"] == FACES
    assert {status for i, status in enumerate(statuses) if i not in FACES} == {"no_face"}


def test_a_run_s_other_branches_are_taken_over(base: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    """`--from` saves the training of what stays; the branch that is swapped has features of its own."""
    preset, data = base
    given = [word for name, path in data.items() for word in ("--data", f"{name}:{path}")]
    swap = _set(("audio.use=wav2vec2", *_speech("wav2vec2")(tmp_path / "model")))
    run("train", preset, *given, *swap, "--from", preset, "-o", tmp_path / "run", "-q")
    for stage in ("text", "visual"):
        name = f"{stage}.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (preset / name).read_bytes()
    kept, new = (read_weights(one / "features" / "manifest-dev-audio.safetensors", SCHEMA).tensors["values"]
                 for one in (preset, tmp_path / "run"))  # fmt: skip
    assert kept.shape != new.shape or abs(kept - new).max() > 0.1
