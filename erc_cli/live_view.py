"""Answers on stdout while the work goes on: rows of a table on a terminal, or lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from rich.cells import cell_len
from rich.text import Text

from erc_cli import console, view
from erc_cli.console import silence
from erc_cli.result import utterance_dict
from erc_cli.types import UNCERTAIN, Modality, Opinion, Prediction, Status, Utterance

if TYPE_CHECKING:
    from rich.console import Console

SIDE = 10  # columns: a bar and four letters, or why there is none
ENOUGH = 20  # columns of text, else the modalities are left out


class Lines:
    """Each answer as one line of JSON, flushed: the elements of `utterances` of the whole result.

    A reader that goes away, or a full disk, ends the work; with `go_on` only the lines, and `finish` says
    so. `screen`: the terminal, if stdout is one. `least`: the result's `min_confidence`.
    """

    def __init__(
        self,
        said: Sequence[Utterance],
        labels: Sequence[str],
        *,
        go_on: bool,
        screen: Console | None = None,
        least: float = 0.0,
    ) -> None:
        self._said, self._labels, self._least = said, labels, least
        self._go_on, self._screen = go_on, screen
        self._error: OSError | None = None

    def __call__(self, first: int, predictions: Sequence[Prediction]) -> None:
        """Print the answers for the utterances from number `first` on.

        Raises:
            OSError: stdout cannot be written, and there is nothing else to do.
        """
        if self._error is not None:
            return
        text = "".join(
            _line(utterance_dict(i, self._said[i], one, self._labels, self._least)) + "\n"
            for i, one in enumerate(predictions, first)
        )
        if self._screen is not None:
            self._screen.print(Text(text.removesuffix("\n")), soft_wrap=True)
            return
        try:
            _write(text)
        except OSError as error:
            if not self._go_on:
                raise
            self._error = error
            silence(sys.stdout)

    def finish(self) -> None:
        """OSError if a line could not be written, unless the reader had enough."""
        if self._error is not None and not isinstance(self._error, BrokenPipeError):
            raise self._error


def _line(row: dict[str, Any]) -> str:
    """As in .jsonl files."""
    try:
        return orjson.dumps(row, default=str).decode()
    except TypeError:  # half a surrogate pair, from a damaged transcript, is no UTF-8
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class TableRows:
    """Rows of the result's table as they come; the columns are as wide as any answer may need.

    `least`: the result's `min_confidence`.
    """

    def __init__(
        self,
        screen: Console,
        said: Sequence[Utterance],
        labels: Sequence[str],
        modalities: Sequence[Modality],
        least: float = 0.0,
    ) -> None:
        width = screen.width
        self._screen, self._said, self._labels, self._modalities = screen, said, labels, modalities
        self._least = least
        self._times = view.time_cells(said, width)
        self._names, name = view.speaker_cells([one.speaker for one in said], width)
        gap = view.gap_of(width)
        time = view.widest("time", self._times)
        emotion = max(cell_len(f"{label} 100%") for label in (*labels, *([UNCERTAIN] if least else [])))
        left = width - time - name - emotion - 3 * gap
        sides = len(modalities) * (SIDE + gap)
        self._sides = width >= view.NARROW and left - sides >= ENOUGH
        text = max(left - (sides if self._sides else 0), view.LEAST)
        emotion = max(min(emotion, width - time - name - 3 * gap - view.LEAST), len("emotion"))
        self._columns: list[str | tuple[str, dict[str, Any]]] = [
            ("time", {"justify": "right", "no_wrap": True, "width": time}),
            ("speaker", {"width": name}),
            ("text", {"width": text}),
            ("emotion", {"width": emotion}),
            *((str(m), {"width": SIDE}) for m in (modalities if self._sides else ())),
        ]
        self._gap = gap
        self.begun = False

    def __call__(self, first: int, predictions: Sequence[Prediction]) -> None:
        """Print the answers for the utterances from number `first` on."""
        rows = console.table(self._columns, gap=self._gap)
        rows.show_header, self.begun = not self.begun, True
        absent = Opinion(Status.DROPPED)
        for i, one in enumerate(predictions, first):
            sides = [
                view.opinion(one.opinions.get(m, absent), self._labels)
                for m in (self._modalities if self._sides else ())
            ]
            words = Text(self._said[i].text.replace("\n", " "))
            emotion = view.emotion(one, self._labels, self._least)
            rows.add_row(self._times[i], self._names[i], words, emotion, *sides)
        self._screen.print(rows)
