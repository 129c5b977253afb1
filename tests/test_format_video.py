"""The annotated video: times, sizes, sound and what is drawn, with files made for it and with the example."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ROOT, Erc, needs
from mediakit import CORNERS, VFR, Audio, Video, noise, sweep
from mediakit import write as write_media

needs("video", "PIL", "matplotlib")

import erc_format_json  # noqa: E402
import erc_format_video  # noqa: E402
from erc_cli.errors import ErcError, UsageError  # noqa: E402
from erc_cli.learning import Progress  # noqa: E402
from erc_cli.media import probe  # noqa: E402
from erc_cli.result import NOTICE  # noqa: E402
from erc_cli.types import Modality, Opinion, Prediction, Result, Status, Transcript, Utterance  # noqa: E402
from erc_format_video import faces, fonts, planes, scene  # noqa: E402
from erc_format_video.drawing import Drawing  # noqa: E402

WRITER = erc_format_video.erc_writers()[0]
LABELS = ("neutral", "joy", "anger")
SURE = (0.1, 0.8, 0.1)
GREY = np.full((96, 160, 3), 128, np.uint8)
Times = Sequence[float]


def result_of(path: Path | None, *said: Utterance, detail: dict[str, Any] | None = None) -> Result:
    """Joy at 80 % for each of the utterances; the visual branch says `detail`."""
    seen = Opinion(Status.OK, SURE, 0.5, detail or {})
    found = tuple(Prediction(SURE, {Modality.VISUAL: seen}) for _ in said)
    media = None if path is None else probe(path)
    return Result(LABELS, said, found, media, Transcript(said, "srt"), (), {})


def grey(path: Path, seconds: float = 2.0, size: tuple[int, int] = (160, 96), **more: Any) -> Path:
    times = [k / 10 for k in range(round(seconds * 10))]
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    return write_media(path, Video(times, [picture] * len(times), size, **more), Audio(sweep(seconds)))


def written(result: Result, path: Path, **more: Any) -> Path:
    WRITER.write(result, path, **more)
    return path


def frames(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and pictures as they are coded."""
    with av.open(str(path)) as source:
        every = list(source.decode(video=0))
        return [float(f.pts * f.time_base) for f in every], [f.to_ndarray(format="rgb24") for f in every]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size]


def sound(path: Path) -> tuple[np.ndarray, float]:
    """Samples [n] at 16 kHz, and the time of the first."""
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("flt", "mono", 16000)
        every = [out for frame in source.decode(audio=0) for out in resampler.resample(frame)]
        every += resampler.resample(None)
    return np.concatenate([f.to_ndarray()[0] for f in every]), float(every[0].pts * every[0].time_base)


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


# --- what is drawn ---------------------------------------------------------------------------


def box(*sides: float, name: bool = False, times: Times = (1.0,)) -> dict[str, Any]:
    """What the visual branch says of one face at these times."""
    detail: dict[str, Any] = {"faces": 1.0, "boxes": [[time, *sides] for time in times]}
    return {**detail, "speaker_boxes": list(range(len(times)))} if name else detail


def test_panel_words_and_face_while_somebody_talks(tmp_path: Path) -> None:
    source = grey(tmp_path / "a.mp4", size=(320, 180))
    said = Utterance(0.5, 1.5, "So good to see you again!", "Anna")
    detail = box(0.6, 0.2, 0.8, 0.6, name=True, times=(0.75, 1.25))
    times, pictures = frames(written(result_of(source, said, detail=detail), tmp_path / "out.mp4"))
    for time, picture in zip(times, pictures, strict=True):
        touched = np.abs(picture.astype(int) - 128).max(2) > 20
        if not 0.5 <= time < 1.5:
            assert not touched.any(), time
            continue
        assert touched[:50, :100].mean() > 0.4, "the panel at the upper left"
        assert touched[150:, 60:260].mean() > 0.4, "the words at the foot"
        edge = picture[60:100, 192:195].reshape(-1, 3).astype(int)
        yellow = (edge[:, 0] > 150) & (edge[:, 1] > 150) & (edge[:, 2] < 110)
        assert yellow.mean() > 0.5, "the face in joy's colour"
        assert not touched[60:100, 210:240].any(), "a frame is empty inside"


def test_a_face_that_is_nobodys_is_drawn_without_colour(tmp_path: Path) -> None:
    look = planes.Look(320, 180, 1.0, None, False, 1, 1, 1)
    result = result_of(None, Utterance(0, 2, "", "Anna"), detail=box(0.5, 0.5, 0.6, 0.7))
    layers = Drawing(result, look).layers(1.0)
    face = [layer for layer in layers if layer.left > 100]
    assert len(face) == 8
    assert all(
        np.allclose(layer.chroma[layer.chroma_cover[None].repeat(2, 0) > 0.9], 128, atol=3) for layer in face
    )


