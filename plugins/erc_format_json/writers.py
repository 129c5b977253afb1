"""The result as JSON, and its utterances one per line."""

from __future__ import annotations

import json
from pathlib import Path

from erc_cli.result import to_dict, utterance_dicts
from erc_cli.types import Result


def write_json(result: Result, path: Path) -> None:
    """The document `erc.result/1`, indented, UTF-8."""
    text = json.dumps(to_dict(result), ensure_ascii=False, indent=2, allow_nan=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")


def write_lines(result: Result, path: Path) -> None:
    """One element of `utterances` per line, UTF-8."""
    rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in utterance_dicts(result)]
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
