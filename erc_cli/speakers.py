r"""Who speaks: names written into the text of a cue, and several turns in one cue.

Forms that are understood at the start of a line: `NAME: text`, `[NAME] text`, `(NAME) text`, each
also after a turn mark (`- `, `>>`), and the voice tag of WebVTT, `<v Name>`. Subtitles write many
other things with a colon or in brackets, so a candidate must also look like a name in this file:

- never: words that ordinary sentences put before a colon (`Note:`, `Listen:`, `One thing:`),
  sounds and manners (`[laughs]`, `(DOOR SLAMS)`, `[IN FRENCH]`), times, addresses;
- always: role words (`Man 1`, `narrator`, `SPEAKER_00`), names known from a `<v>` tag;
- upper case, at most four words: yes, unless the whole file is in capitals, or label and text
  both are (`WARNING: KEEP OUT`), or it is one letter: then only when it recurs;
- Title Case, at most three words: when it recurs; when it occurs once, only in a short file or one
  in which a tenth of the cues carry labels, and only if the word is never written small;
- small letters, and scripts without capitals: only when they recur in a file full of labels.

A name that is missed leaves the text whole; a wrong one would cut words off it. So doubt means no.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from erc_cli.speaker_words import HONORIFIC, MANNER, NAMES_IN_S, ORDINARY, PARTICLE, ROLE, SOUND

VOICE = "\ue001"
"""Written around the name of a `<v Name>` tag, on a line of its own, before tags are removed."""

_COLON = re.compile(
    r"(?P<name>[^\W\d_][\w .'’&/#+-]{0,39}?)\s*(?:[(\[][^()\[\]:]{1,30}[)\]])?\s*[:：](?P<rest>.*)", re.DOTALL
)
_BRACKET = re.compile(r"[\[(（【]\s*(?P<name>[^\[\]()（）【】:]{1,40}?)\s*[\])）】](?P<rest>.*)", re.DOTALL)
_VOICE = re.compile(f"{VOICE}(?P<name>[^{VOICE}]*){VOICE}(?P<rest>.*)", re.DOTALL)
_DASH = re.compile(
    r"(?:[-‐‑–—−]{1,2}(?![\w.,])|[-‐‑–—](?=[^\W\d_])|[•●]|(?:>|&gt;){2,3}|»)\s*(?P<rest>\S.*)", re.DOTALL
)
_INNER_DASH = re.compile(r"(?<=[.!?…\"”’)\]♪])\s+(?=(?:[-–—]|>>)\s*[^\W\d_])")
_ENDS = (".", "!", "?", "…", '"', "”", "’", ")", "]", "♪", "--", "—")
_NAMELY = ("as", "is", "os", "ss", "us", "ys")
SHORT_FILE = 20


class Kind(Enum):
    """How a candidate is written."""

    ROLE = "role"
    UPPER = "upper"
    TITLE = "title"
    LOWER = "lower"
    CASELESS = "caseless"


@dataclass(frozen=True, slots=True)
class Label:
    """A candidate for a name at the start of a line, and the text after it."""

    name: str
    rest: str
    kind: Kind
    bracket: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says in one cue."""

    speaker: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a whole file says about its labels: see `learn`.

    `counts`: candidates by casefolded name; `spelling`: how each is best written; `share`: cues
    with a label in capitals, Title Case or of a role; `any_share`: those in small letters too;
    `small`: words of the text in small letters; `capitals`: the file is written in capitals.
    """

    counts: Counter[str]
    spelling: dict[str, str]
    known: frozenset[str] = frozenset()
    cues: int = 0
    share: float = 0.0
    any_share: float = 0.0
    small: frozenset[str] = field(default_factory=frozenset)
    capitals: bool = False


def learn(texts: Sequence[str], known: Iterable[str] = ()) -> Evidence:
    """Count the candidates of a file. `texts`: each cue's tidy lines; `known`: names that are sure."""
    counts: Counter[str] = Counter()
    spelling = {name.casefold(): name for name in known}
    names = set(spelling)
    clear, anything, upper, lower = 0, 0, 0, 0
    small: set[str] = set()
    for text in texts:
        labels = [label for line in text.split("\n") if (label := _label(_undash(line)[0]))]
        counts.update(label.name.casefold() for label in labels)
        anything += bool(labels)
        clear += any(label.kind in (Kind.ROLE, Kind.UPPER, Kind.TITLE) for label in labels)
        for label in labels:
            key = label.name.casefold()
            if spelling.get(key, label.name).isupper():
                spelling[key] = label.name
        for voice in _VOICE.finditer(text):
            names.add(voice["name"].casefold())
            spelling.setdefault(voice["name"].casefold(), voice["name"])
        upper += sum(char.isupper() for char in text)
        lower += sum(char.islower() for char in text)
        small.update(word for word in re.findall(r"[^\W\d_]+", text) if word.islower())
    cues = max(1, len(texts))
    return Evidence(
        counts,
        spelling,
        frozenset(names),
        len(texts),
        clear / cues,
        anything / cues,
        frozenset(small),
        upper > 2 * lower,
    )


