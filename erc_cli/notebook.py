"""A result in a notebook: the first utterances as a small table."""

from __future__ import annotations

from html import escape

from erc_cli.emotion_colours import colour_of
from erc_cli.types import Result

ROWS = 10
_LONGEST = 90
_HEADS = ("Time", "Speaker", "Text", "Emotion", "")


def line_of(result: Result) -> str:
    """One line: how many utterances, of which file, and what was found most."""
    said = [result.label(found) for found in result.predictions]
    most = sorted(set(said), key=lambda label: (-said.count(label), label))[:3]
    media = result.media.path if result.media is not None else result.transcript.path
    where = f" of {media.name}" if media is not None else ""
    shares = ", ".join(f"{label} {said.count(label)}" for label in most)
    count = len(said)
    warned = f"; {len(result.warnings)} warnings" if result.warnings else ""
    return f"<erc result: {count} utterance{'' if count == 1 else 's'}{where}; {shares or 'nothing'}{warned}>"


def table_of(result: Result) -> str:
    """HTML of the first utterances; all text is escaped."""
    from erc_cli.view import clock

    rows = []
    pairs = zip(result.utterances[:ROWS], result.predictions, strict=False)
    for said, found in pairs:
        label = result.label(found)
        text = said.text if len(said.text) <= _LONGEST else f"{said.text[: _LONGEST - 1]}…"
        mark = f'<span style="color:{colour_of(label, result.labels)}">&#9632;</span> '
        cells = [clock(said.start), escape(said.speaker or ""), escape(text), mark + escape(label)]
        cells.append(f"{found.confidence:.0%}")
        rows.append("".join(f'<td style="text-align:left">{cell}</td>' for cell in cells))
    head = "".join(f'<th style="text-align:left">{one}</th>' for one in _HEADS)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    rest = len(result.utterances) - len(rows)
    more = f"<p>and {rest} more: <code>to_frame()</code> has all of them.</p>" if rest else ""
    caption = f"<caption>{escape(line_of(result)[1:-1])}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
