"""Subtitles: SubRip, WebVTT and ASS as transcripts, and with emotions as a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erc_cli.hookspecs import hookimpl
from erc_cli.specs import ReaderSpec, WriterSpec
from erc_cli.types import Result, Transcript
from erc_format_subtitles.sniff import is_ass, is_srt, is_vtt

_SRT = "1\n00:00:01,000 --> 00:00:02,500\nMONICA: There's nothing to tell!"
_VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\n<v Monica>There's nothing to tell!"
_ASS = (
    "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Monica,0,0,0,,There's nothing to tell!"
)


def _read(name: str, path: Path) -> Transcript:
    from erc_format_subtitles.readers import read

    return read(name, path)


def _write_srt(result: Result, path: Path) -> None:
    from erc_format_subtitles.writer import write_srt

    write_srt(result, path)


def _write_vtt(result: Result, path: Path) -> None:
    from erc_format_subtitles.writer import write_vtt

    write_vtt(result, path)


def _write_ass(result: Result, path: Path) -> None:
    from erc_format_subtitles.ass import write

    write(result, path)


@hookimpl
def erc_readers() -> Sequence[ReaderSpec]:
    """SubRip, WebVTT and (Advanced) SubStation Alpha."""
    return (
        ReaderSpec("srt", (".srt",), "SubRip subtitles", lambda p: _read("srt", p), is_srt, example=_SRT),
        ReaderSpec("vtt", (".vtt",), "WebVTT subtitles", lambda p: _read("vtt", p), is_vtt, example=_VTT),
        ReaderSpec("ass", (".ass", ".ssa"), "ASS subtitles", lambda p: _read("ass", p), is_ass, example=_ASS),
    )


@hookimpl
def erc_writers() -> Sequence[WriterSpec]:
    """Subtitles: each utterance with its emotion, in its colour."""
    lost = "probabilities, modalities"
    about = "subtitles with each utterance's emotion in its colour"
    return (
        WriterSpec("srt", (".srt",), f"SubRip {about}", _write_srt, leaves_out=lost),
        WriterSpec("vtt", (".vtt",), f"WebVTT {about}", _write_vtt, leaves_out=lost),
        WriterSpec("ass", (".ass",), f"ASS {about}, a style each", _write_ass, leaves_out=lost),
    )