def split_turns(text: str, evidence: Evidence) -> list[Turn]:
    """The turns of one cue, in order; a cue without a turn mark is one turn."""
    turns: list[tuple[str | None, list[str]]] = []
    first_dashed = _undash(text)[1]
    before = "."
    for line in _lines(text):
        bare, dashed = _undash(line)
        ended = not before or before.endswith(_ENDS)
        speaker, rest = _speaker(bare, evidence, ended or dashed)
        marked = dashed and (first_dashed or (ended and not bare[:1].islower()))
        if speaker is not None or marked or not turns:
            turns.append((speaker, [rest]))
        else:
            turns[-1][1].append(line)
        before = rest
    made = [Turn(speaker, " ".join(" ".join(parts).replace(VOICE, " ").split())) for speaker, parts in turns]
    return [turn for turn in made if turn.text]


def only_sounds(text: str) -> bool:
    """Whether the text has no words: notes, or a description of a sound in brackets."""
    bare = re.sub(r"\[[^\[\]]*\]|【[^【】]*】|\*[^*]*\*|<[^<>]*>", " ", text)
    bare = re.sub(r"[(（][^()（）]*[)）]", lambda match: match[0] if _spoken(match[0]) else " ", bare)
    return not re.search(r"\w", bare)


def _spoken(bracketed: str) -> bool:
    """`(I can't believe it.)` is speech in brackets; `(door slams)` is not."""
    words = re.findall(r"[\w'’]+", bracketed.lower())
    persons = {"i", "i'm", "i’m", "i'll", "you", "you're", "we", "he's", "she's", "it's", "don't", "me", "my"}
    return bracketed.rstrip(")） ").endswith("?") or len(words) > 7 or not persons.isdisjoint(words)


def _lines(text: str) -> list[str]:
    """The lines of a cue; "- Hi. - Hello." on one line becomes two."""
    lines = text.split("\n")
    if not _undash(text)[1]:
        return lines
    return [part for line in lines for part in _INNER_DASH.split(line)]


def _undash(line: str) -> tuple[str, bool]:
    """The line without its turn mark, and whether it had one."""
    match = _DASH.fullmatch(line)
    return (match["rest"], True) if match else (line, False)


def _speaker(line: str, evidence: Evidence, at_start: bool) -> tuple[str | None, str]:
    """The speaker that a line names, or None, and the line without the name.

    In the middle of a wrapped sentence (not `at_start`) only capitals are taken for a name.
    """
    voice = _VOICE.fullmatch(line)
    if voice:
        return voice["name"] or None, voice["rest"].strip()
    label = _label(line)
    if label is None or not (at_start or label.kind is Kind.UPPER) or not _accepted(label, evidence):
        return None, line
    name = label.name.casefold()
    return evidence.spelling.get(name, label.name), label.rest


