"""JSON: our own result, whisperX's and YouTube's transcripts as input, our result as output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, Reading, WriterSpec
from erc_cli.types import Result, Transcript
from erc_format_json.sniff import is_json, is_lines, is_youtube

_NOTHING = Reading()
_JSON = '{"segments": [{"start": 1.0, "end": 2.5, "text": "There\'s nothing to tell!", "speaker": "Monica"}]}'
_LINES = '{"start": 1.0, "end": 2.5, "text": "There\'s nothing to tell!", "speaker": "Monica"}'
_JSON3 = (
    '{"events": [{"tStartMs": 1000, "dDurationMs": 1500, "segs": [{"utf8": "There\'s nothing to tell!"}]}]}'
)


def _read(name: str, path: Path, reading: Reading = _NOTHING) -> Transcript:
    from erc_format_json import readers, youtube

    if name == "json3":
        return youtube.read(path)
    return (readers.read_json if name == "json" else readers.read_lines)(path, reading.columns)


def _write(result: Result, path: Path) -> None:
    from erc_format_json.writers import write_json

    write_json(result, path)


def _write_lines(result: Result, path: Path) -> None:
    from erc_format_json.writers import write_lines

    write_lines(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """JSON documents, one JSON object per line, and YouTube's captions."""
    known = (
        ("json", "our result JSON, or whisperX's", is_json, _JSON, True),
        ("jsonl", "one utterance per line", is_lines, _LINES, True),
        ("json3", "YouTube's captions", is_youtube, _JSON3, False),
    )
    return [
        ReaderSpec(
            *(name, (f".{name}",), about, partial(_read, name), sniff),
            example=example,
            read_with=partial(_read, name),
            takes_columns=columns,
        )
        for name, about, sniff, example, columns in known
    ]


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """The document `erc.result/1`, and its utterances one per line."""
    return (
        WriterSpec("json", (".json",), "the whole result (schema erc.result/1)", _write),
        WriterSpec("jsonl", (".jsonl",), "one utterance per line, as JSON", _write_lines),
    )
