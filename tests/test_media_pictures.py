"""Frames of erc_cli.media, each known by the number drawn on it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mediakit import CFR, CORNERS, RATE, VFR, Audio, Video, clips, heard, noise, numbers, write

from erc_cli import pictures
from erc_cli.decoding import Decoder
from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Status, Wish


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("cfr.mp4", Video(CFR, options=(("crf", "15"), ("g", "12")))),
        ("vfr.mp4", Video(VFR, options=(("crf", "15"), ("g", "30")))),
        (
            "pyramid.mkv",
            Video(VFR, options=(("x264-params", "bframes=5:b-pyramid=normal:keyint=40:open-gop=1"),)),
        ),
        ("onekey.mov", Video(VFR, options=(("x264-params", "keyint=infinite:bframes=3"),))),
        ("hevc.mp4", Video(VFR, codec="libx265", options=(("x265-params", "log-level=none:keyint=20"),))),
        ("vp9.webm", Video(VFR[:40], codec="libvpx-vp9", options=(("b", "1M"), ("cpu-used", "8")))),
        ("mpeg2.ts", Video(CFR, codec="mpeg2video", options=(("b", "2M"), ("bf", "2"), ("g", "15")))),
        ("nostamps.h264", Video(CFR, options=(("x264-params", "bframes=3:keyint=25"),))),
        ("nostamps.avi", Video(CFR, codec="mpeg4", options=(("b", "2M"), ("g", "15")))),
        ("mpeg4.mp4", Video(CFR, codec="mpeg4", options=(("b", "2M"), ("bf", "2"), ("g", "15")))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("count", [3, 60])
def test_each_time_gets_the_frame_on_screen_then(tmp_path: Path, name: str, video: Video, count: int) -> None:
    path = write(tmp_path / name, video)
    times = np.array(video.times) - video.times[0]  # the medium starts with its first frame
    rng = np.random.default_rng(count)
    wished = [tuple(rng.uniform(0, times[-1], 4).round(3).tolist()) for _ in range(count)]
    wished.append(tuple(times[[0, 5, 6, -1]].tolist()))  # exactly on a time stamp
    _, got = clips(path, [Wish(frames=frames) for frames in wished])
    assert len(got) == len(wished)
    for index, frames in enumerate(wished):
        expected = [int(np.searchsorted(times, time + 1e-5, "right")) - 1 for time in frames]
        assert numbers(got[index]) == expected
        assert [frame.time for frame in got[index].frames] == pytest.approx(times[expected], abs=1e-3)


def test_first_and_last_frame_stand_in_for_a_moment_beyond_them(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR[:50]))
    _, got = clips(path, [Wish(frames=(-0.2, 2.2)), Wish(frames=(-1.0, 1.0, 9.0)), Wish(frames=(3.0, 9.0))])
    assert numbers(got[0]) == [0, 49]
    assert numbers(got[1]) == [25]
    assert got[2] == Clip(frames_status=Status.OUTSIDE_MEDIA)


def test_pictures_that_start_late_and_end_early(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", Video([2 + t for t in CFR[:50]]), Audio(noise(8)))
    wishes = [Wish(frames=(1.0,)), Wish(frames=(2.0, 2.5)), Wish(frames=(7.0,)), Wish(frames=(1.0, 9.0))]
    info, got = clips(path, wishes)
    assert info.duration == pytest.approx(8.0, abs=0.05)
    assert got[0].frames_status is Status.NO_VIDEO
    assert numbers(got[1]) == [0, 12]
    assert got[2].frames_status is Status.NO_VIDEO
    assert got[3].frames_status is Status.NO_VIDEO


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, turn: int) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR[:5], [CORNERS] * 5, rotation=turn))
    info, got = clips(path, [Wish(frames=(0.1,))])
    rgb = got[0].frames[0].rgb
    upright = np.rot90(CORNERS, turn // 90)  # both count counterclockwise
    assert (info.width, info.height) == (upright.shape[1], upright.shape[0])
    assert rgb.shape == upright.shape
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - upright)[20:28, 20:28].max() < 30
    assert np.abs(rgb.astype(int) - upright)[-28:-20, 20:28].max() < 30


def test_mirrored_pictures_are_mirrored_back(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=160, height=96, pix_fmt="yuv420p")
        stream.set_display_rotation(0, hflip=True)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(CORNERS)) + stream.encode(None))
    _, got = clips(path, [Wish(frames=(0.0,))])
    assert np.abs(got[0].frames[0].rgb.astype(int) - CORNERS[:, ::-1])[20:28, 20:28].max() < 30


@pytest.mark.parametrize(
    ("aspect", "longest", "shape"),
    [
        (Fraction(2, 1), 640, (96, 320)),
        (Fraction(1, 2), 640, (192, 160)),
        (Fraction(2, 1), 100, (30, 100)),
        (None, 80, (48, 80)),
        (None, 1000, (96, 160)),
    ],
)
def test_square_pixels_and_longest_side(
    tmp_path: Path, aspect: Fraction | None, longest: int, shape: tuple[int, int]
) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR[:3], aspect=aspect))
    _, got = clips(path, [Wish(frames=(0.05,), longest_side=longest)])
    assert got[0].frames[0].rgb.shape == (*shape, 3)
    assert numbers(got[0]) == [1]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "size"),
    [
        ("libx264", "yuv444p10le", "mp4", (160, 96)),
        ("libx264", "yuvj420p", "mp4", (160, 96)),
        ("ffv1", "gray", "mkv", (160, 96)),
        ("ffv1", "gray16le", "mkv", (160, 96)),
        ("ffv1", "yuv420p", "mkv", (161, 97)),
        ("ffv1", "yuva420p", "mkv", (163, 95)),
        ("rawvideo", "rgb24", "avi", (160, 96)),
        ("rawvideo", "yuv411p", "nut", (164, 96)),
        ("mjpeg", "yuvj422p", "avi", (161, 97)),
    ],
)
def test_odd_pixel_formats(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str, size: tuple[int, int]
) -> None:
    steps = np.linspace(0, 255, size[0]).astype(np.uint8)
    ramp = np.broadcast_to(steps[None, :, None], (size[1], size[0], 3)).copy()
    options = (("crf", "5"),) if codec == "libx264" else (("qscale", "2"),) if codec == "mjpeg" else ()
    path = write(
        tmp_path / f"v.{suffix}",
        Video(CFR[:3], [ramp] * 3, size=size, codec=codec, pix_fmt=pix_fmt, options=options),
    )
    _, got = clips(path, [Wish(frames=(0.05,)), Wish(frames=(0.05,), longest_side=81)])
    full, small = got[0].frames[0].rgb, got[1].frames[0].rgb
    assert full.shape == ramp.shape
    assert np.abs(full.astype(int) - ramp).max() <= 12
    assert small.shape[1] == 81
    assert np.abs(small.astype(int) - np.linspace(1, 254, 81)[None, :, None]).max() <= 14


def test_frames_nobody_wants_are_not_converted_and_shared_ones_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR))
    real, calls = pictures.to_rgb, []

    def counted(frame: av.VideoFrame, longest_side: int, *rest: object) -> np.ndarray:
        calls.append((frame.pts, longest_side))
        return real(frame, longest_side, *rest)

    monkeypatch.setattr(pictures, "to_rgb", counted)
    wishes = [Wish(frames=(1.0, 2.0)), Wish(frames=(2.01, 1.0)), Wish(frames=(1.0,), longest_side=80)]
    _, got = clips(path, wishes)
    assert len(calls) == len(set(calls)) == 3
    assert got[0].frames[0].rgb is got[1].frames[1].rgb
    assert [numbers(got[i]) for i in range(3)] == [[25, 50], [50, 25], [25]]


def test_stretches_nobody_wants_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        tmp_path / "v.mp4",
        Video([k / 25 for k in range(1000)], options=(("g", "50"),)),
        Audio(noise(40)),
    )
    info = probe(path)
    kinds: list[str] = []
    real = Decoder.decode

    def counted(self: Decoder, packet: av.Packet | None) -> list:
        kinds.append("end" if packet is None else packet.stream.type)
        return real(self, packet)

    monkeypatch.setattr(Decoder, "decode", counted)
    (answer,) = read_clips(info, [Wish(frames=(30.5, 31.0))])
    assert numbers(answer[1]) == [762, 775]
    assert set(kinds) == {"video"}
    assert len(kinds) < 120  # of 1000: the last two groups of pictures
    kinds.clear()
    (answer,) = read_clips(info, [Wish(sound=(30.0, 31.0))])
    assert np.array_equal(answer[1].sound, heard(noise(40))[30 * RATE : 31 * RATE])
    assert set(kinds) == {"audio"}
    assert len(kinds) < 120  # of 800
