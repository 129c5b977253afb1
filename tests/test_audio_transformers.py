"""`wav2vec2`, `wavlm`, `hubert`, `whisper-encoder`: small models in the published layout, on real speech."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiokit import (
    MODELS,
    RATE,
    change_tensors,
    long_speech,
    sounds_of,
    speech,
    write_models,
    write_speech_model,
)
from conftest import needs

from erc_audio_transformers import erc_extractors
from erc_cli.errors import ErcError, UsageError
from erc_cli.nets import speech as speech_nets
from erc_cli.nets.pooling import Pool
from erc_cli.testing import check_extractor
from erc_cli.torchaudio_guard import prepare
from erc_cli.types import Clip, Extractor, Status

needs("speech", "transformers")
prepare()

BUILDS: dict[str, Callable[..., Extractor]] = {spec.name: spec.build for spec in erc_extractors()}
READINGS: tuple[dict[str, Any], ...] = (
    {},
    {"layer": 0},
    {"layer": 1, "pooling": "mean_std"},
    {"layer": -1, "average": 2, "pooling": "max"},
)
SILENCE = np.zeros(RATE, np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("speech_models"))


def build(models: dict[str, Path], name: str, **options: Any) -> Any:
    return BUILDS[MODELS[name][0]](weights=models[name], **options)


def theirs(
    folder: Path, sound: np.ndarray, *, layer: int = -1, average: int = 1, pooling: str = "mean"
) -> Any:
    """The same by transformers' own classes."""
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    given = AutoFeatureExtractor.from_pretrained(folder)(sound, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        if "input_features" in given:
            made = model.encoder(given.input_features, output_hidden_states=True)
            heard = -(-len(sound) // 320)
        else:
            made, heard = model(given.input_values, output_hidden_states=True), None
    states = [*made.hidden_states[:-1], made.last_hidden_state]
    last = layer % len(states)
    frames = torch.stack(states[last - average + 1 : last + 1]).mean(0)[0, :heard]
    if pooling == "max":
        return frames.amax(0).numpy()
    if pooling == "mean_std":
        return torch.cat([frames.mean(0), frames.std(0, correction=0)]).numpy()
    return frames.mean(0).numpy()


# --- features ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_it_is_what_transformers_itself_computes(
    models: dict[str, Path], name: str, reading: dict[str, Any]
) -> None:
    extractor = build(models, name, **reading)
    for clip, sound in zip(speech()[:2], sounds_of(speech()), strict=False):
        row = extractor.encode(clip)
        np.testing.assert_allclose(row.values, theirs(models[name], sound, **reading), atol=2e-5)
    assert extractor.dim == (64 if reading.get("pooling") == "mean_std" else 32)
    assert extractor.head is None


@pytest.mark.parametrize("name", MODELS)
def test_many_at_once_are_the_same_as_one_by_one(
    models: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: lengths from 0.3 to 3.2 s, and whoever is padded must not notice."""
    extractor = build(models, name, pooling="mean_std")
    clips = speech()
    alone = [extractor.encode(clip).values for clip in clips]
    monkeypatch.setitem(speech_nets.TOGETHER, "cpu", 64 * RATE)
    passes = []
    encoder = extractor.net._network if name == "whisper" else extractor.net._network.encoder
    encoder.layers[0].register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    together = [row.values for row in extractor.encode_many(clips[::-1])][::-1]
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=2e-5)
    assert np.abs(alone[0] - alone[1]).max() > 0.01, "they are not all alike"
    assert passes == [4]


@pytest.mark.parametrize("name", MODELS)
def test_it_keeps_the_contract(models: dict[str, Path], name: str) -> None:
    features = check_extractor(build(models, name))
    assert features.values.shape == (4, 32)
    assert features.present.all()


def test_a_known_recording(models: dict[str, Path], shared: Path) -> None:
    (clip,) = speech(shared / "data/media/audio/fw_jfk.flac", [(0.0, 11.0)])
    assert clip.sound is not None
    found = build(models, "wavlm-base", layer=2).encode(clip).values
    np.testing.assert_allclose(found, theirs(models["wavlm-base"], clip.sound, layer=2), atol=2e-5)


def test_layers_above_the_wanted_one_are_not_kept(models: dict[str, Path]) -> None:
    whole, cut = build(models, "wav2vec2-large"), build(models, "wav2vec2-large", layer=1)
    assert [len(e.net._network.encoder.layers) for e in (whole, cut)] == [3, 1]


# --- long sounds ---------------------------------------------------------------------------


def test_a_minute_is_read_in_equal_pieces(models: dict[str, Path]) -> None:
    """Memory does not grow: no pass of the convolutions sees more than a piece, and the mean is the same."""
    clip = long_speech(60.0)
    extractor = build(models, "wav2vec2-large", max_seconds=8.0)
    seen: list[int] = []
    network = extractor.net._network
    network.feature_extractor.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    row = extractor.encode(clip)
    assert seen == [60 * RATE // 8] * 8
    assert clip.sound is not None
    sound = (clip.sound - clip.sound.mean()) / np.sqrt(clip.sound.var() + 1e-7)
    with torch.inference_mode():
        states = [network(torch.tensor(p)[None]).last_hidden_state[0] for p in np.array_split(sound, 8)]
    np.testing.assert_allclose(row.values, torch.cat(states).mean(0).numpy(), atol=2e-5)


def test_whisper_reads_a_minute_in_two_pieces(models: dict[str, Path]) -> None:
    clip = long_speech(60.0)
    assert clip.sound is not None
    halves = [theirs(models["whisper"], half) for half in np.array_split(clip.sound, 2)]
    np.testing.assert_allclose(
        build(models, "whisper").encode(clip).values, np.mean(halves, axis=0), atol=2e-5
    )


@pytest.mark.parametrize("pooling", ["mean", "mean_std", "max"])
def test_pools_join_pieces_as_if_they_were_one(pooling: Any) -> None:
    frames = torch.randn(301, 5, generator=torch.Generator().manual_seed(0)) * 3 + 100
    whole, parts = Pool(pooling), Pool(pooling)
    whole.add(frames)
    for piece in (frames[:1], frames[1:150], frames[150:]):
        parts.add(piece)
    np.testing.assert_allclose(whole.vector(), parts.vector(), rtol=1e-6)
    wanted = {"mean": frames.mean(0), "max": frames.amax(0)}
    wanted["mean_std"] = torch.cat([frames.mean(0), frames.std(0, correction=0)])
    np.testing.assert_allclose(whole.vector(), wanted[pooling].numpy(), rtol=1e-5)
    with pytest.raises(ValueError, match="nothing was added"):
        Pool(pooling).vector()


# --- what cannot be heard ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-large", "whisper"])
def test_what_cannot_be_heard_has_a_status(models: dict[str, Path], name: str) -> None:
    extractor = build(models, name)
    (good,) = speech(spans=[(0.5, 3.7)])
    assert good.sound is not None
    broken = good.sound.copy()
    broken[100] = np.nan
    clips = {
        "short": Clip(good.sound[: RATE // 10 - 1]),
        "nothing": Clip(good.sound[:0]),
        "silent": Clip(SILENCE),
        "faint": Clip(good.sound * 1e-4),
        "broken": Clip(broken),
        "no track": Clip(None, Status.NO_AUDIO_TRACK),
        "good": good,
        "shortest": Clip(good.sound[RATE : RATE + RATE // 10]),
    }
    rows = dict(zip(clips, extractor.encode_many(list(clips.values())), strict=True))
    assert {name: row.status.value for name, row in rows.items()} == {
        "short": "silent",
        "nothing": "silent",
        "silent": "silent",
        "faint": "silent",
        "broken": "unreadable",
        "no track": "no_audio_track",
        "good": "ok",
        "shortest": "ok",
    }
    assert np.isfinite(rows["shortest"].values).all()
    assert build(models, name, silence_db=-120.0).encode(clips["faint"]).status is Status.OK


def test_a_network_that_wants_more_sound_than_there_is(tmp_path: Path) -> None:
    folder = write_speech_model(
        tmp_path / "m", "wav2vec2", conv_kernel=(3000, 2, 2, 2, 2, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2)
    )
    (clip,) = speech(spans=[(0.5, 3.7)])
    assert clip.sound is not None
    extractor = BUILDS["wav2vec2"](weights=folder)
    assert extractor.encode(Clip(clip.sound[:2500])).status is Status.SILENT
    assert extractor.encode(clip).status is Status.OK


def test_weights_that_are_not_finite_are_told(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["wav2vec2-base"], tmp_path / "m")
    change_tensors(folder, lambda t: {**t, "encoder.layer_norm.bias": torch.full((32,), torch.inf)})
    with pytest.raises(ErcError, match="not finite"):
        BUILDS["wav2vec2"](weights=folder).encode(speech()[0])


# --- options and formats -------------------------------------------------------------------


def test_normalised_by_speaker(models: dict[str, Path]) -> None:
    from erc_cli.testing import talk

    extractor = build(models, "hubert-base", normalise="speaker")
    rows = [extractor.encode(clip) for clip in speech()]
    features = extractor.gather(talk(4), rows)  # A, B, A, B
    values = np.stack([row.values for row in rows])
    for whose in ((0, 2), (1, 3)):
        own = values[list(whose)]
        np.testing.assert_allclose(features.values[list(whose)], (own - own.mean(0)) / own.std(0), atol=1e-3)


def test_a_checkpoint_with_a_head_and_old_names_is_the_same_network(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """As `facebook/wav2vec2-base-960h` is published: a prefix, a task's head, names of before torch 2."""
    folder = shutil.copytree(models["wav2vec2-base"], tmp_path / "m")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def published(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        made = {}
        for name, value in tensors.items():
            for new, past in old.items():
                name = name.replace(new, past)  # noqa: PLW2901
            made[f"wav2vec2.{name}"] = value
        del made["wav2vec2.masked_spec_embed"]
        return {**made, "lm_head.weight": torch.zeros(9, 32), "lm_head.bias": torch.zeros(9)}

    change_tensors(folder, published)
    clip = speech()[0]
    found = BUILDS["wav2vec2"](weights=folder).encode(clip).values
    np.testing.assert_array_equal(found, build(models, "wav2vec2-base").encode(clip).values)


def test_weights_in_half_precision_are_read(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["whisper"], tmp_path / "m")
    change_tensors(folder, lambda t: {name: value.half() for name, value in t.items()})
    clip = speech()[0]
    found, whole = (
        BUILDS["whisper-encoder"](weights=w).encode(clip).values for w in (folder, models["whisper"])
    )
    np.testing.assert_allclose(found, whole, atol=0.02)


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-large", "whisper"])
def test_bfloat16_is_nearly_the_same(models: dict[str, Path], name: str) -> None:
    clip = speech()[0]
    whole, half = (build(models, name, precision=p).encode(clip).values for p in (None, "bf16"))
    assert half.dtype == np.float32
    assert np.abs(whole - half).max() > 0
    cosine = (whole * half).sum() / np.linalg.norm(whole) / np.linalg.norm(half)
    assert cosine > 0.999
    with pytest.raises(UsageError, match="fp16 is for GPUs"):
        build(models, name, precision="fp16")
    assert build(models, name, precision="bf16").placement.precision == "bf16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_gives_the_same(models: dict[str, Path], name: str) -> None:
    clips = speech()
    here, there = (build(models, name, device=device) for device in ("cpu", "cuda"))
    expected = np.stack([here.encode(clip).values for clip in clips])
    np.testing.assert_allclose(np.stack([r.values for r in there.encode_many(clips)]), expected, atol=2e-3)
    half = build(models, name, device="cuda", precision="fp16").encode(clips[0]).values
    np.testing.assert_allclose(half, expected[0], atol=0.1)


def test_the_front_page_imports_nothing_heavy() -> None:
    code = (
        "import sys; import erc_audio_transformers as p; p.erc_extractors(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'av', 'transformers', 'safetensors')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
    assert [s.name for s in erc_extractors()] == ["wav2vec2", "wavlm", "hubert", "whisper-encoder"]
