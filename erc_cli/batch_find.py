"""From what was typed to recordings: folders, patterns, lists and files, each with its transcript."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.manifest import MANIFEST, is_manifest
from erc_cli.pairing import endings_of, transcript_named
from erc_cli.registry import Registry

#: endings of films, then of sound: what counts as a medium in a folder, and which of two is taken
FILMS = (
    *(".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv"),
    *(".flv", ".ogv", ".3gp", ".asf", ".mxf", ".vob", ".rm", ".dv"),
)
SOUNDS = (
    *(".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".oga", ".aac", ".wma", ".aif", ".aiff", ".amr"),
    *(".ac3", ".caf", ".au", ".w64", ".mka", ".ape", ".wv", ".mp2"),
)
MEDIA = (*FILMS, *SOUNDS)
LIST = ".txt"
#: endings that other files have as well: such a file is a transcript only where it is named
COMMON = (".json", ".jsonl", ".csv", ".tsv", ".txt")


@dataclass(frozen=True, slots=True)
class Task:
    """One recording. `name`: its path below the folder that all of them are in, with slashes.

    `left_out` or `error` (message, hint) say why there is nothing to do.
    """

    name: str
    media: Path | None
    transcript: Path | None
    left_out: str = ""
    error: tuple[str, str] | None = None

    @property
    def path(self) -> Path:
        """The medium, or of text alone the transcript."""
        found = self.media or self.transcript
        if found is None:
            raise ValueError(f"{self.name} has neither medium nor transcript")
        return found


@dataclass(slots=True)
class Found:
    """Files, absolute, each once: media, transcripts, and what was listed and is neither.

    `roots`: the folders to which results are relative; `notes`: what a user should know.
    """

    media: dict[Path, None] = field(default_factory=dict)
    scripts: dict[Path, None] = field(default_factory=dict)
    other: dict[Path, None] = field(default_factory=dict)
    roots: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stands_for_several(path: Path) -> bool:
    """Whether an argument is a folder, a list, or a pattern, and not a medium."""
    return path.is_dir() or path.suffix.lower() == LIST or _is_pattern(path)


def _is_pattern(path: Path) -> bool:
    return not os.path.lexists(path) and glob.has_magic(str(path))


def find_tasks(
    named: Sequence[Path],
    scripts: Path | None,
    registry: Registry,
    out: Path,
    *,
    transcribed: bool = False,
) -> tuple[list[Task], list[str]]:
    """The recordings in the order of their names, and notes; `scripts`: `--transcript`, a folder or file.

    What is below `out` is left out. `transcribed`: a medium without a transcript gets one made.

    Raises:
        UsageError: something that was typed is not there, or there is no recording.
    """
    found = Found()
    for path in named:
        _take(absolute(path), path, registry, absolute(out), found)
    if not found.media and not found.scripts and not found.other:
        shown = ", ".join(map(str, named))
        hint = f"Endings of media: {' '.join(MEDIA)}"
        raise UsageError(f"There is no recording in {shown}.", hint=hint)
    tasks = sorted(_paired(found, _common(found.roots), scripts, registry), key=lambda task: task.name)
    return [_without_error(task) if transcribed else task for task in tasks], found.notes


def _without_error(task: Task) -> Task:
    """A medium that is there is no error only because it has no transcript."""
    speaks = task.media is not None and task.transcript is None and task.media.exists()
    return replace(task, error=None) if speaks else task


def absolute(path: Path) -> Path:
    """The path from the root on."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are, and `..` goes


# --- from arguments to files ---------------------------------------------------------------


def _take(path: Path, typed: Path, registry: Registry, out: Path, found: Found) -> None:
    """One argument."""
    if path.is_dir():
        _take_folder(path, registry, out, found)
    elif _is_pattern(path):
        _take_pattern(path, typed, registry, out, found)
    elif not path.is_file():
        raise UsageError(f"There is no file {typed}.", hint="Look at its name: ls")
    elif path.suffix.lower() == LIST:
        _take_list(path, typed, registry, out, found)
    else:
        found.roots.append(path.parent)
        _take_file(path, registry, found)


