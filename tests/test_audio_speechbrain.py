"""`speechbrain`: small ECAPA-TDNN and wav2vec 2.0 checkpoints in SpeechBrain's layout, on real speech."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiokit import (
    FILM,
    RATE,
    change_tensors,
    long_speech,
    sounds_of,
    speech,
    write_fusion,
    write_speech_model,
)
from conftest import Erc, needs

from erc_audio_speechbrain import build, erc_extractors
from erc_cli.errors import UsageError
from erc_cli.nets import speech as speech_nets
from erc_cli.testing import check_extractor, talk
from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Clip, Status

needs("speechbrain", "speechbrain", "transformers")
prepare()
# SpeechBrain's own class, with which ours is compared, calls what transformers calls otherwise by now
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing_disable` is deprecated")

SPEAKER, EMOTION = "embedding_model", "wav2vec2"
ECAPA: dict[str, Any] = {
    "input_size": 80,
    "channels": [16, 16, 16, 16, 48],
    "kernel_sizes": [5, 3, 3, 3, 1],
    "dilations": [1, 2, 3, 4, 1],
    "attention_channels": 8,
    "lin_neurons": 12,
    "se_channels": 8,
}


def ecapa(seed: int = 0, **sizes: Any) -> Any:
    """SpeechBrain's own network, with batch norms as if it had been trained."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(seed)
    network = ECAPA_TDNN(**{**ECAPA, **sizes}).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network


def checkpoint(folder: Path, network: Any, name: str = SPEAKER) -> Path:
    """A folder as SpeechBrain's are, after `erc models convert`."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{name}.safetensors")
    (folder / "hyperparams.yaml").write_text("x: !new:os.system [touch owned]\n")
    (folder / "label_encoder.txt").write_text("'id10001' => 0\n")
    return folder


def theirs(network: Any, sound: np.ndarray) -> np.ndarray:
    """The recipe of spkrec-ecapa-voxceleb with SpeechBrain's own parts."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.processing.features import InputNormalization

    bands = Fbank(n_mels=network.blocks[0].conv.conv.in_channels)
    level = InputNormalization(norm_type="sentence", std_norm=False)
    whole = torch.ones(1)
    with torch.inference_mode():
        made = network(level(bands(torch.tensor(sound)[None]), whole), whole)[0, 0]
    values: np.ndarray = made.numpy()
    return values


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("ecapa") / "spkrec", ecapa())


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    large = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    return {
        "wav2vec2": write_speech_model(folder / "wav2vec2", "wav2vec2"),
        "wavlm": write_speech_model(folder / "wavlm", "wavlm", **large),
    }


@pytest.fixture(scope="session")
def emotions(tmp_path_factory: pytest.TempPathFactory, bases: dict[str, Path]) -> dict[str, Path]:
    """Checkpoints of SpeechBrain's own class, which holds the network under `model`."""
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    folder, made = tmp_path_factory.mktemp("emotions"), {}
    for name, base in bases.items():
        network = Wav2Vec2(str(base), save_path=str(folder / "cache"), output_norm=True).eval()
        torch.manual_seed(7)
        for parameter in network.parameters():  # fine-tuned: no longer what the base model is
            parameter.data += 0.01 * torch.randn_like(parameter)
        made[name] = checkpoint(folder / name, network, EMOTION)
    return made


# --- speaker embeddings --------------------------------------------------------------------


def test_embeddings_are_what_speechbrain_itself_computes(speaker: Path) -> None:
    extractor = build(weights=speaker)
    network = ecapa()
    for clip, sound in zip(speech(), sounds_of(speech()), strict=True):
        np.testing.assert_allclose(extractor.encode(clip).values, theirs(network, sound), atol=1e-5)
    assert extractor.dim == 12
    assert extractor.head is None


@pytest.mark.parametrize(
    "sizes",
    [
        {"input_size": 60, "lin_neurons": 20},
        {
            "channels": [32, 32, 32, 64],
            "kernel_sizes": [3, 5, 3, 1],
            "dilations": [1, 2, 3, 1],
            "groups": [1] * 4,
        },
        {"res2net_scale": 4, "global_context": False},
    ],
    ids=["as VoxLingua's", "fewer blocks", "other parts"],
)
def test_sizes_are_read_off_the_tensors(tmp_path: Path, sizes: dict[str, Any]) -> None:
    network = ecapa(3, **sizes)
    extractor = build(weights=checkpoint(tmp_path / "m", network))
    clip = speech()[0]
    assert clip.sound is not None
    np.testing.assert_allclose(extractor.encode(clip).values, theirs(network, clip.sound), atol=1e-5)


