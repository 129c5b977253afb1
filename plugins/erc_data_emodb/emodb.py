"""Reads EmoDB from the names of its clips: speaker, sentence, emotion, take (`03a01Fa`)."""

from __future__ import annotations

import re
from pathlib import Path

from erc_cli.datafile import another_version, check_split, folds, names_digest
from erc_cli.errors import UsageError
from erc_cli.learning import Source, Split
from erc_cli.types import Conversation, Utterance

LABELS = ("neutral", "anger", "boredom", "disgust", "fear", "happiness", "sadness")
LETTERS = "NWLEAFT"
SUFFIXES = frozenset({".wav", ".ogg", ".opus", ".flac", ".mp3", ".m4a"})
#: a man and a woman each, paired so that each group has at least five clips of the rarest class, disgust
GROUPS = (("03", "16"), ("10", "09"), ("11", "13"), ("12", "14"), ("15", "08"))
CLIPS = {
    **{"03": 49, "08": 58, "09": 43, "10": 38, "11": 55},
    **{"12": 35, "13": 61, "14": 69, "15": 56, "16": 71},
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(rf"(0[389]|1[0-6])({'|'.join(SENTENCES)})([{LETTERS}])([a-f])")


class EmoDb:
    """EmoDB on disk; nothing is decoded.

    Raises:
        UsageError: there are no clips, or none of a split's speakers.
    """

    splits = ("train", "dev", "test")

    def __init__(self, folder: Path, *, fold: int) -> None:
        self.folder = folder
        self._speakers = folds(GROUPS, fold)
        self._clips = _clips(folder) or _clips(folder / "wav")
        if not self._clips:
            raise UsageError(
                f"{folder}: no clips of EmoDB such as 03a01Fa.wav.",
                hint="Give the folder that holds them: --data emodb:data/emodb/wav",
            )
        for split, speakers in self._speakers.items():
            if not any(name[:2] in speakers for name in self._clips):
                raise UsageError(
                    f"{folder}: no clips of speakers {', '.join(speakers)}, the {split} split.",
                    hint="Get the archive anew, or choose another fold: --set data.emodb.fold=1",
                )

    def read(self, split: str) -> Split:
        """One split: every clip is a conversation of one utterance by its speaker, as long as the clip."""
        check_split("emodb", split, self.splits)
        speakers = self._speakers[split]
        clips = {name: path for name, path in self._clips.items() if name[:2] in speakers}
        return Split(
            name=split,
            labels=LABELS,
            sha256=names_digest(clips),
            conversations=tuple(
                Conversation((Utterance(0.0, 0.0, SENTENCES[n[2:5]], f"Speaker {n[:2]}"),), id=n)
                for n in clips
            ),
            targets=tuple((LETTERS.index(name[5]),) for name in clips),
            sources=tuple((Source(path),) for path in clips.values()),
            warnings=another_version(len(clips), sum(CLIPS[s] for s in speakers), "clips"),
        )


def _clips(folder: Path) -> dict[str, Path]:
    """Clips by name."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return {path.stem: path for path in files if _NAME.fullmatch(path.stem)}
