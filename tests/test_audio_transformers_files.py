"""Speech models from folders: what is refused and how, and the commands that a user types."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiokit import FILM, MODELS, change_tensors, speech, write_fusion, write_models, write_table
from conftest import Erc, needs

from erc_audio_transformers import erc_extractors
from erc_cli.errors import UsageError
from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Extractor, Status

needs("speech", "transformers")
prepare()

BUILDS: dict[str, Callable[..., Extractor]] = {spec.name: spec.build for spec in erc_extractors()}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("speech_models"))


# --- refusals ------------------------------------------------------------------------------


def refused(folder: Path, extractor: str = "wav2vec2", **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        BUILDS[extractor](weights=folder, **options)
    return str(caught.value)


@pytest.fixture
def copy(models: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(models["wav2vec2-base"], tmp_path / "model")


def test_another_architecture_is_refused_with_what_to_type(models: dict[str, Path], copy: Path) -> None:
    said = refused(models["wavlm-base"])
    assert "model_type is 'wavlm', not wav2vec2" in said
    assert "--set audio.use=wavlm" in said
    assert "--set audio.use=whisper-encoder" in refused(models["whisper"], "hubert")
    assert "--set audio.use=wav2vec2" in refused(copy, "whisper-encoder")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    said = refused(copy)
    assert "model_type is 'bert', not wav2vec2" in said
    assert "--set audio.weights=FOLDER" in said


def test_tensors_must_be_exactly_those_of_the_network(copy: Path, models: dict[str, Path]) -> None:
    name = "encoder.layers.1.feed_forward.output_dense.bias"
    change_tensors(copy, lambda t: {k: v for k, v in t.items() if k != name})
    assert f"{name} is missing" in refused(copy)
    change_tensors(copy, lambda t: {**t, name: torch.zeros(31)})
    assert f"{name} is [31] instead of [32]" in refused(copy)
    change_tensors(copy, lambda t: {**t, name: torch.zeros(32), "encoder.extra.bias": torch.zeros(3)})
    assert "encoder.extra.bias has no place in it" in refused(copy)
    shutil.copy(models["hubert-large"] / "model.safetensors", copy)
    assert "more" in refused(copy)


def test_whisper_without_a_part_of_its_encoder(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["whisper"], tmp_path / "m")
    change_tensors(folder, lambda t: {k: v for k, v in t.items() if "conv2" not in k})
    assert "conv2.bias is missing, and 1 more" in refused(folder, "whisper-encoder")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_file_that_is_missing_or_damaged(copy: Path, name: str) -> None:
    path = copy / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert str(path) in refused(copy)
    path.write_bytes(b"<html>404</html>")
    assert str(path) in refused(copy)
    path.unlink()
    assert f"has no {name}" in refused(copy)


def test_a_pickle_is_not_opened(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n(S'touch owned'\ntR.")
    said = refused(copy)
    assert "only pytorch_model.bin, a pickle, which erc does not open" in said
    assert f"erc models convert '{copy / 'pytorch_model.bin'}' -o '{copy / 'model.safetensors'}'" in said


def test_code_of_the_model_is_not_run(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    (copy / "modeling_evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass M: pass\nclass C: pass\n")
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_evil.M", "AutoConfig": "modeling_evil.C"}
    (copy / "config.json").write_text(json.dumps(config))
    assert BUILDS["wav2vec2"](weights=copy).encode(speech()[0]).status is Status.OK
    assert not mark.exists()


def test_odd_configurations(copy: Path, models: dict[str, Path], tmp_path: Path) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "num_attention_heads": 5}))
    assert "No wav2vec2 network can be made" in refused(copy)
    path.write_text("[]")
    assert "does not hold a JSON object" in refused(copy)
    path.write_text(json.dumps(config))
    (copy / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    assert "wants sound at 8000 Hz" in refused(copy)
    whisper = shutil.copytree(models["whisper"], tmp_path / "w")
    (whisper / "preprocessor_config.json").write_text('{"feature_size": 128}')
    assert "128 bands and 3000 columns do not fit" in refused(whisper, "whisper-encoder")
    assert "is not a folder" in refused(path)


def test_configurations_with_what_published_ones_have_besides(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """Keys of facebook/wav2vec2-base, microsoft/wavlm-base-plus and openai/whisper-base."""
    besides = {
        "wav2vec2-base": {
            "freeze_feat_extract_train": True,
            "gradient_checkpointing": True,
            "mask_channel_length": 10,
            "no_mask_time_overlap": False,
        },
        "wavlm-base": {"num_ctc_classes": 80, "replace_prob": 0.5, "tokenizer_class": "Wav2Vec2CTCTokenizer"},
        "whisper": {
            "begin_suppress_tokens": [220, 50257],
            "forced_decoder_ids": [[1, 50259], [2, 50359]],
            "suppress_tokens": [1, 2, 7],
            "max_length": 448,
            "num_hidden_layers": 2,
            "is_encoder_decoder": True,
        },
    }
    clip = speech()[0]
    for name, more in besides.items():
        folder = shutil.copytree(models[name], tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        old = {"torch_dtype": "float16", "transformers_version": "4.5.1", "_name_or_path": "./somewhere"}
        (folder / "config.json").write_text(json.dumps({**config, **old, **more}))
        found = BUILDS[MODELS[name][0]](weights=folder).encode(clip).values
        np.testing.assert_array_equal(
            found, BUILDS[MODELS[name][0]](weights=models[name]).encode(clip).values
        )


def test_layers_that_are_not_there(models: dict[str, Path]) -> None:
    folder = models["wav2vec2-base"]
    assert "layer: 4 is not one of this network's: it has 0 to 3" in refused(folder, layer=4)
    assert "layer: -5" in refused(folder, layer=-5)
    assert "there are no 3 layers up to number 1" in refused(folder, layer=1, average=3)
    assert BUILDS["wav2vec2"](weights=folder, layer=-4).encode(speech()[0]).status is Status.OK


# --- as a user -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wav2vec2-large", "whisper"])
def test_the_default_preset_with_this_voice(
    models: dict[str, Path], name: str, tmp_path: Path, erc: Erc
) -> None:
    """A trained fusion is not given other features; one that is named is taken."""
    use = ("--set", f"audio.use={MODELS[name][0]}", "--set", f"audio.weights={models[name]}")
    wide = (*use, "--set", "audio.pooling=mean_std")
    done = erc("predict", FILM, *wide, "--keep", "audio", "--json")
    assert done.returncode == 2
    assert "trained on the features of prosody" in done.stderr
    assert "erc train" in done.stderr
    fusion = ("--set", f"fusion.weights={write_fusion(tmp_path / 'fusion.safetensors', 64)}")
    done = erc("predict", FILM, *wide, *fusion, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    statuses = [u["modalities"]["audio"]["status"] for u in found["utterances"]]
    assert statuses.count("ok") >= 7
    assert {u["modalities"]["text"]["status"] for u in found["utterances"]} == {"ok"}
    assert found["meta"]["plugins"]["audio"].startswith(MODELS[name][0])


@pytest.mark.slow
def test_from_a_table_of_recordings_to_a_prediction(
    models: dict[str, Path], tmp_path: Path, erc: Erc
) -> None:
    preset = tmp_path / "voice.yaml"
    preset.write_text(
        "summary: voice\nlabels: [neutral, surprise, fear, sadness, joy, disgust, anger]\n"
        f"extractors: {{audio: {{use: wavlm, weights: {models['wavlm-base']}}}}}\n"
        "fusion: {use: late}\ntrain: {fusion: {data: [manifest], epochs: 30, ensemble: 1}}\n"
    )
    table = write_table(tmp_path / "table.csv")
    done = erc("extract", preset, "--data", f"manifest:{table}", "-o", tmp_path / "features")
    assert done.returncode == 0, done.stderr
    assert "7 of 7 rows, width 32" in done.stdout + done.stderr
    run = tmp_path / "run"
    done = erc("train", preset, "--data", f"manifest:{table}", "-o", run)
    assert done.returncode == 0, done.stderr
    done = erc("predict", FILM, "-p", run, "--json")
    assert done.returncode == 0, done.stderr
    labels = {u["label"] for u in json.loads(done.stdout)["utterances"]}
    assert len(labels) >= 3, "it learnt the recording by heart, more or less"
