"""Features of a data set's splits: media files through the store, words by conversation."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from erc_cli.device import Placed
from erc_cli.encoding import Branch, Done, Task, encode_all, find
from erc_cli.errors import ErcError
from erc_cli.feature_file import DamagedError, FeatureFile, to_rows
from erc_cli.features import Recipe, Span, Store, key_of, open_store, recipe_of
from erc_cli.learning import Progress, Report, Source, Split
from erc_cli.preset import Use
from erc_cli.registry import Registry
from erc_cli.types import Conversation, Encoded, Extractor, Features, Modality, Notice, Status

Rows = tuple[tuple[Encoded | None, ...], ...]
_SHOWN = 3


@runtime_checkable
class BringsRows(Protocol):
    """An extractor that has the rows of data sets at hand, and encodes nothing."""

    def rows_for(self, split: Split, ids: tuple[tuple[str, ...], ...]) -> Rows:
        """Rows of every conversation; `ids` names its utterances."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """Rows by modality, and how many media files were computed, reused, or failed and why."""

    rows: Mapping[Modality, Rows]
    computed: int = 0
    reused: int = 0
    failures: tuple[tuple[Path, str], ...] = ()
    warnings: tuple[Notice, ...] = ()


def branches_of(
    uses: Mapping[Modality, Use],
    registry: Registry,
    extractors: Mapping[Modality, Extractor],
    **given: object,
) -> dict[Modality, Branch]:
    """The branches of a preset as the store knows them; `given` (device, labels, …) is what built them.

    Raises:
        UsageError: an option does not fit.
    """
    return {
        m: Branch(_with_precision(recipe_of(m, use, registry, **given), extractors[m]), extractors[m])
        for m, use in uses.items()
    }


def _with_precision(recipe: Recipe, extractor: Extractor) -> Recipe:
    """What was reckoned in fewer bits is not what fp32 gives: another key in the store."""
    precision = extractor.placement.precision if isinstance(extractor, Placed) else "fp32"
    if precision == "fp32":
        return recipe
    options = {**json.loads(recipe.options), "precision": precision}
    return replace(recipe, options=json.dumps(options, sort_keys=True))


def with_features(
    split: Split,
    branches: Mapping[Modality, Branch],
    store: Store | Path | None = None,
    report: Report = lambda progress: None,
    *,
    jobs: int = 1,
) -> Split:
    """The split with `ready` filled for every branch that has rows for its media.

    What is missing in the store (a features folder, by default the one in the cache) is computed and
    kept. Rows that the data set brings itself are taken as they are; text branches read words and need
    none. A file that cannot be read is `unreadable`, with a warning.

    Raises:
        ErcError: the store cannot be written, or features do not fit the data set.
    """
    if split.pictures is not None or not split.conversations:
        return split
    ready = dict(split.ready)
    for branch in branches.values():
        if isinstance(branch.extractor, BringsRows):
            ready[branch.recipe.name] = branch.extractor.rows_for(split, utterance_ids(split))
    lacking: dict[Modality, Branch]
    lacking = {m: b for m, b in branches.items() if m is not Modality.TEXT and b.recipe.name not in ready}
    if not lacking or not has_media(split):
        return replace(split, ready=ready)
    place = store if isinstance(store, Store) else open_store(store)
    found = extract_media(split, lacking, place, report, jobs=jobs)
    ready |= {lacking[m].recipe.name: rows for m, rows in found.rows.items()}
    return replace(split, ready=ready, warnings=(*split.warnings, *found.warnings, *_told(found)))


def rows_of(
    split: Split,
    branch: Branch,
    store: Store | Path | None = None,
    report: Report = lambda progress: None,
) -> Rows:
    """Rows of one branch for every conversation; None where nothing was or can be encoded.

    Raises:
        ErcError: as `with_features`.
    """
    filled = with_features(split, {branch.recipe.modality: branch}, store, report)
    nothing = tuple((None,) * len(c.utterances) for c in split.conversations)
    return filled.ready.get(branch.recipe.name, nothing)


def has_media(split: Split) -> bool:
    """Whether there is a medium for any of its utterances."""
    return any(source is not None for row in split.sources for source in row)


def utterance_ids(split: Split) -> tuple[tuple[str, ...], ...]:
    """Names of the utterances: the data set's, else those of their own media files, else their places."""
    if split.ids:
        return split.ids
    stems = tuple(
        tuple("" if source is None else PurePosixPath(source.path).stem for source in row)
        for row in split.sources
    )
    flat = [stem for row in stems for stem in row]
    if flat and all(flat) and len(set(flat)) == len(flat):
        return stems
    return tuple(
        tuple(f"{talk.id or number}:{i}" for i in range(len(talk.utterances)))
        for number, talk in enumerate(split.conversations)
    )


# --- media ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """Rows being filled in while files come back in any order."""

    rows: dict[Modality, list[list[Encoded | None]]]
    places: dict[Path, list[tuple[int, int]]]
    computed: int = 0
    reused: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[Notice] = field(default_factory=list)

    def add(self, done: Done) -> None:
        path = done.task.path
        self.failures += [(path, text) for text in done.failures]
        self.warnings += done.warnings
        self.computed += bool(done.fresh) and not done.failures
        self.reused += bool(done.files) and not done.fresh and not done.failures
        for modality, file in done.files.items():
            for (i, j), row in zip(self.places[path], to_rows(file), strict=True):
                self.rows[modality][i][j] = row


