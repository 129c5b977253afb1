"""Reads RAVDESS from the names of its clips: modality-channel-emotion-intensity-sentence-take-actor."""

from __future__ import annotations

import re
from pathlib import Path

from erc_cli.datafile import another_version, check_split, folds, names_digest
from erc_cli.errors import UsageError
from erc_cli.learning import Source, Split
from erc_cli.types import Conversation, Notice, Utterance

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
MODALITIES = {"av": "01", "video": "02", "audio": "03"}
SUFFIXES = frozenset({".wav", ".ogg", ".opus", ".flac", ".mp3", ".m4a", ".mp4", ".mkv", ".avi", ".mov"})
#: the five groups of actors of Luna-Jiménez et al. (Applied Sciences 12, 327; 2022)
GROUPS = (
    ("02", "05", "14", "15", "16"),
    ("03", "06", "07", "13", "18"),
    ("10", "11", "12", "19", "20"),
    ("08", "17", "21", "23", "24"),
    ("01", "04", "09", "22"),
)
PER_ACTOR = 60
_NAME = re.compile(r"(0[123])-(01)-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


class Ravdess:
    """RAVDESS on disk; nothing is decoded.

    Raises:
        UsageError: there are no clips, or none of a split's actors.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path, *, fold: int, modality: str) -> None:
        self.folder = folder
        self._actors = folds(GROUPS, fold)
        found = {} if not folder.is_dir() else _clips(folder)
        wanted = list(MODALITIES.values()) if modality == "any" else [MODALITIES[modality]]
        there = {name[:2] for name in found}
        kind = next((number for number in wanted if number in there), None)
        if kind is None:
            lacking = "" if modality == "any" else f" of modality {modality}"
            raise UsageError(
                f"{folder}: no clips of RAVDESS{lacking} such as Actor_01/03-01-05-01-01-01-01.wav.",
                hint="Give the folder that holds Actor_01 to Actor_24: --data ravdess:data/ravdess",
            )
        self._clips = {name: path for name, path in sorted(found.items()) if name[:2] == kind}
        for split, actors in self._actors.items():
            if not any(name[-2:] in actors for name in self._clips):
                raise UsageError(
                    f"{folder}: no clips of actors {', '.join(actors)}, the {split} split of fold {fold}.",
                    hint="Get the missing actors' folders, or choose another fold: --set data.ravdess.fold=1",
                )

    def read(self, split: str) -> Split:
        """One split: every clip is a conversation of one utterance by its actor, as long as the clip."""
        check_split("ravdess", split, self.splits)
        actors = self._actors[split]
        clips = {name: path for name, path in self._clips.items() if name[-2:] in actors}
        names = {name: _NAME.fullmatch(name) for name in clips}
        fields = {name: match.groups() for name, match in names.items() if match}
        return Split(
            name=split,
            labels=LABELS,
            sha256=names_digest(clips),
            conversations=tuple(
                Conversation((Utterance(0.0, 0.0, SENTENCES[f[4]], f"Actor {f[6]}"),), id=name)
                for name, f in fields.items()
            ),
            targets=tuple((int(f[2]) - 1,) for f in fields.values()),
            sources=tuple((Source(path),) for path in clips.values()),
            warnings=self._odd(clips, actors),
        )

    def _odd(self, clips: dict[str, Path], actors: tuple[str, ...]) -> tuple[Notice, ...]:
        lacking = [a for a in actors if not any(name[-2:] == a for name in clips)]
        if lacking:
            said = f"no clips of actors {', '.join(lacking)}: this is another version, or not whole"
            return (Notice("another_version", said),)
        return another_version(len(clips), PER_ACTOR * len(actors), "clips")


def _clips(folder: Path) -> dict[str, Path]:
    """Clips of speech by name, wherever they are below the folder."""
    files = (path for path in folder.rglob("0?-01-*") if path.suffix.lower() in SUFFIXES)
    return {path.stem: path for path in files if _NAME.fullmatch(path.stem)}
