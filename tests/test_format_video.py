"""The annotated video: times, sizes and sound, with files made for it and with the example."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT, Erc, needs
from mediakit import CORNERS, VFR, Audio, Video, noise, sweep
from mediakit import write as write_media
from videokit import Times, box, frames, grey, packets, result_of, sound, written

needs("video", "PIL", "matplotlib")

import erc_format_json  # noqa: E402
from erc_cli.errors import ErcError, UsageError  # noqa: E402
from erc_cli.learning import Progress  # noqa: E402
from erc_cli.media import probe  # noqa: E402
from erc_cli.result import NOTICE  # noqa: E402
from erc_cli.types import Result, Utterance  # noqa: E402

# --- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(("times", "name"), [(VFR, "a.mkv"), ([k / 25 for k in range(40)], "a.mp4")])
def test_every_frame_keeps_its_time(tmp_path: Path, times: Times, name: str, ending: str) -> None:
    source = write_media(tmp_path / name, Video(times), Audio(noise(times[-1])))
    said = Utterance(0.0, times[-1], "Hello there.", "Anna")
    made = written(result_of(source, said), tmp_path / f"out{ending}")
    before, after = frames(source)[0], frames(made)[0]
    assert len(before) == len(times)
    assert after == pytest.approx(before, abs=0.0006 if ending == ".mkv" else 1e-6)
    assert probe(made).duration == pytest.approx(probe(source).duration, abs=0.05)


def test_a_recording_whose_clock_starts_late_begins_at_nought(tmp_path: Path) -> None:
    """As MPEG-TS from the air; times of a result are from the medium's start."""
    video = Video([3 + k / 25 for k in range(50)], codec="mpeg2video")
    source = write_media(tmp_path / "a.ts", video, Audio(sweep(2), codec="aac", start=3.0))
    with av.open(str(source)) as file:
        origin = file.start_time / av.time_base
    assert origin > 0.5
    before = frames(source)[0]
    made = written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4")
    assert frames(made)[0] == pytest.approx([time - origin for time in before], abs=1 / 90_000 + 1e-9)
    first, second = sound(source), sound(made)
    assert second[1] == pytest.approx(first[1] - origin, abs=0.03)


# --- sizes, turns, colours -------------------------------------------------------------------


