"""The result as JSON, and its utterances one per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson

from erc_cli.result import each_utterance, speaker_summary, to_dict
from erc_cli.types import Result

_REST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2, default=str)


def write_json(result: Result, path: Path) -> None:
    """The document `erc.result/1`, UTF-8: indented, each utterance on one line."""
    frame = to_dict(replace(result, utterances=(), predictions=()))
    frame["speakers"] = speaker_summary(result)
    with path.open("wb") as file:
        for number, (key, value) in enumerate(frame.items()):
            file.write(f'{"," if number else "{"}\n  "{key}": '.encode())
            if key == "utterances" and result.utterances:
                rows = _rows(result)
                file.write(b"[\n    " + next(rows))
                file.writelines(b",\n    " + row for row in rows)
                file.write(b"\n  ]")
            else:  # JSON writes line breaks inside texts as \\n, so those here are the encoder's own
                file.write(_REST.encode(value).replace("\n", "\n  ").encode(errors="replace"))
        file.write(b"\n}\n")


def write_lines(result: Result, path: Path) -> None:
    """One element of `utterances` per line, UTF-8."""
    with path.open("wb") as file:
        file.writelines(row + b"\n" for row in _rows(result))


def _rows(result: Result) -> Iterator[bytes]:
    """Each utterance as JSON on one line, UTF-8."""
    for row in each_utterance(result):
        try:
            yield orjson.dumps(row, default=str)
        except TypeError:  # half a surrogate pair, from a damaged transcript, is no UTF-8
            text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
            yield text.encode(errors="replace")
