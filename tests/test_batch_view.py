"""What a batch says on the terminal: the bars, the lines without one, and the word after Ctrl-C."""

from __future__ import annotations

import io

from rich.console import Console

from erc_cli import console
from erc_cli.batch_run import Tally
from erc_cli.batch_view import Bars, Lines, cut_off
from erc_cli.manifest import Entry

GOOD = Entry(name="a.wav", path="/a.wav", state="done", seconds=1.26)
BAD = Entry(name="b\n.wav", path="/b.wav", state="failed", error={"message": "It is empty.", "hint": "Look."})
PASSED = Entry(name="c.wav", path="/c.wav", state="skipped", reason="another one")


def test_lines_name_what_failed() -> None:
    said: list[str] = []
    lines = Lines(3, said.append, lambda placements: None)
    for entry in (GOOD, PASSED, BAD):
        lines.ended(entry)
    assert said == ["1 of 3: a.wav done (1.3 s)", "2 of 3: b\\x0a.wav failed: It is empty."]


def test_the_bar_of_all_says_how_many_failed() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    said: list[str] = []
    with console.bars(screen) as shown:
        whole = shown.add_task("all", total=3, note="")
        bars = Bars(shown, whole, said.append, lambda placements: None)
        for entry in (GOOD, PASSED):
            bars.began(entry.name)
            bars.ended(entry)
        assert (shown.tasks[0].completed, shown.tasks[0].fields["note"]) == (1, "")
        bars.ended(BAD)
        assert (shown.tasks[0].completed, shown.tasks[0].fields["note"]) == (2, "1 failed")
        assert len(shown.tasks) == 1
    assert said == ["Failed: b\\x0a.wav: It is empty."]


def test_after_ctrl_c_what_failed_is_not_done() -> None:
    entries = {one.name: one for one in (GOOD, BAD, PASSED)}
    told = cut_off(Tally(entries, set(entries)), 5, 61)
    assert told.startswith("1 of 5 done, 1 failed in 1:01")
    assert "type the same command again" in told
    assert cut_off(Tally({"a.wav": GOOD}, {"a.wav"}), 5, 1).startswith("1 of 5 done in ")