def _take_file(path: Path, registry: Registry, found: Found) -> None:
    """A file that was named; with an unknown ending it may still be a medium."""
    script = path.suffix.lower() not in MEDIA and path.suffix.lower() in endings_of(registry)
    (found.scripts if script else found.media if path.is_file() else found.other)[path] = None


def _take_folder(folder: Path, registry: Registry, out: Path, found: Found) -> None:
    """Media in a folder and all below; where there are none, transcripts."""
    found.roots.append(folder)
    files = list(_walk(folder, out, found.notes))
    media = [path for path in files if path.suffix.lower() in MEDIA]
    found.media.update(dict.fromkeys(media))
    if not media:
        endings = set(endings_of(registry)) - set(COMMON)
        scripts = [path for path in files if path.suffix.lower() in endings]
        found.scripts.update(dict.fromkeys(scripts))
        if scripts:
            found.notes.append(f"No recording in {folder}: its {len(scripts)} transcripts are read alone.")


def _walk(folder: Path, out: Path, notes: list[str]) -> Iterator[Path]:
    """Files below a folder, sorted; hidden ones, `out` and other folders of results are left out."""

    def refused(error: OSError) -> None:
        notes.append(f"{error.filename} cannot be looked into: {error.strerror}.")

    for home, folders, files in os.walk(folder, onerror=refused):
        here = Path(home)
        if here != folder and (here == out or is_manifest(here / MANIFEST)):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path


def _take_pattern(path: Path, typed: Path, registry: Registry, out: Path, found: Found) -> None:
    """What matches a pattern: media, and transcripts where no medium matches."""
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - as shells have it
    files = [match for match in matches if match.is_file() and not match.is_relative_to(out)]
    known = set(endings_of(registry)) - set(COMMON)
    media = [match for match in files if match.suffix.lower() in MEDIA]
    scripts = [match for match in files if match.suffix.lower() in known]
    if not media and not scripts:
        hint = "Put the pattern in quotes; ** stands for folders within folders."
        raise UsageError(f"No recording matches {typed}.", hint=hint)
    plain = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    found.roots.append(Path(*path.parts[:plain]))
    found.media.update(dict.fromkeys(media))
    if not media:
        found.scripts.update(dict.fromkeys(scripts))