def test_many_at_once_are_the_same_as_one_by_one(speaker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU. Convolutions mirror the end of a sound: that of each, not only of the longest."""
    extractor = build(weights=speaker)
    clips = speech(spans=[(0.5, 3.7), (4.2, 5.9), (2.0, 2.11), (8.0, 10.7), (14.0, 14.3)])
    alone = np.stack([extractor.encode(clip).values for clip in clips])
    monkeypatch.setitem(speech_nets.TOGETHER, "cpu", 64 * RATE)
    passes: list[int] = []
    extractor.net._network.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    together = np.stack([row.values for row in extractor.encode_many(clips)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 0.05
    assert passes == [5]
    plain = torch.nn.utils.rnn.pad_sequence([extractor.net._bands(c.sound) for c in clips], batch_first=True)
    with torch.inference_mode():
        spoilt = ecapa()(plain)[:, 0].numpy()
    assert np.abs(spoilt[2] - alone[2]).max() > 0.05, "padding without that care would change a row"


def test_a_known_recording(speaker: Path, shared: Path) -> None:
    (clip,) = speech(shared / "data/media/audio/fw_jfk.flac", [(0.0, 11.0)])
    assert clip.sound is not None
    np.testing.assert_allclose(
        build(weights=speaker).encode(clip).values, theirs(ecapa(), clip.sound), atol=1e-5
    )


def test_a_minute_is_the_mean_of_its_pieces(speaker: Path) -> None:
    clip = long_speech(60.0)
    assert clip.sound is not None
    pieces = [theirs(ecapa(), piece) for piece in np.array_split(clip.sound, 3)]
    np.testing.assert_allclose(build(weights=speaker).encode(clip).values, np.mean(pieces, axis=0), atol=1e-5)


def test_it_keeps_the_contract(speaker: Path) -> None:
    assert check_extractor(build(weights=speaker)).values.shape == (4, 12)
    rows = [build(weights=speaker).encode(clip) for clip in speech()]
    features = build(weights=speaker, normalise="dialogue").gather(talk(4), rows)
    np.testing.assert_allclose(features.values.mean(0), 0, atol=1e-5)


def test_what_cannot_be_heard_has_a_status(speaker: Path) -> None:
    extractor = build(weights=speaker)
    sound = sounds_of(speech())[0]
    broken = sound.copy()
    broken[5] = np.inf
    clips = [
        Clip(s) for s in (sound[: RATE // 20], np.zeros(RATE, np.float32), broken, sound[: RATE // 10 + 1])
    ]
    assert [row.status.value for row in extractor.encode_many(clips)] == [
        "silent",
        "silent",
        "unreadable",
        "ok",
    ]
    assert extractor.encode(Clip(None, Status.UNREADABLE)).status is Status.UNREADABLE


def test_its_one_file_stands_for_the_folder(speaker: Path) -> None:
    """As `erc models pull ecapa-voxceleb` gives it to an option."""
    clip = speech()[0]
    found = build(weights=speaker / "embedding_model.safetensors").encode(clip).values
    np.testing.assert_array_equal(found, build(weights=speaker).encode(clip).values)
    with pytest.raises(UsageError, match="not a checkpoint folder"):
        build(weights=speaker / "label_encoder.txt")


def test_it_has_fp32_only_and_says_so(speaker: Path) -> None:
    clip = speech()[0]
    extractor = build(weights=speaker, precision="bf16")
    assert extractor.placement.precision == "fp32"
    assert "fp32 only" in extractor.placement.note
    np.testing.assert_array_equal(extractor.encode(clip).values, build(weights=speaker).encode(clip).values)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_a_gpu_gives_the_same(speaker: Path) -> None:
    clips = speech()
    expected = np.stack([build(weights=speaker).encode(clip).values for clip in clips])
    found = np.stack([row.values for row in build(weights=speaker, device="cuda").encode_many(clips)])
    np.testing.assert_allclose(found, expected, atol=2e-3)


# --- emotion features ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
@pytest.mark.parametrize("output_norm", [True, False])
def test_emotion_features_are_what_speechbrain_itself_computes(
    emotions: dict[str, Path], bases: dict[str, Path], name: str, output_norm: bool, tmp_path: Path
) -> None:
    """As emotion-recognition-wav2vec2-IEMOCAP: its encoder, then the mean over time."""
    from safetensors.torch import load_file
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
    from speechbrain.nnet.pooling import StatisticsPooling

    network = Wav2Vec2(str(bases[name]), save_path=str(tmp_path / "cache"), output_norm=output_norm).eval()
    network.load_state_dict(load_file(emotions[name] / "wav2vec2.safetensors"))
    pool = StatisticsPooling(return_std=False)
    extractor = build(weights=emotions[name], base=bases[name], output_norm=output_norm)
    clips = speech()
    for clip, row in zip(clips, extractor.encode_many(clips), strict=True):
        with torch.inference_mode():
            expected = pool(network(torch.tensor(clip.sound)[None]))[0, 0].numpy()
        # their pooling adds a little noise to the mean
        np.testing.assert_allclose(row.values, expected, atol=2e-4)
    assert extractor.dim == 32


def test_the_base_may_be_in_the_folder(
    emotions: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(emotions["wavlm"], tmp_path / "m")
    with pytest.raises(UsageError, match=r"what its wav2vec2 was fine-tuned from[\s\S]*--set audio.base="):
        build(weights=folder)
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(bases["wavlm"] / name, folder)
    clip = speech()[0]
    given = build(weights=emotions["wavlm"], base=bases["wavlm"]).encode(clip).values
    np.testing.assert_array_equal(build(weights=folder).encode(clip).values, given)
    (folder / "config.json").write_text(json.dumps({"speechbrain_interface": "EncoderClassifier"}))
    with pytest.raises(UsageError, match="fine-tuned from"):
        build(weights=folder)


def test_another_base_is_refused(emotions: dict[str, Path], bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is missing.*more"):
        build(weights=emotions["wav2vec2"], base=bases["wavlm"])
    with pytest.raises(UsageError, match=r"has no config\.json, preprocessor_config\.json"):
        build(weights=emotions["wav2vec2"], base=tmp_path)


# --- refusals ------------------------------------------------------------------------------


def test_pickles_and_yaml_are_left_alone(
    speaker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hyperparams.yaml` of the fixture would run a command; it is not even read."""
    monkeypatch.chdir(tmp_path)
    build(weights=speaker)
    folder = tmp_path / "m"
    folder.mkdir()
    with (folder / "embedding_model.ckpt").open("wb") as stream:
        pickle.dump(print, stream)
    with pytest.raises(UsageError) as caught:
        build(weights=folder)
    assert "a pickle, which erc does not open" in str(caught.value)
    wanted = folder / "embedding_model.safetensors"
    assert f"erc models convert '{folder / 'embedding_model.ckpt'}' -o '{wanted}'" in str(caught.value)
    assert not (tmp_path / "owned").exists()
    with pytest.raises(
        UsageError, match=r"not a checkpoint folder of SpeechBrain: it has no embedding_model"
    ):
        build(weights=tmp_path)


def test_a_converted_checkpoint_is_read(tmp_path: Path, erc: Erc) -> None:
    network, folder = ecapa(), tmp_path / "m"
    folder.mkdir()
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    target = folder / "embedding_model.safetensors"
    done = erc("models", "convert", folder / "embedding_model.ckpt", "-o", target)
    assert done.returncode == 0, done.stderr
    clip = speech()[0]
    assert clip.sound is not None
    np.testing.assert_allclose(
        build(weights=folder).encode(clip).values, theirs(network, clip.sound), atol=1e-5
    )


def test_tensors_must_be_exactly_those_of_the_network(speaker: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(speaker, tmp_path / "m")
    file = "embedding_model.safetensors"

    def said(change: Any) -> str:
        change_tensors(folder, change, file)
        with pytest.raises(UsageError) as caught:
            build(weights=folder)
        return str(caught.value)

    bias = "asp.conv.conv.bias"
    assert f"{bias} is missing" in said(lambda t: {k: v for k, v in t.items() if k != bias})
    assert f"{bias} is [3] instead of [48]" in said(lambda t: {**t, bias: torch.zeros(3)})
    shutil.copy(speaker / file, folder)
    assert "extra.bias has no place" in said(lambda t: {**t, "extra.bias": torch.zeros(3)})
    assert "'mfa.conv.conv.weight' is missing" in said(
        lambda t: {k: v for k, v in t.items() if "mfa" not in k}
    )
    assert "not the weights of an ECAPA-TDNN" in said(lambda t: {"fc.weight": torch.zeros(3)})
    (folder / file).write_bytes((speaker / file).read_bytes()[:5000])
    with pytest.raises(UsageError, match="not a safetensors file, or not all of it"):
        build(weights=folder)


# --- as a user -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_default_preset_with_this_voice(speaker: Path, tmp_path: Path, erc: Erc) -> None:
    use = ("--set", "audio.use=speechbrain", "--set", f"audio.weights={speaker}")
    done = erc("predict", FILM, *use, "--keep", "audio", "--json")
    assert done.returncode == 2
    assert "trained on the features of prosody" in done.stderr
    fusion = ("--set", f"fusion.weights={write_fusion(tmp_path / 'fusion.safetensors', 12)}")
    done = erc("predict", FILM, *use, *fusion, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [u["modalities"]["audio"]["status"] for u in found["utterances"]].count("ok") >= 7
    assert found["meta"]["plugins"]["audio"].startswith("speechbrain")


def test_the_front_page_imports_nothing_heavy() -> None:
    code = (
        "import sys; import erc_audio_speechbrain as p; p.erc_extractors(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'av', 'speechbrain', 'safetensors')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
    assert [s.name for s in erc_extractors()] == ["speechbrain"]
