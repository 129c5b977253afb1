"""What erc_cli.media says of files that are cut, damaged, or no media at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from mediakit import CFR, CORNERS, RATE, Audio, Video, clips, heard, noise, numbers, write

from erc_cli.errors import UsageError
from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Notice, Status, Wish


def spoiled(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no media, and a word that the message must hold."""
    whole = write(tmp_path / "whole.mp4", Video(CFR), Audio(noise(4), codec="aac")).read_bytes()
    contents = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "text file"),
        "utf16.mp4": ("Hello".encode("utf-16"), "text file"),
        "page.mp4": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        "list.m3u8": (b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\nwhole.mp4\n#EXT-X-ENDLIST\n", "playlist"),
        "list.ffconcat": (b"ffconcat version 1.0\nfile whole.mp4\n", "playlist"),
        "cut.mp4": (whole[: whole.index(b"moov") - 4], "cut off"),
        "bytes.mp4": (bytes(range(256)) * 40, "not a video or sound file"),
    }
    return {name: (_filled(tmp_path / name, data), word) for name, (data, word) in contents.items()}


def _filled(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_files_that_are_no_media_are_named_and_explained(tmp_path: Path) -> None:
    cases = spoiled(tmp_path)
    cases["missing.mp4"] = (tmp_path / "missing.mp4", "No such file")
    cases["folder"] = (tmp_path, "folder")
    cases["long name"] = (tmp_path / f"{'x' * 300}.mp4", "cannot be read")
    cases["below a file"] = (cases["text.mp4"][0] / "x.mp4", "No such file")
    for path, word in cases.values():
        with pytest.raises(UsageError, match=word) as caught:
            probe(path)
        assert str(path) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code == 2


def test_a_subtitle_stream_alone_is_no_medium(tmp_path: Path) -> None:
    path = tmp_path / "still.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1, width=160, height=96, pix_fmt="yuvj420p")
        cover.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(CORNERS).reformat(format="yuvj420p")
        container.mux(cover.encode(frame) + cover.encode(None))
    with pytest.raises(UsageError, match="neither sound nor moving pictures"):
        probe(path)


def test_a_file_without_permission() -> None:
    root = os.geteuid() == 0  # who may read everything, so that another user has to try
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = write(Path(name, "v.mp4"), Video(CFR[:3]))
        path.chmod(0)
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(UsageError, match="cannot be read") as caught:
                probe(path)
        finally:
            if root:
                os.seteuid(0)
    assert "permissions" in str(caught.value)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_file_cut_in_the_middle_gives_what_it_has(tmp_path: Path, name: str) -> None:
    video = Video([k / 25 for k in range(500)], options=(("g", "25"),))
    flags = {"movflags": "faststart"} if name.endswith("mp4") else {}
    data = write(tmp_path / name, video, Audio(noise(20)), **flags).read_bytes()
    path = _filled(tmp_path / f"cut-{name}", data[: len(data) // 2])
    notices: list[Notice] = []
    wishes = [
        Wish(sound=(2.0, 3.0), frames=(2.5,)),
        Wish(sound=(16.0, 17.0), frames=(16.5,)),
        Wish(sound=(25, 26)),
    ]
    _, got = clips(path, wishes, notices)
    assert np.array_equal(got[0].sound, heard(noise(20))[2 * RATE : 3 * RATE])
    assert numbers(got[0]) == [62]
    assert got[1] == Clip(sound_status=Status.UNREADABLE, frames_status=Status.UNREADABLE)
    assert got[2].sound_status is Status.OUTSIDE_MEDIA
    assert [notice.code for notice in notices] == ["media_cut"]
    notices.clear()
    clips(path, wishes[:1], notices)
    assert notices == []  # reading stopped before the damage


def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    video = Video([k / 25 for k in range(500)], codec="mpeg4", options=(("b", "2M"), ("g", "25")))
    path = write(tmp_path / "v.mkv", video, Audio(noise(20)))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 8] = bytes(len(data) // 8)
    path.write_bytes(data)
    notices: list[Notice] = []
    spans = [(t, t + 0.5) for t in (1.0, 11.0, 18.0)]
    _, got = clips(path, [Wish(sound=(a, b), frames=(a + 0.2,)) for a, b in spans], notices)
    for index in (0, 2):
        start, end = (round(t * RATE) for t in spans[index])
        assert np.array_equal(got[index].sound, heard(noise(20))[start:end])
        assert numbers(got[index]) == [round((spans[index][0] + 0.2) * 25)]
    assert got[1].sound_status is Status.UNREADABLE
    assert len(notices) == 1


def test_a_file_that_went_away(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", Video(CFR[:3]))
    info = probe(path)
    path.unlink()
    with pytest.raises(UsageError, match="No such file"):
        list(read_clips(info, [Wish(frames=(0.0,))]))


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_bad_bytes_anywhere_end_in_answers_or_in_one_clear_error(tmp_path: Path, name: str) -> None:
    data = write(tmp_path / name, Video(CFR), Audio(noise(4), codec="aac")).read_bytes()
    wishes = [Wish(sound=(t, t + 0.5), frames=(t, t + 0.3)) for t in (0.0, 1.0, 2.0, 3.4, 8.0)]
    rng = np.random.default_rng(11)
    answered = 0
    for number in range(16):
        spoilt = bytearray(data if number % 3 else data[: int(rng.integers(len(data)))])
        for place in rng.integers(0, len(spoilt), 20):
            spoilt[place] = int(rng.integers(256))
        path = _filled(tmp_path / f"{number}-{name}", bytes(spoilt))
        try:
            info = probe(path)
        except UsageError as error:
            assert error.hint
            continue
        answered += 1
        assert sorted(index for index, _ in read_clips(info, wishes)) == list(range(len(wishes)))
    assert answered > 4