def test_what_is_not_drawn_on_stays_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(30, 226, (6, 10, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    source = write_media(tmp_path / "a.mp4", Video([0.0, 0.5, 1.0], [smooth] * 3))
    made = written(result_of(source, Utterance(0.4, 0.7, "Words", None)), tmp_path / "out.mp4")
    (_, before), (_, after) = frames(source), frames(made)
    assert np.abs(before[0].astype(int) - after[0]).mean() < 2
    assert np.abs(before[1].astype(int) - after[1]).mean() > 10
    assert np.abs(before[2].astype(int) - after[2]).mean() < 2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_recording_is_upright_and_so_are_its_words(tmp_path: Path, rotation: int) -> None:
    source = write_media(tmp_path / "a.mp4", Video([0, 0.5], [CORNERS] * 2, rotation=rotation))
    info = probe(source)
    made = written(result_of(source, Utterance(5, 6, "later")), tmp_path / "out.mp4")
    again = probe(made)
    assert (again.width, again.height) == (info.width, info.height)
    turned = np.rot90(CORNERS, rotation // 90)
    picture = frames(made)[1][0]
    assert picture.shape == turned.shape
    assert np.abs(picture.astype(int) - turned).mean() < 12


def test_odd_sizes_get_a_line_more(tmp_path: Path) -> None:
    gradient = np.broadcast_to(np.arange(91, dtype=np.uint8)[None, :, None] * 2, (67, 91, 3))
    video = Video([0, 0.5], [gradient] * 2, (91, 67), "ffv1", "yuv444p", options=())
    source = write_media(tmp_path / "a.mkv", video)
    picture = frames(written(result_of(source, Utterance(5, 6, "later")), tmp_path / "out.mp4"))[1][0]
    assert picture.shape == (68, 92, 3)
    assert np.abs(picture[:67, :91].astype(int) - gradient).mean() < 4
    assert np.abs(picture[:, 91].astype(int) - 180).mean() < 8


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("ffv1", "yuv422p10le"), ("ffv1", "bgr0"), ("mjpeg", "yuvj420p"), ("ffv1", "gray")]
)
def test_whatever_the_pixels_are(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    source = write_media(
        tmp_path / "a.mkv", Video([0, 0.5], [CORNERS] * 2, codec=codec, pix_fmt=pix_fmt, options=())
    )
    before = frames(source)[1][0]
    after = frames(written(result_of(source, Utterance(5, 6, "later")), tmp_path / "out.mp4"))[1][0]
    assert np.abs(before.astype(int) - after).mean() < 6


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    source = grey(tmp_path / "a.mp4", aspect=Fraction(2))
    said = Utterance(0, 2, "Wide", "Anna")
    made = written(result_of(source, said, detail=box(0.5, 0.5, 0.75, 1.0)), tmp_path / "out.mp4")
    with av.open(str(made)) as file:
        assert file.streams.video[0].sample_aspect_ratio == 2
        assert (file.streams.video[0].width, file.streams.video[0].height) == (160, 96)
    picture = frames(made)[1][5]
    left = [x for x in range(160) if picture[70, x].min() > 190]
    assert 78 <= min(left) <= 82
    assert 117 <= max(left) <= 120


# --- sound -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "ending"),
    [("aac", ".mp4"), ("libmp3lame", ".mp4"), ("flac", ".mp4"), ("aac", ".mkv"), ("pcm_s16le", ".mkv")],
)
def test_sound_is_copied_packet_by_packet(tmp_path: Path, codec: str, ending: str) -> None:
    times = [k / 10 for k in range(20)]
    source = write_media(tmp_path / "a.mkv", Video(times), Audio(sweep(2), codec=codec))
    told: list[str] = []
    made = written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / f"out{ending}", say=told.append)
    assert packets(made) == packets(source)
    assert told == []


def test_sound_that_does_not_fit_is_encoded_again_and_that_is_said(tmp_path: Path) -> None:
    source = write_media(
        tmp_path / "a.mkv", Video([k / 10 for k in range(30)]), Audio(sweep(3), codec="pcm_s16le", start=0.25)
    )
    told: list[str] = []
    made = written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4", say=told.append)
    assert told == [
        "The sound (pcm_s16le) does not fit into this file as it is: it was encoded again, as AAC."
    ]
    (before, start), (after, again) = sound(source), sound(made)
    shift = round((start - again) * 16000)
    pair = before[: 16000 * 2], after[shift if shift > 0 else 0 :][: 16000 * 2]
    lag = np.argmax(np.correlate(pair[1][4000:12000], pair[0][5000:11000], "valid")) - 1000
    assert abs(lag) < 200, "in step within 12 ms"


