"""erc_cli.media: sound and pictures together, progress, memory, real files, the example."""

from __future__ import annotations

import gc
import os
import tracemalloc
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from mediakit import (
    CFR,
    CORNERS,
    RATE,
    Audio,
    Video,
    clips,
    encoded_audio,
    heard,
    noise,
    numbers,
    sweep,
    write,
)

from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Frame, Status, Wish

SHARED = Path(os.environ.get("ERC_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "media"
REAL = sorted(p for p in SHARED.rglob("*") if p.suffix in {".mp4", ".mov", ".wav", ".flac"})


def test_wishes_in_any_order_overlapping_equal_and_empty(tmp_path: Path) -> None:
    samples = noise(4)
    path = write(tmp_path / "v.mkv", Video(CFR), Audio(samples))
    wishes = [
        Wish(sound=(3.0, 3.5), frames=(3.1, 3.3)),
        Wish(),
        Wish(sound=(0.5, 3.9), frames=(3.0, 1.0)),
        Wish(frames=(0.0,)),
        Wish(sound=(3.0, 3.5), frames=(3.1, 3.3)),
        Wish(sound=(0.1, 0.2)),
    ]
    info = probe(path)
    order = [index for index, _ in read_clips(info, wishes)]
    assert sorted(order) == [0, 2, 3, 4, 5]
    assert {order[0], order[1]} == {3, 5}
    _, got = clips(path, wishes)
    for index in order:
        wish, clip = wishes[index], got[index]
        assert clip.sound_status is clip.frames_status is Status.OK
        assert numbers(clip) == [int(time * 25 + 1e-3) for time in wish.frames]
        if wish.sound is None:
            assert clip.sound is None
        else:
            start, end = (round(t * RATE) for t in wish.sound)
            assert np.array_equal(clip.sound, heard(samples)[start:end])


def test_sound_without_pictures_and_pictures_without_sound(tmp_path: Path) -> None:
    wish = Wish(sound=(0.5, 1.0), frames=(0.5, 0.7))
    info, got = clips(write(tmp_path / "a.wav", audio=Audio(noise(2), codec="pcm_s16le")), [wish])
    assert (info.video, info.audio, info.width) == (False, True, 0)
    assert got[0].frames_status is Status.NO_VIDEO
    assert got[0].frames == ()
    assert len(got[0].sound) == RATE // 2
    info, got = clips(write(tmp_path / "v.mp4", Video(CFR)), [wish, Wish(sound=(0.0, 1.0))])
    assert (info.video, info.audio) == (True, False)
    assert got[0].sound_status is Status.NO_AUDIO_TRACK
    assert got[0].sound is None
    assert numbers(got[0]) == [12, 17]
    assert got[1] == Clip(sound_status=Status.NO_AUDIO_TRACK)


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac")])
def test_cover_art_is_not_video(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w", format="mp3" if name == "a.mp3" else "mp4") as container:
        sound = encoded_audio(container, Audio(sweep(3), codec=codec))
        cover = container.add_stream("mjpeg", rate=1, width=160, height=96, pix_fmt="yuvj420p")
        cover.disposition = Disposition.attached_pic
        picture = cover.encode(av.VideoFrame.from_ndarray(CORNERS).reformat(format="yuvj420p"))
        container.mux(picture + cover.encode(None) + sound)
    info, got = clips(path, [Wish(sound=(1.0, 2.0), frames=(1.0,))])
    assert (info.video, info.audio) == (False, True)
    assert got[0].frames_status is Status.NO_VIDEO
    assert np.corrcoef(got[0].sound, sweep(3)[RATE : 2 * RATE])[0, 1] > 0.99  # 1 sample off: 0.9


def test_probe_tells_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a:b.mp4", Video(CFR), Audio(noise(4), codec="aac"))
    info = probe(path)
    assert info.duration == pytest.approx(4.0, abs=0.1)
    assert (info.video, info.audio, info.width, info.height) == (True, True, 160, 96)
    assert len(info.sha256) == 64
    assert info.sha256 != probe(write(tmp_path / "other.mp4", Video(CFR[:9]))).sha256
    assert info.warnings == ()


def test_length_is_counted_where_the_file_does_not_say(tmp_path: Path) -> None:
    assert probe(write(tmp_path / "v.h264", Video(CFR))).duration == pytest.approx(4.0, abs=0.05)
    path = write(tmp_path / "v.mkv", Video(CFR), live="1")
    assert probe(path).duration == pytest.approx(4.0, abs=0.05)


# --- running ----------------------------------------------------------------------------------


def test_progress_rises_to_one(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR), Audio(noise(4), codec="aac"))
    seen: list[float] = []
    list(read_clips(probe(path), [Wish(frames=(t,)) for t in CFR], on_progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 20


def test_leaving_early_closes_the_file(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    path = write(tmp_path / "v.mp4", Video(CFR), Audio(noise(4), codec="aac"))

    def handles() -> int:
        links = (link for link in folder.iterdir() if link.is_symlink())
        return sum(str(path) in str(link.readlink()) for link in links if os.path.lexists(link))

    answers = read_clips(probe(path), [Wish(frames=(t,)) for t in CFR])
    assert handles() == 0
    next(answers)
    assert handles() == 1
    answers.close()  # type: ignore[attr-defined]
    assert handles() == 0


def _peak(make: Callable[[], Iterator[tuple[int, Clip]]]) -> int:
    tracemalloc.start()
    for _ in make():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 8):
        path = tmp_path / f"{minutes}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(bytes(minutes * 60 * RATE * 2))
        wishes = [Wish(sound=(t, t + 4.2)) for t in range(0, minutes * 60, 4)]
        info = probe(path)
        peaks.append(_peak(lambda info=info, wishes=wishes: read_clips(info, wishes)))
    assert peaks[1] < peaks[0] + 1_000_000
    assert peaks[1] < 3_000_000


def test_frames_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    # PyAV's side data and its frame hold each other; H.264 from x264 has side data.
    path = write(tmp_path / "v.mp4", Video(CFR, rotation=90))
    info = probe(path)
    gc.collect()
    gc.disable()
    try:
        for _ in read_clips(info, [Wish(frames=CFR[k : k + 5]) for k in range(0, 100, 5)]):
            pass
        alive = sum(issubclass(type(thing), av.VideoFrame) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert alive <= 1


# --- real files -------------------------------------------------------------------------------


def plain_frames(path: Path, until: float) -> Iterator[Frame]:
    """Every frame up to a time, the simple way."""
    with av.open(str(path)) as container:
        start = (container.start_time or 0) / av.time_base
        for frame in container.decode(video=0):
            if frame.time - start > until:
                return
            yield Frame(frame.time - start, frame.to_ndarray(format="rgb24"))


@pytest.mark.skipif(not REAL, reason="needs the media of the shared data folder")
@pytest.mark.parametrize(
    "path", [p for p in REAL if p.suffix in {".mp4", ".mov"}][:9:2], ids=lambda p: p.name
)
def test_real_files_agree_with_a_plain_decode(path: Path) -> None:
    info = probe(path)
    span = min(info.duration, 2.0)
    times = np.random.default_rng(5).uniform(0, span, 12).tolist()
    _, got = clips(path, [Wish(frames=tuple(times), sound=(0.2, 1.2), longest_side=10_000)])
    frames = list(plain_frames(path, span))
    for time, frame in zip(times, got[0].frames, strict=True):
        expected = max((f for f in frames if f.time <= time + 1e-5), key=lambda f: f.time, default=frames[0])
        assert frame.time == pytest.approx(expected.time, abs=1e-6)
        assert np.array_equal(frame.rgb, expected.rgb)
    assert len(got[0].sound) == RATE


@pytest.mark.skipif(not REAL, reason="needs the media of the shared data folder")
def test_a_real_recording_whose_sound_starts_late() -> None:
    path = SHARED / "pyfeat" / "face_noface.mov"
    _, got = clips(path, [Wish(sound=(0.0, 2.4)), Wish(sound=(2.43, 4.0)), Wish(sound=(1.43, 3.43))])
    assert not got[0].sound.any()
    assert got[1].sound[100:].any()
    assert np.array_equal(got[2].sound[RATE:], got[1].sound[:RATE])


# --- the example ------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parents[1] / "examples" / "conversation.mp4"


def test_the_example_is_small_and_has_what_its_page_says() -> None:
    assert EXAMPLE.stat().st_size < 1_000_000
    info, got = clips(EXAMPLE, [Wish(sound=(0.5, 3.6), frames=(1.0,)), Wish(sound=(22.3, 23.8))])
    assert (info.width, info.height, info.warnings) == (640, 360, ())
    assert 25 < info.duration < 35
    assert np.abs(got[0].sound).max() > 0.5
    assert np.abs(got[1].sound).max() < 1e-3
