"""What both layouts of IEMOCAP are read into, and which dialogue is in which split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from erc_cli.types import Encoded

#: the corpus's own short labels; those that are no key of it are not among the six classes
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "hap": "happy",
        "sad": "sad",
        "neu": "neutral",
        "ang": "angry",
        "exc": "excited",
        "fru": "frustrated",
    }
)
OTHERS = ("xxx", "sur", "fea", "oth", "dis")
SESSIONS = ("1", "2", "3", "4", "5")

#: the published dev split: twenty dialogues of session 4; test is session 5, train the rest
DEV = frozenset(
    {f"Ses04F_script{n}" for n in ("01_3", "02_1", "02_2", "03_1", "03_2")}
    | {f"Ses04M_impro0{n}" for n in range(1, 9)}
    | {f"Ses04M_script{n}" for n in ("01_1", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2")}
)
#: labelled utterances and dialogues of the published split
PUBLISHED = {"train": (4778, 100), "dev": (980, 20), "test": (1622, 31)}


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance: its id (`Ses01F_impro01_F000`), dialogue, seconds, words, speaker (F or M), the
    short label (empty: never evaluated), media file if there is one, and ready figures."""

    id: str
    dialogue: str
    start: float
    end: float
    text: str
    speaker: str
    emotion: str
    media: Path | None = None
    figures: Encoded | None = None

    @property
    def labelled(self) -> bool:
        """Whether it is of one of the six classes."""
        return self.emotion in LABELS


def session(dialogue: str) -> str:
    """The session's number in a dialogue's name, such as `Ses04F_impro01`."""
    return dialogue[4:5]


def sessions_for(test: str, unused: Collection[str]) -> tuple[str, ...]:
    """Numbers of the sessions that are read: all for the published split, `session5`."""
    return tuple(n for n in SESSIONS if test == "session5" or f"session{n}" not in unused)


def split_dialogues(
    dialogues: Iterable[str], test: str, unused: Collection[str] = ("session5",)
) -> dict[str, tuple[str, ...]]:
    """Dialogues of every split that has any, in the order of their names."""
    last, known = test.removeprefix("session"), sessions_for(test, unused)
    names = sorted(name for name in dialogues if session(name) in known)
    dev = DEV if test == "session5" else held_out(name for name in names if session(name) != last)
    found = {
        "train": tuple(n for n in names if session(n) != last and n not in dev),
        "dev": tuple(n for n in names if n in dev),
        "test": tuple(n for n in names if session(n) == last),
    }
    return {split: chosen for split, chosen in found.items() if chosen}


def held_out(dialogues: Iterable[str]) -> frozenset[str]:
    """A fixed dev set of about an eighth: of each session, each half of it (`F`, `M`: who wears the
    markers) and each kind (script, improvisation) the dialogue whose name has the lowest SHA-256."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dialogues:
        groups[name[:6] + name[7:8]].append(name)
    return frozenset(min(g, key=lambda n: hashlib.sha256(n.encode()).hexdigest()) for g in groups.values())