def _take_list(path: Path, typed: Path, registry: Registry, out: Path, found: Found) -> None:
    """A path a line, relative to the list; blank lines and those that begin with # are none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{typed} cannot be read: {error.strerror}.", hint="Name another list.") from None
    if b"\0" in content:
        raise UsageError(f"{typed} is no list of paths.", hint="A list is a text file with a path a line.")
    listed = list(_lines(content.removeprefix(b"\xef\xbb\xbf"), path.parent))
    if not listed:
        raise UsageError(f"{typed} lists nothing.", hint="Write a path a line; # begins a comment.")
    found.roots.append(path.parent)
    for one in listed:
        if not one.is_relative_to(path.parent):
            found.roots.append(one.parent)
        if one.is_dir():
            _take_folder(one, registry, out, found)
        else:
            _take_file(one, registry, found)


def _lines(content: bytes, folder: Path) -> Iterator[Path]:
    """Paths in any bytes; blanks around one are no part of it unless there is such a file."""
    for line in content.split(b"\n"):
        exact, bare = os.fsdecode(line.rstrip(b"\r")), os.fsdecode(line.strip())
        if bare and not bare.startswith("#"):
            yield absolute(folder / (exact if (folder / exact).exists() else bare))


def _common(roots: Iterable[Path]) -> Path:
    """The folder that all are in."""
    try:
        return Path(os.path.commonpath([*roots]))
    except ValueError:
        raise UsageError(
            "The recordings are on several drives.", hint="Name those of one drive at a time."
        ) from None


# --- from files to recordings --------------------------------------------------------------


def _paired(found: Found, root: Path, scripts: Path | None, registry: Registry) -> Iterator[Task]:
    """A task per file; one medium of each name has the transcript, and one name has one result."""
    groups: dict[Path, list[Path]] = {}
    for path in found.media:
        groups.setdefault(path.with_suffix(""), []).append(path)
    one = _only_script(scripts, len(groups))
    taken: dict[Path, Path] = {}
    for stem in sorted(groups):
        first, *rest = sorted(groups[stem], key=_rank)
        for other in rest:
            yield Task(_name(other, root), other, None, left_out=f"{first.name} of the same name is taken")
        script = one or _script_of(first, root, scripts, registry, found)
        yield _task(first, script, root, scripts, taken)
    for path in found.other:
        error = (f"There is no file {path}.", "Mend the list, or leave the line out.")
        yield Task(_name(path, root), path, None, error=error)
    yield from _alone(found, set(taken), set(groups), root, registry)


def _only_script(scripts: Path | None, count: int) -> Path | None:
    """The one transcript that was named, which is for one medium.

    Raises:
        UsageError: there are several media, or no such file or folder.
    """
    if scripts is None or scripts.is_dir():
        return None
    if not scripts.exists():
        raise UsageError(f"There is no {scripts}.", hint="Name a transcript, or a folder of transcripts.")
    if count > 1:
        raise UsageError(
            f"--transcript {scripts} is one transcript for {count} recordings.",
            hint="Name a folder: --transcript DIR. Each recording takes the one of its own name.",
        )
    return absolute(scripts)


def _rank(path: Path) -> tuple[int, str]:
    ending = path.suffix.lower()
    return (MEDIA.index(ending) if ending in MEDIA else len(MEDIA), path.name)


def _script_of(
    media: Path, root: Path, scripts: Path | None, registry: Registry, found: Found
) -> Path | None:
    """The medium's transcript: named in a list, in the folder of transcripts, or beside it."""
    named = [path for path in found.scripts if path.with_suffix("") == media.with_suffix("")]
    folder = None if scripts is None else absolute(scripts)
    places = [folder / media.relative_to(root), folder / media.name] if folder is not None else []
    sought = (transcript_named(place, registry) for place in (*places, media))
    return next(iter(named), None) or next(filter(None, sought), None)


def _task(
    media: Path, script: Path | None, root: Path, scripts: Path | None, taken: dict[Path, Path]
) -> Task:
    """The medium with its transcript, or why it has none; `taken` says which medium has a transcript."""
    name = _name(media, root)
    if script is None:
        where = f"beside it or in {scripts}" if scripts is not None and scripts.is_dir() else "beside it"
        hint = f"Put {media.stem}.srt there, or name a folder of transcripts: --transcript DIR"
        return Task(name, media, None, error=(f"There is no transcript {where}.", hint))
    if script in taken:
        return Task(name, media, script, left_out=f"{script.name} is the transcript of {taken[script].name}")
    taken[script] = media
    return Task(name, media, script)


def _alone(
    found: Found, taken: set[Path], stems: set[Path], root: Path, registry: Registry
) -> Iterator[Task]:
    """Transcripts without a medium: the text alone."""
    order = endings_of(registry)
    groups: dict[Path, list[Path]] = {}
    for path in found.scripts:
        if path not in taken:
            groups.setdefault(path.with_suffix(""), []).append(path)
    for stem in sorted(groups):
        first, *rest = sorted(groups[stem], key=lambda path: (order.index(path.suffix.lower()), path.name))
        rest = [first, *rest] if stem in stems else rest
        for other in rest:
            yield Task(_name(other, root), None, other, left_out="another of the same name is taken")
        if stem not in stems:
            yield Task(_name(first, root), None, first)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
