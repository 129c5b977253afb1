"""The result as JSON, and its utterances one per line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from erc_cli.result import each_utterance, speaker_summary, to_dict
from erc_cli.types import Result

# Without indentation the encoder is five times as fast.
_ROW = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)
_REST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2, default=str)


def write_json(result: Result, path: Path) -> None:
    """The document `erc.result/1`, UTF-8: indented, each utterance on one line."""
    frame = to_dict(replace(result, utterances=(), predictions=()))
    frame["speakers"] = speaker_summary(result)
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for number, (key, value) in enumerate(frame.items()):
            file.write(f"{',' if number else '{'}\n  {_ROW.encode(key)}: ")
            if key == "utterances" and result.utterances:
                rows = map(_ROW.encode, each_utterance(result))
                file.write(f"[\n    {next(rows)}")
                file.writelines(f",\n    {row}" for row in rows)
                file.write("\n  ]")
            else:  # JSON writes line breaks inside texts as \\n, so those here are the encoder's own
                file.write(_REST.encode(value).replace("\n", "\n  "))
        file.write("\n}\n")


def write_lines(result: Result, path: Path) -> None:
    """One element of `utterances` per line, UTF-8."""
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(_ROW.encode(row) + "\n" for row in each_utterance(result))
