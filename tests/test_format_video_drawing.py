"""What is drawn into the annotated video: panel, bar, faces, and words of any script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs
from videokit import box, frames, grey, result_of, written

needs("video", "PIL", "matplotlib")

from erc_cli.types import Prediction, Result, Transcript, Utterance  # noqa: E402
from erc_format_video import faces, fonts, planes, scene  # noqa: E402
from erc_format_video.drawing import Drawing  # noqa: E402


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
