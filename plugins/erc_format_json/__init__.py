"""JSON: our own result and whisperX's transcript as input, our result as output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, WriterSpec
from erc_cli.types import Result, Transcript
from erc_format_json.sniff import is_json, is_lines

_JSON = '{"segments": [{"start": 1.0, "end": 2.5, "text": "There\'s nothing to tell!", "speaker": "Monica"}]}'
_LINES = '{"start": 1.0, "end": 2.5, "text": "There\'s nothing to tell!", "speaker": "Monica"}'


def _read(path: Path) -> Transcript:
    from erc_format_json.readers import read_json

    return read_json(path)


def _read_lines(path: Path) -> Transcript:
    from erc_format_json.readers import read_lines

    return read_lines(path)


def _write(result: Result, path: Path) -> None:
    from erc_format_json.writers import write_json

    write_json(result, path)


def _write_lines(result: Result, path: Path) -> None:
    from erc_format_json.writers import write_lines

    write_lines(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """JSON documents, and one JSON object per line."""
    return (
        ReaderSpec("json", (".json",), "our result JSON, or whisperX's", _read, is_json, example=_JSON),
        ReaderSpec("jsonl", (".jsonl",), "one utterance per line", _read_lines, is_lines, example=_LINES),
    )


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """The document `erc.result/1`, and its utterances one per line."""
    return (
        WriterSpec("json", (".json",), "the whole result (schema erc.result/1)", _write),
        WriterSpec("jsonl", (".jsonl",), "one utterance per line, as JSON", _write_lines),
    )
