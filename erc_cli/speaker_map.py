"""`--speakers map.yaml`: other names for speakers, and one name for several.

    SPEAKER_00: Monica              # renames
    Mon: Monica                     # and merges
    Chandler: [SPEAKER_02, Chan]    # the same, by the new name
    "": Narrator                    # who has no name
    SPEAKER_09: ""                  # takes a name away

Everything in it is text, also `1` and `no`; `~` and `null` are no name. Tags, anchors and deep nesting
are refused: a map of names needs none, and they are how YAML files do harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from erc_cli.errors import UsageError, nearest
from erc_cli.textfile import read_bytes_as_text, tidy
from erc_cli.types import Notice, Transcript

LARGEST = 1024 * 1024
_DEEPEST = 2
_HINT = "One line a speaker, old name and new name, for instance:\n    SPEAKER_00: Monica"


@dataclass(frozen=True, slots=True)
class SpeakerMap:
    """`names`: old name -> new name, both tidy; the empty name is nobody's."""

    names: Mapping[str, str]
    path: Path

    def applied(self, transcript: Transcript) -> Transcript:
        """The transcript with the new names; names that nobody has are told as `speaker_unknown`.

        Capitals and spaces are not heeded where no name is spelt exactly as in the map.
        """
        loose = {_loose(old): new for old, new in self.names.items()}
        found = {utterance.speaker or "" for utterance in transcript.utterances}
        new = {name: self.names.get(name, loose.get(_loose(name), name)) for name in found}
        said = tuple(replace(u, speaker=new[u.speaker or ""] or None) for u in transcript.utterances)
        present = {_loose(name) for name in found}
        unknown = [old for old in self.names if _loose(old) not in present]
        notices = [self._unknown(old, found) for old in unknown]
        return replace(transcript, utterances=said, warnings=(*transcript.warnings, *notices))

    def _unknown(self, name: str, found: set[str]) -> Notice:
        known = sorted(found - {""})
        close = nearest(name, known) or f" Speakers: {', '.join(known[:10]) or 'none with a name'}."
        message = f"{self.path.name} renames {name!r}, who does not speak here.{close}"
        if not name:
            message = f"{self.path.name} names those without a name, but everybody here has one."
        return Notice("speaker_unknown", message)


def read_speaker_map(path: Path) -> SpeakerMap:
    """The map in a YAML file.

    Raises:
        UsageError: no such file, not YAML, with tags or anchors, or not a map of names.
    """
    if not path.is_file():
        raise UsageError(f"There is no map of speakers {path}.", hint=f"Make one. {_HINT}")
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path} is too large for a map of speakers.", hint=_HINT)
    try:
        text = read_bytes_as_text(path)
    except UsageError as error:
        raise UsageError(error.message, hint=_HINT) from error
    try:
        _refuse_harm(text, path)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1} of " if mark is not None else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise UsageError(f"{line}{path} is not YAML: {problem}.", hint=_HINT) from error
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise UsageError(f"{path} is not a map of names.", hint=_HINT)
    return SpeakerMap(_names(root.value, path), path)


def _refuse_harm(text: str, path: Path) -> None:
    """UsageError for tags, anchors, several documents and deep nesting, before anything is built."""
    deep = 0
    documents = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        where = f"line {event.start_mark.line + 1} of {path}" if event.start_mark else str(path)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UsageError(f"{where} has a YAML tag, {tag}.", hint=_HINT)
        if getattr(event, "anchor", None) is not None:
            raise UsageError(f"{where} has a YAML anchor.", hint=_HINT)
        documents += isinstance(event, yaml.DocumentStartEvent)
        deep += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if deep > _DEEPEST or documents > 1:
            raise UsageError(f"{where} is no map of names.", hint=_HINT)


def _names(pairs: Sequence[tuple[yaml.Node, yaml.Node]], path: Path) -> dict[str, str]:
    """Old name -> new name.

    Raises:
        UsageError: a name is no text, or gets two new names.
    """
    names: dict[str, str] = {}
    for key, value in pairs:
        listed = isinstance(value, yaml.SequenceNode)
        for old, new in [(one, key) for one in value.value] if listed else [(key, value)]:
            where = f"line {old.start_mark.line + 1} of {path}"
            if not isinstance(old, yaml.ScalarNode) or not isinstance(new, yaml.ScalarNode):
                raise UsageError(f"{where}: a name, or a list of names, is wanted.", hint=_HINT)
            before, after = (_null(_plain(node.value)) for node in (old, new))
            if names.setdefault(before, after) != after:
                shown = f"{names[before]!r} and {after!r}"
                raise UsageError(f"{where}: {before!r} gets two names, {shown}.", hint="Keep one of them.")
    return names


def _null(name: str) -> str:
    """YAML's ways to write nothing, which the loader leaves as they are written."""
    return "" if name in ("~", "null") else name


def _plain(name: str) -> str:
    return " ".join(tidy(name).split())


def _loose(name: str) -> str:
    return name.casefold()