def extract_media(
    split: Split,
    branches: Mapping[Modality, Branch],
    store: Store,
    report: Report,
    *,
    jobs: int = 1,
    retry: bool = False,
) -> Extracted:
    """Rows of the branches for every utterance that has a medium, each file decoded once.

    What is computed is put into the store at once. `retry`: rows that failed before are tried again.

    Raises:
        ErcError: the store cannot be written; what is done is kept.
    """
    tally = _blank(split, branches)
    stage, total = f"media of {split.name}", len(tally.places)
    recipes = {m: branch.recipe for m, branch in branches.items()}
    waiting: list[Task] = []
    for task in _tasks(split, tally.places, store):
        done = find(task, recipes, store, retry=retry)
        if done is None:
            waiting.append(task)
            continue
        tally.add(done)
    ready = total - len(waiting)
    report(Progress(stage, ready, total))
    try:
        with closing(
            encode_all(waiting, branches, store, jobs=min(jobs, len(waiting)), retry=retry)
        ) as results:
            for count, done in enumerate(results, start=1):
                _keep(done, recipes, store)
                tally.add(done)
                report(Progress(stage, ready + count, total, done.task.path.name))
    finally:
        _save_quietly(store)
    rows = {m: tuple(tuple(row) for row in table) for m, table in tally.rows.items()}
    return Extracted(rows, tally.computed, tally.reused, tuple(tally.failures), tuple(tally.warnings))


def _blank(split: Split, branches: Mapping[Modality, Branch]) -> _Tally:
    """Everything unreadable, until a file says otherwise; utterances by file in the order of their spans."""
    places: dict[Path, list[tuple[int, int]]] = {}
    for i, row in enumerate(split.sources):
        for j, source in enumerate(row):
            if source is not None:
                places.setdefault(source.path, []).append((i, j))
    for where in places.values():
        where.sort(key=lambda place: (_span(split, place)[0], place))
    gone = Encoded(None, Status.UNREADABLE)
    rows = {m: [[gone] * len(c.utterances) for c in split.conversations] for m in branches}
    return _Tally({m: [list(row) for row in table] for m, table in rows.items()}, places)


def _source(split: Split, place: tuple[int, int]) -> Source:
    found = split.sources[place[0]][place[1]]
    if found is None:
        raise ValueError(f"no medium at {place}")
    return found


def _span(split: Split, place: tuple[int, int]) -> Span:
    source = _source(split, place)
    return float(source.start), None if source.end is None else float(source.end)


def _tasks(split: Split, files: Mapping[Path, list[tuple[int, int]]], store: Store) -> Iterator[Task]:
    ids = utterance_ids(split)
    for path, places in files.items():
        yield Task(
            path=path,
            utterances=tuple(split.conversations[i].utterances[j] for i, j in places),
            spans=tuple(_span(split, place) for place in places),
            ids=tuple(ids[i][j] for i, j in places),
            sha256=store.known_hash(path),
        )


def _keep(done: Done, recipes: Mapping[Modality, Recipe], store: Store) -> None:
    for modality in sorted(done.fresh):
        store.put(key_of(recipes[modality], done.sha256, done.task.spans), done.files[modality])
    if done.sha256:
        store.remember_hash(done.task.path, done.sha256)


def _save_quietly(store: Store) -> None:
    """The memory of hashes is a convenience: a full disk is told about the features already."""
    try:
        store.save()
    except ErcError:
        return


def _told(found: Extracted) -> list[Notice]:
    """What failed, as one warning."""
    paths = Counter(path for path, _ in found.failures)
    if not paths:
        return []
    first = "; ".join(text for _, text in found.failures[:_SHOWN])
    more = f" and {len(found.failures) - _SHOWN} more" if len(found.failures) > _SHOWN else ""
    return [Notice("media_failed", f"{len(paths)} media files failed: {first}{more}")]


# --- words ---------------------------------------------------------------------------------


def extract_words(
    split: Split, branch: Branch, store: Store, report: Report
) -> tuple[list[Features], int, list[Notice]]:
    """Features of a branch that needs no media, conversation by conversation, how many were computed
    now, and what was odd.

    Raises:
        ErcError: the store cannot be written, or the extractor fails.
    """
    made: list[Features] = []
    notices: list[Notice] = []
    computed = 0
    stage, total = f"{branch.recipe.modality} of {split.name}", len(split.conversations)
    for i, (talk, ids) in enumerate(zip(split.conversations, utterance_ids(split), strict=True)):
        report(Progress(stage, i, total))
        words = words_hash(talk)
        key = key_of(branch.recipe, words, ())
        try:
            file = store.get(key)
        except DamagedError as error:
            notices.append(Notice("feature_file_damaged", f"{error.path}: {error.reason}; computed anew"))
            file = None
        if file is None:
            computed += 1
            file = _words_file(branch, talk, ids, words)
            store.put(key, file)
        made.append(file.features)
    report(Progress(stage, total, total))
    return made, computed, notices


def _words_file(branch: Branch, talk: Conversation, ids: tuple[str, ...], words: str) -> FeatureFile:
    recipe = branch.recipe
    return FeatureFile(
        modality=recipe.modality,
        plugin=recipe.name,
        version=recipe.version,
        options=recipe.options,
        features=branch.extractor.gather(talk, (None,) * len(talk.utterances)),
        utterances=ids,
        more={"words_sha256": words},
    )


def words_hash(conversation: Conversation) -> str:
    """Hash of who said what and when."""
    turns = [[u.start, u.end, u.text, u.speaker] for u in conversation.utterances]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


__all__ = [
    "Branch",
    "BringsRows",
    "Extracted",
    "branches_of",
    "extract_media",
    "extract_words",
    "has_media",
    "rows_of",
    "utterance_ids",
    "with_features",
    "words_hash",
]
