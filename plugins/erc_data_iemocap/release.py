"""IEMOCAP as released: `SessionN/dialog/{transcriptions,EmoEvaluation,wav,avi/DivX}`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from erc_cli.errors import UsageError, nearest
from erc_cli.types import Notice
from erc_data_iemocap.turns import LABELS, OTHERS, SESSIONS, Turn

_WHOLE = "Unpack IEMOCAP_full_release.tar.gz again."
_SAID = re.compile(r"^(Ses\S+)\s*\[\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*\]\s*:\s*(.*)$")
_JUDGED = re.compile(r"^\[\s*\d+\.?\d*\s*-\s*\d+\.?\d*\s*\]\s+(Ses\S+)\s+(\S+)")
_MEDIA = {"wav": ("wav", ".wav"), "avi": ("avi/DivX", ".avi")}


def is_release(folder: Path) -> bool:
    """Whether there is any session in the folder."""
    return any(_dialog(folder, number).is_dir() for number in SESSIONS)


def read_release(
    folder: Path, media: str, sessions: Sequence[str]
) -> tuple[list[Turn], dict[str, tuple[Path, ...]], tuple[Notice, ...]]:
    """Turns of these sessions, the files that each dialogue was read from, and what was odd.

    Raises:
        UsageError: a session or a file is missing, or is not as released.
    """
    lacking = [f"Session{n}" for n in sessions if not (_dialog(folder, n) / "transcriptions").is_dir()]
    if lacking:
        raise UsageError(f"{folder}: {', '.join(lacking)} with dialog/transcriptions not found.", hint=_WHOLE)
    turns: list[Turn] = []
    files: dict[str, tuple[Path, ...]] = {}
    odd = 0
    for number in sessions:
        dialog = _dialog(folder, number)
        said = sorted(p for p in (dialog / "transcriptions").glob("Ses*.txt"))
        if not said:
            raise UsageError(f"{dialog / 'transcriptions'}: no transcriptions.", hint=_WHOLE)
        for path in said:
            judged = dialog / "EmoEvaluation" / path.name
            if not judged.is_file():
                raise UsageError(f"{judged}: no such file, though {path.name} is transcribed.", hint=_WHOLE)
            found, strange = _dialogue(path, judged, _medium(dialog, path.stem, media))
            turns += found
            odd += strange
            files[path.stem] = (path, judged)
    notes = (Notice("odd_lines", f"{odd} lines of the transcriptions name no utterance"),) if odd else ()
    return turns, files, notes


def _dialog(folder: Path, number: str) -> Path:
    return folder / f"Session{number}" / "dialog"


def _medium(dialog: Path, name: str, media: str) -> Path | None:
    inner, suffix = _MEDIA[media]
    path = dialog / inner / (name + suffix)
    return path if path.is_file() else None


def _dialogue(path: Path, judged: Path, medium: Path | None) -> tuple[list[Turn], int]:
    """The turns of one dialogue, and how many lines were none (`M: …` without a turn's name)."""
    emotions = _emotions(judged)
    turns, odd = [], 0
    for line in _lines(path):
        match = _SAID.match(line)
        if match is None:
            odd += 1
            continue
        name, start, end, text = match.groups()
        speaker = name.rpartition("_")[2][:1]
        emotion = emotions.get(name, "")
        turns.append(Turn(name, path.stem, float(start), float(end), text.strip(), speaker, emotion, medium))
    if not turns:
        raise UsageError(f"{path}: no line such as 'Ses01F_impro01_F000 [006.29-008.23]: …'.", hint=_WHOLE)
    return turns, odd


def _emotions(path: Path) -> dict[str, str]:
    """Short label by turn. Lines of single annotators (`C-E2:`, `A-E3:` and so on) are passed over."""
    found = {}
    for line, text in enumerate(_lines(path, blank=True), start=1):
        match = _JUDGED.match(text)
        if match is None:
            continue
        turn, emotion = match.groups()
        if emotion not in LABELS and emotion not in OTHERS:
            raise UsageError(
                f"{path}: line {line}: unknown emotion {emotion!r}.{nearest(emotion, (*LABELS, *OTHERS))}",
                hint=f"IEMOCAP's are {', '.join((*LABELS, *OTHERS))}.",
            )
        found[turn] = emotion
    if not found:
        raise UsageError(
            f"{path}: no line such as '[6.29 - 8.23]  Ses01F_impro01_F000  neu  …'.", hint=_WHOLE
        )
    return found


def _lines(path: Path, *, blank: bool = False) -> list[str]:
    # a few of the released files hold characters of Windows-1252
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    return [line for line in text.splitlines() if blank or line.strip()]
