"""Training of the mel branch on small real sound files: learning, resuming, labels, damaged files."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erc_audio_mel import build, train
from erc_audio_mel.sounds import Cache
from erc_audio_mel.spectrogram import RATE
from erc_audio_mel.training import crop, labels_of
from erc_cli.errors import UsageError
from erc_cli.learning import Progress, Source, Split, TrainJob
from erc_cli.media import probe, read_clips
from erc_cli.types import Conversation, Utterance

LABELS = ("low", "middle", "high")
QUICK: dict[str, Any] = {
    "seconds": 0.5,
    "bands": 32,
    "hop": 160,
    "image": "grey",
    "width": 4,
    "projection": 16,
    "epochs": 4,
    "lr": 1e-2,
    "batch": 12,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_sound(path: Path, label: int, seed: int) -> Path:
    """A buzz of 150, 400 or 1500 Hz with noise, 0.6 to 1 s."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(generator.uniform(0.6, 1.0) * RATE)) / RATE
    hertz = (150, 400, 1500)[label] * generator.uniform(0.9, 1.1)
    sound = 0.4 * np.sign(np.sin(2 * np.pi * hertz * time)) + generator.normal(0, 0.02, len(time))
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, RATE, 0, "NONE", ""))
        stream.writeframes((sound * 20000).astype("<i2").tobytes())
    return path


def make_split(folder: Path, name: str, count: int, labels: tuple[str, ...] = LABELS) -> Split:
    """Each file is a conversation of one utterance; the last but one is missing, the last is no sound."""
    folder.mkdir(exist_ok=True)
    offset = 1000 if name == "dev" else 0
    paths = [write_sound(folder / f"{name}{i}.wav", i % 3, i + offset) for i in range(count)]
    broken = folder / f"{name}-broken.wav"
    broken.write_bytes(b"RIFF\0\0\0\0WAVEnothing")
    paths += [folder / f"{name}-missing.wav", broken]
    return Split(
        name=name,
        labels=labels,
        sha256=name,
        conversations=tuple(Conversation((Utterance(0, 1, ""),)) for _ in paths),
        targets=tuple((i % 3,) for i in range(len(paths))),
        sources=tuple((Source(path),) for path in paths),
    )


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    folder = tmp_path_factory.mktemp("tones")
    return {"train": make_split(folder, "train", 36), "dev": make_split(folder, "dev", 12)}


