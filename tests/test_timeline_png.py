"""The timeline as a picture: what is drawn is looked at in pixels and in matplotlib's own records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import Erc
from reportkit import IEMOCAP, MELD, made

pytest.importorskip("matplotlib", reason="needs matplotlib (the extra report)")

import erc_format_json
from erc_cli.emotion_colours import colour_of, mark_of
from erc_cli.timeline_png import draw, timeline_figure
from erc_cli.types import Prediction, Utterance


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(int)


def test_each_utterance_is_a_box_of_its_emotion_in_its_speakers_lane(tmp_path: Path) -> None:
    base = made(4)
    said = [Utterance(10.0 * i, 10.0 * i + 8, "x", ("Anna", "Ben")[i % 2]) for i in range(4)]
    found = [Prediction(tuple(1.0 if k == i else 0.0 for k in range(7)), {}) for i in range(4)]
    result = dataclasses.replace(base, utterances=tuple(said), predictions=tuple(found))
    figure = timeline_figure(result)
    (axes,) = figure.axes
    (boxes,) = axes.collections
    corners = [path.vertices[:4] for path in boxes.get_paths()]
    assert [(box[0][0], box[2][0]) for box in corners] == [(u.start, u.end) for u in said]
    assert [round(box[0][1]) for box in corners] == [0, 1, 0, 1]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Anna", "Ben"]
    assert [t.get_text() for t in axes.texts] == [mark_of(label, MELD) for label in MELD[:4]]
    draw(result, tmp_path / "t.png")
    seen = {tuple(colour) for colour in pixels(tmp_path / "t.png").reshape(-1, 3)}
    for label in MELD[:4]:
        colour = colour_of(label, MELD)
        assert tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)) in seen


def test_a_surer_box_is_higher() -> None:
    base = made(2, speakers=("Anna",))
    found = [Prediction((p, 1 - p, 0, 0, 0, 0, 0), {}) for p in (0.6, 1.0)]
    figure = timeline_figure(dataclasses.replace(base, predictions=tuple(found)))
    low, high = (abs(p.vertices[1][1] - p.vertices[0][1]) for p in figure.axes[0].collections[0].get_paths())
    assert low < high == pytest.approx(0.8)


@pytest.mark.parametrize(
    "result",
    [
        made(0),
        made(1),
        made(300, speakers=[f"Person {i}" for i in range(40)]),
        made(300, speakers=[f"Person {i}" for i in range(140)]),
        made(12, speakers=["N" * 200, "$x^{$ \\frac", "two\nlines", None, "你好 שלום 🙂"]),
        made(12, labels=IEMOCAP),
        made(12, labels=[f"feeling {i}" for i in range(28)]),
    ],
    ids=["none", "one", "40 speakers", "140 speakers", "odd names", "IEMOCAP", "28 labels"],
)
def test_whatever_the_result_is_like(tmp_path: Path, result: object) -> None:
    draw(result, tmp_path / "t.png", title="$\\bad{ title <b>")  # type: ignore[arg-type]
    height, width, _ = pixels(tmp_path / "t.png").shape
    assert width == 2100
    assert 150 < height < 9000


def test_a_long_recording_is_drawn_in_strips() -> None:
    figure = timeline_figure(made(1500))
    assert 1 < len(figure.axes) <= 8
    limits = [axes.get_xlim() for axes in figure.axes]
    assert [end for _, end in limits[:-1]] == [start for start, _ in limits[1:]]


def test_report_png_makes_only_the_picture(erc: Erc, tmp_path: Path) -> None:
    erc_format_json.erc_writers()[0].write(made(8), tmp_path / "r.json")
    done = erc("report", tmp_path / "r.json", "--png", tmp_path / "t.png")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Written: {tmp_path / 't.png'}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json", "t.png"]
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
