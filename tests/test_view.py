"""The tables on terminals of every width: all headings are there, and the words never vanish."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from conftest import EMOTIONS
from rich.console import Console
from rich.table import Table

from erc_cli import view
from erc_cli.types import Modality, Opinion, Prediction, Result, Status, Transcript, Utterance

SAID = (
    Utterance(0.0, 2.0, "Guess what, I actually got the job!", "ANNA"),
    Utterance(2.0, 4.5, "Nobody could have expected that", "Professor Bartholomew"),
    Utterance(3725.0, 3726.0, "Fine", None),
)
WORDS = re.findall(r"\w+", " ".join(u.text for u in SAID))


def _share(best: int) -> tuple[float, ...]:
    return tuple(0.7 if i == best else 0.05 for i in range(len(EMOTIONS)))


def _prediction(best: int, *statuses: Status) -> Prediction:
    opinions = {
        m: Opinion(s, _share(best), 0.5) if s is Status.OK else Opinion(s)
        for m, s in zip(Modality, statuses, strict=True)
    }
    return Prediction(_share(best), opinions)


def _result(*predictions: Prediction) -> Result:
    return Result(EMOTIONS, SAID, predictions, None, Transcript(SAID, "srt"), (), {})


WHOLE = _result(
    _prediction(EMOTIONS.index("surprise"), Status.OK, Status.OK, Status.NO_FACE),
    _prediction(1, Status.OK, Status.NO_AUDIO_TRACK, Status.OUTSIDE_MEDIA),
    _prediction(0, Status.NO_TEXT, Status.SILENT, Status.UNREADABLE),
)
TEXT_ONLY = _result(*(_prediction(1, Status.OK, Status.DROPPED, Status.DROPPED) for _ in SAID))


def _shown(table: Table, width: int) -> str:
    console = Console(width=width, highlight=False, emoji=False, color_system=None, force_terminal=False)
    with console.capture() as caught:
        console.print(table)
    shown = caught.get()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    return shown


def _column(shown: str, heading: str, following: str) -> str:
    """What stands under a heading, up to the next one."""
    lines = shown.splitlines()
    top = next(line for line in lines if heading in line)
    start, end = top.index(heading), top.index(following)
    return " ".join(line[start:end].strip() for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_heading_and_no_word_vanishes(width: int) -> None:
    shown = _shown(view.result_table(WHOLE, width), width)
    heads = ["time", "speaker", "text", "emotion", *(("text", "audio", "visual") if width >= 72 else ())]
    top = next(line for line in shown.splitlines() if "speaker" in line)
    assert top.split() == heads
    text = _column(shown.replace("text", "TEXT", 1), "TEXT", "emotion")
    letters = re.sub(r"\W", "", "".join(text.split()))
    for word in WORDS:  # a long word may be folded
        assert word in letters
    for word in ("surprise 70%", "1:02:05", "(prior)"):
        assert word in shown
    assert ("no audio" in shown and "outside" in shown) == (width >= 72)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_ablation_and_speakers_fit_too(width: int) -> None:
    shown = _shown(view.ablation_table(WHOLE, TEXT_ONLY, "audio and visual", width), width)
    for word in ("time", "text", "with all", "without", "audio", "change", "surprise", "65%"):
        assert word in shown
    letters = re.sub(r"\W", "", _column(shown, "text", "with"))
    assert [word for word in WORDS if word not in letters] == []
    shown = _shown(view.speakers_table(WHOLE, width), width)
    for word in ("speaker", "said", "seconds", "emotions", "surprise"):
        assert word in shown


def test_dropped_modalities_have_no_column() -> None:
    shown = _shown(view.result_table(TEXT_ONLY, 100), 100)
    assert "audio" not in shown
    assert "dropped" not in shown


def test_labels_stand_beside_the_bars_only_where_they_fit() -> None:
    assert " surp" in _shown(view.result_table(WHOLE, 120), 120)
    assert " surp" not in _shown(view.result_table(WHOLE, 72), 72).replace("surprise", "")


def test_the_prior_is_marked() -> None:
    lines = _shown(view.result_table(WHOLE, 120), 120).splitlines()
    assert [("(prior)" in line) for line in lines if "%" in line] == [False, False, True]


def test_a_bar_grows_with_the_share() -> None:
    bars = [view.bar(share / 40) for share in range(41)]
    assert {len(bar) for bar in bars} == {view.BAR}
    assert bars[0].strip() == ""
    assert bars[-1] == "█" * view.BAR
    filled = [sum(view.BLOCKS.index(c) for c in bar) for bar in bars]
    assert all(b - a == 1 for a, b in pairwise(filled))


def test_clock() -> None:
    assert [view.clock(s) for s in (0, 59.96, 61.25, 3725.0)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:05.0"]