def test_without_sound(tmp_path: Path) -> None:
    source = write_media(tmp_path / "a.mp4", Video([0, 0.5, 1]))
    info = probe(written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4"))
    assert (info.video, info.audio) == (True, False)


# --- errors and the command ------------------------------------------------------------------


def saved(result: Result, path: Path) -> Path:
    erc_format_json.erc_writers()[0].write(result, path)
    return path


def test_a_result_without_a_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are words only"):
        written(result_of(None, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4")


def test_sound_alone(tmp_path: Path) -> None:
    source = write_media(tmp_path / "a.wav", audio=Audio(sweep(1), codec="pcm_s16le"))
    with pytest.raises(UsageError, match="sound only") as caught:
        written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4")
    assert ".html" in (caught.value.hint or "")


def test_a_recording_that_is_gone_or_another(tmp_path: Path) -> None:
    source = grey(tmp_path / "a.mp4")
    result = result_of(source, Utterance(0, 1, "Hi."))
    grey(source, seconds=1.0)
    with pytest.raises(UsageError, match="another file"):
        written(result, tmp_path / "out.mp4")
    source.unlink()
    with pytest.raises(UsageError, match="is not there") as caught:
        written(result, tmp_path / "out.mp4")
    assert "--media" in (caught.value.hint or "")


def test_a_recording_that_is_damaged_at_the_end_is_written_as_far_as_it_goes(tmp_path: Path) -> None:
    source = grey(tmp_path / "a.mkv", seconds=4)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    made = written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4")
    assert frames(made)[0] == pytest.approx(frames_until_damage(source))


def frames_until_damage(path: Path) -> list[float]:
    times = []
    with av.open(str(path)) as source:
        for packet in source.demux(video=0):
            try:
                times += [float(f.pts * f.time_base) for f in packet.decode()]
            except av.FFmpegError:
                break
    return times


def test_a_full_disk_is_not_our_error(tmp_path: Path) -> None:
    """What the encoder hears of the disk becomes an OSError, which `files.atomic_write` explains."""
    source = grey(tmp_path / "a.mp4")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises((OSError, ErcError)):
        written(result_of(source, Utterance(0, 1, "Hi.")), full)


def test_progress_goes_to_the_end(tmp_path: Path) -> None:
    source = grey(tmp_path / "a.mp4", seconds=3)
    steps: list[Progress] = []
    made = written(result_of(source, Utterance(0, 1, "Hi.")), tmp_path / "out.mp4", report=steps.append)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert {step.total for step in steps} == {3}
    assert (steps[0].done, steps[-1].done) == (0, 3)
    with av.open(str(made)) as file:
        assert file.metadata["comment"] == NOTICE


def test_the_command_draws_a_saved_result(erc: Erc, tmp_path: Path) -> None:
    source = grey(tmp_path / "it's a-film.mp4", seconds=1)
    document = saved(result_of(source, Utterance(0, 1, "Hi.", "Anna")), tmp_path / "r.json")
    made = tmp_path / "out.mkv"
    done = erc("report", document, "-o", made)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert frames(made)[0] == pytest.approx(frames(source)[0], abs=0.001)
    again = erc("report", document, "-o", made)
    assert again.returncode == 2
    assert "--force" in again.stderr
    refused = erc("report", document, "-o", tmp_path / "b.mp4", "--embed")
    assert refused.returncode == 2
    assert "--embed" in refused.stderr
    source.unlink()
    gone = erc("report", document, "-o", tmp_path / "c.mp4")
    assert gone.returncode == 2
    assert "is not there" in gone.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv", "r.json"]


def test_a_piece_of_the_example(tmp_path: Path) -> None:
    """Two seconds of the real recording, packets copied, with a face where it is."""
    piece = tmp_path / "piece.mp4"
    with av.open(str(ROOT / "examples" / "conversation.mp4")) as source, av.open(str(piece), "w") as target:
        streams = {
            s.index: target.add_stream_from_template(s)
            for s in (source.streams.video[0], source.streams.audio[0])
        }
        for packet in source.demux(*source.streams.video[:1], *source.streams.audio[:1]):
            if packet.dts is not None and float(packet.dts * packet.time_base) < 2:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    said = Utterance(0.5, 1.5, "We did it! I am so happy!", "ANNA")
    made = written(result_of(piece, said, detail=box(0.38, 0.17, 0.575, 0.62)), tmp_path / "out.mp4")
    (before, clean), (after, drawn) = frames(piece), frames(made)
    assert after == pytest.approx(before)
    assert packets(made) == packets(piece)
    middle = before.index(min(before, key=lambda time: abs(time - 1)))
    moved = np.abs(clean[middle].astype(int) - drawn[middle]).max(2)
    assert moved[80:200, 260:350].mean() < 6, "the face itself is as it was"
    assert moved[:80, :180].mean() > 40