def _label(line: str) -> Label | None:
    """A candidate at the start of a line, by its form alone."""
    match = _BRACKET.fullmatch(line)
    if match:
        name = re.split(r"[,;]|\s(?:-|on|over|through|via|from)\s", match["name"], flags=re.IGNORECASE)[
            0
        ].strip()
        kind = None if _manner(name) else _kind(name)
        return Label(name, match["rest"].lstrip(" :：-"), kind, True) if kind else None
    match = _COLON.fullmatch(line)
    if not match:
        return None
    name, rest = match["name"].strip(), match["rest"]
    kind = _kind(name)
    if kind is Kind.ROLE and name.islower() and not name[-1].isdigit():
        kind = Kind.LOWER  # "all: …" is more often a sentence than a label
    wide = "：" in line[: match.start("rest")]
    # Without a space: "MONICA:Hi" is a label, "http://", "12:30", "Re:Zero" and ":)" are not.
    glued = rest and not rest[0].isspace() and not wide
    if kind is None or (
        glued and not (kind in (Kind.UPPER, Kind.ROLE) and (rest[0].isalpha() or rest[0] in "\"“'¿¡[("))
    ):
        return None
    if glued and len(rest) < 3:
        return None
    return Label(name, rest.strip(), kind, False)


def _manner(name: str) -> bool:
    """Whether bracketed words tell a sound or a manner, not a name."""
    if ROLE.fullmatch(name):
        return False
    words = name.casefold().split()
    if not words or words[0] in MANNER or any(SOUND.match(word) for word in words):
        return True
    # "(WINCES) Ow." tells what is done; few names end like a verb.
    if (
        len(words) == 1
        and words[0].endswith("s")
        and words[0][-2:] not in _NAMELY
        and words[0] not in NAMES_IN_S
    ):
        return True
    titled = words[0].strip(".") in HONORIFIC
    return not titled and len(words[-1]) > 5 and words[-1].endswith(("ing", "ly"))


def _kind(name: str) -> Kind | None:
    """How a candidate is written, or None when it cannot be a name."""
    words = name.split()
    if not words or len(name) > 40 or (words[-1].endswith(".") and len(words[-1]) > 4):
        return None
    if ROLE.fullmatch(name):
        return Kind.ROLE
    first = words[0].casefold().strip(".,'’-")
    if first in ORDINARY or name.casefold() in ORDINARY or not re.search(r"[^\W\d_]", name):
        return None
    plain = re.sub(r"\bM(?:a)?c(?=[A-Z])", "", name)
    if plain.isupper():
        return Kind.UPPER if len(words) <= 4 else None
    if not any(char.isupper() or char.islower() for char in name):
        return Kind.CASELESS if len(name) <= 10 and len(words) <= 2 else None
    capital = [word[0].isupper() for word in words if word.casefold() not in PARTICLE]
    named = all(not char.isdigit() for char in name)
    if named and words[0][0].isupper() and all(capital):
        return Kind.TITLE if len(words) <= 3 else None
    return Kind.LOWER if len(words) == 1 and name[0].islower() else None


def _accepted(label: Label, evidence: Evidence) -> bool:
    """Whether the file's evidence makes this candidate a speaker."""
    key = label.name.casefold()
    count = evidence.counts[key]
    labelled = evidence.share >= 0.1 or evidence.cues < SHORT_FILE
    if key in evidence.known or label.kind is Kind.ROLE:
        return True
    if count < 2 and label.rest and not re.search(r"[^\W\d_]", label.rest):
        return False  # "LONDON: 1945"
    if label.kind is Kind.LOWER:
        return not label.bracket and count >= 2 and evidence.any_share >= 0.5
    if label.kind is Kind.CASELESS:
        return count >= 2 or evidence.cues < SHORT_FILE
    if label.kind is Kind.UPPER and not evidence.capitals:
        return count >= 2 or _upper_once(label)
    if count >= (2 if labelled else 3):
        return True
    words = key.split()
    usual = (
        words[0] in ("the", "a", "an")
        or words[-1].endswith(("ly", "ing"))
        or any(w in evidence.small for w in words)
    )
    return labelled and not usual and (count >= 2 or len(words) < 3 or words[0].strip(".") in HONORIFIC)


def _upper_once(label: Label) -> bool:
    """Whether capitals that occur once are a name: not a shouted sign, a letter, or a sound."""
    letters = re.findall(r"[^\W\d_]", label.name)
    shouted = label.rest.isupper() and len(label.rest.split()) > 1
    if len(letters) < 2 or shouted:
        return False
    words = label.name.casefold().split()
    verb = words[-1].endswith(("s", "ed")) and not words[-1].endswith("ss")
    return not (label.bracket and len(words) > 1 and verb and words[0].strip(".") not in HONORIFIC)
