"""A split's features in one file per branch, row by row with its utterances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erc_cli.dataset import join
from erc_cli.encoding import Branch
from erc_cli.errors import UsageError
from erc_cli.extraction import Extracted, extract_media, extract_words, has_media, utterance_ids
from erc_cli.feature_file import SUFFIX, FeatureFile, from_rows, write_features
from erc_cli.features import Store
from erc_cli.learning import Report, Split
from erc_cli.types import Encoded, Features, Modality, Notice


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a split: a file per branch, media files computed, reused and failed, oddities."""

    split: str
    files: Mapping[Modality, tuple[Path, FeatureFile]]
    computed: int
    reused: int
    failures: tuple[tuple[Path, str], ...]
    warnings: tuple[Notice, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "split": self.split,
            "media": {"computed": self.computed, "reused": self.reused, "failed": len(failed_paths(self))},
            "features": [{"file": str(path), **describe(file)} for path, file in self.files.values()],
            "failures": [{"path": str(path), "reason": reason} for path, reason in self.failures],
            "warnings": [{"code": n.code, "message": n.message} for n in self.warnings],
        }


def failed_paths(outcome: Outcome) -> list[Path]:
    """Media files that failed, in part or whole, each once."""
    return list(dict.fromkeys(path for path, _ in outcome.failures))


def describe(file: FeatureFile) -> dict[str, Any]:
    """What a feature file holds, for JSON."""
    return {
        "modality": str(file.modality),
        "plugin": file.plugin,
        "version": file.version,
        "rows": len(file.utterances),
        "width": int(file.features.values.shape[1]),
        "present": int(file.features.present.sum()),
        "status": dict(Counter(str(s) for s in file.features.status).most_common()),
    }


def file_name(data: str, split: str, modality: Modality, plugin: str) -> str:
    """Of an aligned feature file."""
    return f"{data}-{split}-{modality}-{plugin}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where aligned files go, and the store that is used."""

    folder: Path
    store: Store
    jobs: int = 1


def extract_split(
    data: str, split: Split, branches: Mapping[Modality, Branch], place: Place, report: Report
) -> Outcome:
    """Features of every branch that the split has something for, each written to one file in the folder.

    A text branch gives its features; the others give what they encode of each utterance. Rows that the
    data set brings itself are taken as they are.

    Raises:
        UsageError: the split has nothing for any branch.
        ErcError: a file cannot be written; what is done is kept.
    """
    usable = _usable(split, branches)
    if not usable:
        raise UsageError(
            f"The {split.name} split of {data} has nothing to extract {', '.join(branches)} features from.",
            hint="Is there a folder of media beside its tables? Try: erc data check " + data + ":PATH",
        )
    decoded: dict[Modality, Branch]
    decoded = {m: b for m, b in usable.items() if m is not Modality.TEXT and b.recipe.name not in split.ready}
    found = Extracted({})
    if decoded:
        found = extract_media(split, decoded, place.store, report, jobs=place.jobs, retry=True)
    files, warnings = {}, [*split.warnings, *found.warnings]
    for modality, branch in usable.items():
        if modality is Modality.TEXT:
            parts, _, notices = extract_words(split, branch, place.store, report)
            warnings += notices
            file = _aligned(data, split, branch, join(parts), {})
        else:
            rows = found.rows.get(modality) or split.ready[branch.recipe.name]
            flat: list[Encoded | None] = [row for talk in rows for row in talk]
            file = _aligned(data, split, branch, *from_rows(flat))
        path = place.folder / file_name(data, split.name, modality, branch.recipe.name)
        write_features(path, file)
        files[modality] = path, file
    return Outcome(split.name, files, found.computed, found.reused, found.failures, tuple(warnings))


def _usable(split: Split, branches: Mapping[Modality, Branch]) -> dict[Modality, Branch]:
    if not split.conversations:
        return {}
    media = has_media(split)
    return {m: b for m, b in branches.items() if media or m is Modality.TEXT or b.recipe.name in split.ready}


def _aligned(
    data: str, split: Split, branch: Branch, features: Features, more: Mapping[str, str]
) -> FeatureFile:
    recipe = branch.recipe
    about = {"data": data, "split": split.name, "data_sha256": split.sha256}
    return FeatureFile(
        modality=recipe.modality,
        plugin=recipe.name,
        version=recipe.version,
        options=recipe.options,
        features=features,
        utterances=tuple(name for row in utterance_ids(split) for name in row),
        more={**more, **about},
    )