def test_the_bar_is_as_long_as_it_is_sure() -> None:
    screen = scene.Screen(640, 360)
    (panel, _) = scene.patches(result_of(None, Utterance(0, 1, "Hi.", "Anna")), [0], screen)
    row = panel.rgba[-screen.type.size // 2 - 2, :, :3].astype(int)
    pad = screen.type.size // 2
    yellow = (row[:, 0] > 200) & (row[:, 2] < 80)
    assert yellow.sum() / (len(row) - 2 * pad) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("label", ["surprise", "frustrated", "joy"])
def test_the_panel_has_room_for_its_words(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = fonts.Type.draw
    monkeypatch.setattr(fonts.Type, "draw", lambda *a: (drawn.append(a[3]), draw(*a))[1])
    said = Utterance(0, 1, "", "Ben")
    labels = (label, "neutral")
    for height in range(240, 1081, 40):
        result = Result(
            labels, (said,), (Prediction((0.87, 0.13), {}),), None, Transcript((said,), "srt"), (), {}
        )
        scene.patches(result, [0], scene.Screen(height * 16 // 9, height))
    assert {text for text in drawn if label[:3] in text} == {f"{label} 87% (prior)"}


def test_who_talk_at_once_are_both_shown() -> None:
    result = result_of(None, Utterance(0, 2, "One thing.", "Anna"), Utterance(1, 3, "No, another!", "Ben"))
    look = planes.Look(640, 360, 1.0, None, False, 1, 1, 1)
    drawing = Drawing(result, look)
    assert [len(drawing.layers(time)) for time in (0.5, 1.5, 2.5, 3.5)] == [2, 3, 2, 0]


def test_boxes_glide_between_two_looks_and_stop_where_nothing_was_found() -> None:
    said = Utterance(0, 5, "", "Anna")
    rows = [[0.5, 0.1, 0.1, 0.3, 0.3], [1.5, 0.2, 0.1, 0.4, 0.3], [4.5, 0.6, 0.1, 0.8, 0.3]]
    track = faces.track_of(result_of(None, said, detail={"faces": 0.6, "boxes": rows}), 0)
    assert track is not None
    assert track.step == pytest.approx(1.0)
    assert track.at(1.0)[0].box == pytest.approx((0.15, 0.1, 0.35, 0.3))
    assert track.at(0.0)[0].box == pytest.approx((0.1, 0.1, 0.3, 0.3))
    assert track.at(1.9)[0].box == pytest.approx((0.2, 0.1, 0.4, 0.3))
    assert track.at(3.0) == [], "two looks in between found nothing"
    assert track.at(4.9)[0].box[0] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "detail",
    [{"boxes": "x"}, {"boxes": [[1, 2]]}, {"boxes": [[0, "a", 0, 1, 1]]}, {"boxes": [[0, 1e9, 0, 1, 1]]}],
)
def test_boxes_that_make_no_sense_are_left_out(detail: dict[str, Any]) -> None:
    assert faces.track_of(result_of(None, Utterance(0, 1, ""), detail=detail), 0) is None


# --- words -----------------------------------------------------------------------------------

TEXTS = {
    "plain": "There's nothing to tell!",
    "long": "word " * 300,
    "one long word": "w" * 400,
    "Arabic": "مرحبا كيف حالك اليوم",
    "Chinese": "你好世界" * 30,
    "emoji": "Yes 😀👩‍👩‍👧 no \U0001f9ff",
    "lines": "one\ntwo\r\nthree",
    "nothing": "",
    "odd": "\ud800 \x00 \u202e reversed",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [(640, 360), (64, 48), (90, 400)])
def test_words_in_any_script_fit(name: str, size: tuple[int, int]) -> None:
    result = result_of(None, Utterance(0, 1, TEXTS[name], TEXTS[name][:60] or None))
    look = planes.Look(*size, 1.0, None, False, 1, 1, 1)
    for layer in Drawing(result, look).layers(0.5):
        assert layer.left + layer.luma.shape[1] <= size[0] + 1
        assert layer.top + layer.luma.shape[0] <= size[1] + 1
    for patch in scene.patches(result, [0], look.screen)[1:]:
        assert patch.rgba.shape[1] <= size[0]
        assert patch.rgba.shape[0] <= max(size[1] * 0.75, 40)


def test_lines_break_between_words() -> None:
    text = fonts.Type(20)
    words = "The launch is on Tuesday, at nine in the morning, as I have said before."
    lines = text.lines(words, 300)
    assert " ".join(lines) == words
    assert len(lines) == 3
    assert all(text.width(line) <= 300 for line in lines)
    assert "".join(text.lines("你好世界" * 10, 100)) == "你好世界" * 10


def test_scripts_are_drawn_with_glyphs_of_their_own() -> None:
    """DejaVu has Arabic and Cyrillic: their letters differ from its empty box."""
    screen = scene.Screen(640, 360)
    pictures = [
        scene.patches(result_of(None, Utterance(0, 1, text)), [0], screen)[-1].rgba
        for text in ("ща", "مر", "\U0010fffd\U0010fffd")
    ]
    assert len({picture.tobytes() for picture in pictures}) == 3


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
