"""What `erc data check` finds out about a data set: counts, hashes, and all that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from erc_cli.errors import ErcError
from erc_cli.learning import Dataset, Split
from erc_cli.mediacheck import damage
from erc_cli.preset_file import Preset
from erc_cli.types import Conversation, Encoded, Modality

#: splits without which nothing can be trained
NEEDED = ("train", "dev")
LONG = 200  # utterances; a longer dialogue is rare enough to be told
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is odd (`warning`) or would spoil training (`error`)."""

    level: str
    code: str
    message: str
    split: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """Utterances by what is known of their media file."""

    found: int = 0
    missing: int = 0
    corrupt: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """Rows of ready features under one extractor's name: how many utterances lack them, how many rows
    hold a number that is not finite."""

    rows: int
    missing: int
    not_finite: int


@dataclass(frozen=True, slots=True)
class Counts:
    """One split in figures; `longest` in utterances, `single` dialogues of one utterance."""

    sha256: str
    dialogues: int = 0
    utterances: int = 0
    unlabelled: int = 0
    pictures: int = 0
    speakers: int = 0
    longest: int = 0
    single: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    media: Media | None = None
    ready: Mapping[str, Ready] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """All splits, the labels, and what is wrong.

    `branches[MODALITY][SPLIT]` says what a preset's branch can work on there: `words`, `pictures`,
    `ready features`, `media` or `nothing`.
    """

    labels: tuple[str, ...]
    splits: Mapping[str, Counts]
    findings: tuple[Finding, ...]
    branches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing would spoil training."""
        return not any(finding.level == "error" for finding in self.findings)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ok": self.ok,
            "labels": list(self.labels),
            "branches": {name: dict(offers) for name, offers in self.branches.items()},
            "splits": {name: asdict(counts) for name, counts in self.splits.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_dataset(dataset: Dataset, preset: Preset | None = None) -> Checked:
    """Read every split and look at it, with a preset also whether it goes with that one.

    A split that cannot be read is a finding, and the others are still looked at.
    """
    findings: list[Finding] = []
    splits: dict[str, Split] = {}
    counts: dict[str, Counts] = {}
    for name in dataset.splits:
        try:
            splits[name] = dataset.read(name)
        except ErcError as error:
            findings.append(Finding("error", "unreadable", error.message, name, error.hint or ""))
            continue
        found, odd = _media(splits[name])
        counts[name] = _counts(splits[name], found)
        findings += [Finding("warning", n.code, n.message, name) for n in splits[name].warnings]
        findings += odd
        findings += _split_findings(splits[name], counts[name])
    for name in NEEDED:
        if name not in dataset.splits:
            said = f"there is no {name} split, so nothing can be trained on it"
            findings.append(Finding("error", "no_split", said, name))
    if "test" not in dataset.splits:
        findings.append(Finding("warning", "no_split", "there is no test split to evaluate on", "test"))
    own = next((split.labels for split in splits.values()), ())
    findings += _leaks(splits)
    branches: dict[str, dict[str, str]] = {}
    if preset is not None:
        findings += _label_findings(own, preset.labels)
        branches = {str(m): _offers(m, use.name, counts) for m, use in preset.extractors.items()}
        if counts and all(offer == "nothing" for offers in branches.values() for offer in offers.values()):
            said = f"no branch of the preset ({', '.join(branches)}) has anything to work on"
            findings.append(Finding("error", "no_branch", said, "", "Name another preset or data set."))
    return Checked(own, counts, tuple(sorted(findings, key=lambda f: f.level)), branches)


def _offers(modality: Modality, name: str, counts: Mapping[str, Counts]) -> dict[str, str]:
    """What each split has for the extractor `name`."""
    return {split: _offer(modality, name, one) for split, one in counts.items()}


def _offer(modality: Modality, name: str, counts: Counts) -> str:
    if counts.pictures:
        return "pictures" if modality is Modality.VISUAL else "nothing"
    if modality is Modality.TEXT:
        return "words"
    if name in counts.ready:
        return "ready features"
    return "media" if counts.media is not None and counts.media.found else "nothing"


def _counts(split: Split, media: Media | None) -> Counts:
    pictures = split.picture_targets is not None
    targets = (
        split.picture_targets.tolist()
        if split.picture_targets is not None
        else list(chain.from_iterable(split.targets))
    )
    tally = Counter(targets)
    lengths = [len(c.utterances) for c in split.conversations]
    speakers = {u.speaker for c in split.conversations for u in c.utterances if u.speaker}
    return Counts(
        sha256=split.sha256,
        dialogues=len(lengths),
        utterances=sum(lengths),
        unlabelled=tally[-1],
        pictures=len(targets) if pictures else 0,
        speakers=len(speakers),
        longest=max(lengths, default=0),
        single=lengths.count(1),
        classes={label: tally[i] for i, label in enumerate(split.labels)},
        media=media,
        ready={name: _ready(rows) for name, rows in split.ready.items()},
    )


def _ready(rows: Sequence[Sequence[Encoded | None]]) -> Ready:
    flat = [row.values if row is not None else None for row in chain.from_iterable(rows)]
    values = [row for row in flat if row is not None]
    broken = sum(not np.isfinite(row).all() for row in values)
    return Ready(len(values), len(flat) - len(values), broken)


def _media(split: Split) -> tuple[Media | None, list[Finding]]:
    """Which media files are there and whole; each file is looked at once."""
    if not split.sources:
        return None, []
    sources = list(chain.from_iterable(split.sources))
    wrong: dict[Path, str] = {s.path: "" for s in sources if s is not None}
    missing = {path for path in wrong if not path.is_file()}
    for path in wrong.keys() - missing:
        wrong[path] = damage(path)
    corrupt = {path: said for path, said in wrong.items() if said}
    known = sum(n.code == "corrupt_media" for n in split.warnings)
    absent = sum(s is None or s.path in missing for s in sources)
    bad = sum(s is not None and s.path in corrupt for s in sources)
    media = Media(len(sources) - absent - bad, max(absent - known, 0), bad + min(known, absent))
    findings = []
    for path, said in sorted(corrupt.items())[:_SHOWN]:
        findings.append(Finding("error", "corrupt_media", f"{path} {said}", split.name, "Get it anew."))
    if len(corrupt) > _SHOWN:
        said = f"and {len(corrupt) - _SHOWN} more files like these"
        findings.append(Finding("error", "corrupt_media", said, split.name, "Get them anew."))
    if not media.found:
        findings.append(Finding("error", "no_media", "none of the media files is there", split.name))
    return media, findings


def _split_findings(split: Split, counts: Counts) -> list[Finding]:
    found = []
    total = counts.pictures or counts.utterances
    labelled = sum(counts.classes.values())
    level = "error" if split.name in NEEDED else "warning"
    if not total:
        return [Finding("error", "empty_split", "the split is empty", split.name, "Is the data set whole?")]
    if labelled + counts.unlabelled != total:
        said = f"{total - labelled - counts.unlabelled} labels are not among the data set's"
        found.append(Finding("error", "unknown_label", said, split.name))
    if not labelled:
        return [*found, Finding(level, "unlabelled", "no utterance has a label", split.name)]
    unseen = [label for label, count in counts.classes.items() if not count]
    if unseen:
        worst = "error" if split.name == "train" else "warning"
        said = f"no example of {', '.join(unseen)}"
        hint = "Leave the class out of the labels, or get examples." if worst == "error" else ""
        found.append(Finding(worst, "no_example", said, split.name, hint))
    if counts.single and counts.single < counts.dialogues:
        said = f"{counts.single} dialogues of one utterance"
        found.append(Finding("warning", "single_utterance", said, split.name))
    if counts.longest > LONG:
        said = f"the longest dialogue has {counts.longest} utterances"
        found.append(Finding("warning", "long_dialogue", said, split.name))
    if split.shares is not None and not _proper(split, total):
        said = f"the shares of labels are not {total} x {len(split.labels)} finite numbers of 0 or more"
        found.append(Finding("error", "shares", said, split.name))
    for name, ready in counts.ready.items():
        if not ready.rows:
            said = f"ready features {name}: no utterance has any"
            found.append(Finding(level, "no_features", said, split.name))
        if ready.not_finite:
            said = f"ready features {name}: {ready.not_finite} rows have gaps that its extractor has to fill"
            found.append(Finding("warning", "not_finite", said, split.name))
    return [*found, *_text_findings(split, total)]


def _proper(split: Split, total: int) -> bool:
    shares = split.shares
    if shares is None or shares.shape != (total, len(split.labels)):
        return False
    return bool(np.isfinite(shares).all() and (shares >= 0).all())


def _text_findings(split: Split, total: int) -> list[Finding]:
    """Empty words, times that run backwards."""
    every = list(chain.from_iterable(c.utterances for c in split.conversations))
    silent = sum(not u.text.strip() for u in every)
    # a length of nothing is that of a clip which is the utterance as a whole
    backwards = sum(u.end < u.start for u in every)
    found = []
    if silent:
        found.append(
            Finding("warning", "no_text", f"{silent} of {total} utterances have no words", split.name)
        )
    if backwards:
        said = f"{backwards} utterances end before they start"
        found.append(Finding("warning", "times", said, split.name))
    return found


def _leaks(splits: Mapping[str, Split]) -> list[Finding]:
    """What is in two splits: dialogues with the same words by the same speakers, media, pictures.

    A single utterance without a speaker may well be said twice ("Thank you"), so it is no error.
    """
    found: list[Finding] = []
    names = list(splits)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            found += _shared(splits[one], splits[other])
    return found


def _shared(one: Split, other: Split) -> list[Finding]:
    where = f"{one.name}, {other.name}"
    talks = _common(_dialogue_keys(one), _dialogue_keys(other))
    found = []
    long = sorted(key[1] for key in talks if key[0] > 1)
    if long:
        said = f"{len(long)} dialogues are in both, for instance {', '.join(long[:_SHOWN])}"
        found.append(Finding("error", "leak", said, where, "Leave them out of one of the splits."))
    short = len(talks) - len(long)
    if short:
        said = f"{short} dialogues of one utterance are in both"
        found.append(Finding("warning", "duplicates", said, where))
    spans = _spans(one) & _spans(other)
    if spans:
        said = f"{len(spans)} spans of media are in both, for instance {min(spans)[0]}"
        found.append(Finding("error", "leak", said, where, "Leave them out of one of the splits."))
    pictures = _pictures(one) & _pictures(other)
    if pictures:
        said = f"{len(pictures)} pictures are in both"
        found.append(Finding("warning", "duplicates", said, where))
    return found


Words = tuple[tuple[str, str], ...]


def _dialogue_keys(split: Split) -> dict[Words, tuple[int, str]]:
    """(number of utterances, id) of each dialogue by its words, small letters and blanks aside."""
    return {words: (len(words), c.id) for c in split.conversations if (words := _words(c))}


def _words(conversation: Conversation) -> Words:
    return tuple((u.speaker or "", " ".join(u.text.lower().split())) for u in conversation.utterances)


def _common(one: Mapping[Words, tuple[int, str]], other: Iterable[Words]) -> list[tuple[int, str]]:
    return [one[words] for words in other if words in one]


def _spans(split: Split) -> set[tuple[Path, float, float]]:
    every = chain.from_iterable(split.sources)
    return {(s.path, s.start, -1.0 if s.end is None else s.end) for s in every if s is not None}


def _pictures(split: Split) -> set[bytes]:
    if split.pictures is None:
        return set()
    return {blake2b(picture.tobytes(), digest_size=16).digest() for picture in split.pictures}


def _label_findings(own: Sequence[str], preset: Sequence[str]) -> list[Finding]:
    """A branch may learn from other labels than the preset's; a fusion may not."""
    if not own or not preset or set(own) == set(preset):
        return []
    parts = [
        f"{who}: {', '.join(words)}"
        for who, words in (
            ("the data set's alone", [w for w in own if w not in preset]),
            ("the preset's alone", [w for w in preset if w not in own]),
        )
        if words
    ]
    hint = "A branch can learn from it, the fusion and erc evaluate cannot. Labels: erc presets copy"
    return [Finding("warning", "labels", f"other labels than the preset's ({'; '.join(parts)})", "", hint)]