def job(
    splits: dict[str, Split],
    folder: Path,
    labels: tuple[str, ...] = LABELS,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TrainJob:
    folder.mkdir(exist_ok=True)
    return TrainJob(lambda name, split: splits[split], ("tones",), labels, folder, 0, report, folder)


@pytest.mark.parametrize("cross_entropy", [0.0, 1.0])
def test_it_learns_and_its_head_works(splits: dict[str, Split], tmp_path: Path, cross_entropy: float) -> None:
    done = train(job(splits, tmp_path / "run"), **QUICK, cross_entropy=cross_entropy)
    assert done.options == {"weights": "audio.safetensors"}
    assert done.metrics["dev"]["weighted_f1"] > 80
    assert done.metrics["dev"]["uar"] > 80
    assert done.metrics["left_out"] == {"unreadable": 4}
    assert not (tmp_path / "run" / "sounds").exists(), "the run folder becomes a preset"
    extractor = build(weights=tmp_path / "run" / "audio.safetensors")
    assert extractor.head is not None
    right = 0
    for i, ((source,), (target,)) in enumerate(
        zip(splits["dev"].sources, splits["dev"].targets, strict=True)
    ):
        if i >= 12:
            break
        assert source is not None
        info = probe(source.path)
        ((_, clip),) = read_clips(info, [extractor.wish(Utterance(0, info.duration, ""))])
        logits = extractor.encode(clip).values @ extractor.head.weight.T + extractor.head.bias
        right += int(logits.argmax()) == target
    assert right >= 10


def test_other_labels_give_an_embedding_without_a_head(splits: dict[str, Split], tmp_path: Path) -> None:
    done = train(job(splits, tmp_path / "run", ("joy", "anger")), **QUICK | {"epochs": 1})
    assert done.metrics["labels"] == list(LABELS)
    assert build(weights=tmp_path / "run" / "audio.safetensors").head is None


def test_labels_of_several_data_sets() -> None:
    def split(*labels: str) -> Split:
        return Split("train", labels, "")

    assert labels_of([split("b", "a")], ("a", "b", "c")) == ("a", "b", "c")
    assert labels_of([split("a", "b"), split("b", "c")], ("a", "b")) == ("a", "b", "c")


class StopError(Exception):
    pass


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(splits: dict[str, Split], tmp_path: Path) -> None:
    train(job(splits, tmp_path / "whole"), **QUICK)

    def stop(progress: Progress) -> None:
        if progress.stage == "audio" and progress.done == 5:
            raise StopError

    with pytest.raises(StopError):
        train(job(splits, tmp_path / "cut", report=stop), **QUICK)
    assert list((tmp_path / "cut" / "sounds").glob("*.safetensors")), "decoded sound is kept"
    train(job(splits, tmp_path / "cut"), **QUICK)
    whole, cut = ((tmp_path / name / "audio.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_sound_is_decoded_once(splits: dict[str, Split], tmp_path: Path, monkeypatch: Any) -> None:
    cache = Cache(tmp_path / "sounds", 1.0, lambda progress: None)
    first = cache.read(splits["dev"], [0, 1, 2])
    monkeypatch.setattr("erc_audio_mel.sounds.decode", lambda *_: pytest.fail("decoded again"))
    again = cache.read(splits["dev"], [2, 1, 0])
    assert len(first) == len(again) == 12
    assert (first.samples == again.samples).all()
    assert (first.targets + again.targets == 2).all(), "labels are not part of the cache"
    assert first.left_out == {"unreadable": 2}


def test_what_is_cached_is_what_was_heard(splits: dict[str, Split], tmp_path: Path) -> None:
    found = Cache(tmp_path / "sounds", 0.25, lambda progress: None).read(splits["dev"], [0, 1, 2])
    order = sorted(range(14), key=lambda i: str(splits["dev"].sources[i][0].path))  # type: ignore[union-attr]
    kept = [i for i in order if i < 12]
    source = splits["dev"].sources[kept[3]][0]
    assert source is not None
    with wave.open(str(source.path)) as stream:
        whole = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768
    begin = round((len(whole) / RATE - 0.25) / 2 * RATE)
    assert len(found.sound(3)) == RATE // 4
    assert np.abs(found.sound(3) - whole[begin : begin + RATE // 4]).max() < 1e-3
    assert found.targets[3] == kept[3] % 3


def test_several_utterances_of_one_file(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", 0, 0)
    split = Split(
        "train",
        LABELS,
        "x",
        (Conversation((Utterance(0, 1, ""),) * 4),),
        ((0, 1, -1, 2),),
        sources=((Source(path, 0.3, 0.5), Source(path, 0.0, 0.2), Source(path), Source(path, 90.0, 91.0)),),
    )
    found = Cache(tmp_path / "sounds", 1.0, lambda progress: None).read(split, [0, 1, 2])
    assert found.targets.tolist() == [1, 0], "in the file's order, the unlabelled one left out"
    assert found.left_out == {"outside_media": 1}
    assert [len(found.sound(i)) for i in range(2)] == [3200, 3200]


def test_data_without_sound_is_a_clear_error(tmp_path: Path) -> None:
    empty = Split("train", LABELS, "x", (Conversation((Utterance(0, 1, ""),)),), ((0,),))
    with pytest.raises(UsageError, match=r"train\.audio: none of the data sets has sound\.") as caught:
        train(job({"train": empty, "dev": empty}, tmp_path / "run"), **QUICK)
    assert "--data" in str(caught.value.hint)


def test_random_crops_stay_inside() -> None:
    generator = np.random.default_rng(0)
    sound = np.arange(1, 101, dtype=np.float32)
    starts = {float(crop(sound, 90, generator)[0]) for _ in range(200)}
    assert starts == set(map(float, range(1, 12)))
    padded = crop(sound, 110, generator)
    assert padded[padded > 0].tolist() == sound.tolist()


def test_real_recordings_are_heard(shared: Path, tmp_path: Path) -> None:
    """RAVDESS and EmoDB clips, by erc's own reader: middle of the clip, loud enough, different."""
    files = sorted((shared / "data" / "ravdess").glob("Actor_0[12]/*.ogg"))[::30]
    files += sorted((shared / "data" / "emodb").glob("*.ogg"))[::250]
    if len(files) < 5:
        pytest.skip("needs the folders ravdess and emodb of the shared data")
    split = Split(
        "train",
        LABELS,
        "x",
        tuple(Conversation((Utterance(0, 1, ""),)) for _ in files),
        tuple((0,) for _ in files),
        sources=tuple((Source(path),) for path in files),
    )
    found = Cache(tmp_path / "sounds", 1.0, lambda progress: None).read(split, [0, 1, 2])
    assert len(found) == len(files)
    assert not found.left_out
    assert [len(found.sound(i)) for i in range(len(files))] == [RATE] * len(files)
    assert all(float(np.abs(found.sound(i)).max()) > 0.002 for i in range(len(files)))
