"""MELD's raw clips, `diaX_uttY.mp4` in the folders of the release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from erc_cli.errors import UsageError

FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
#: clips of the release that cannot be decoded (train, dev), or are of something else (test)
CORRUPT = {
    "train": frozenset({(125, 3)}),
    "dev": frozenset({(110, 7)}),
    "test": frozenset({(38, 4), (220, 0)}),
}


def find_clips(folder: Path, named: Path | None) -> dict[str, Path]:
    """Each split's folder of clips, as far as they are there.

    Raises:
        UsageError: a place was named, and there is none of them.
    """
    roots = [folder, folder.parent] if named is None else [named]
    found: dict[str, Path] = {}
    for split, name in FOLDERS.items():
        places = [root / inner / name for root in roots for inner in ("", "MELD.Raw", split)]
        place = next((p for p in places if p.is_dir()), None)
        if place is not None:
            found[split] = place
    if named is not None and not found:
        raise UsageError(
            f"{named}: no folder of clips, {', '.join(FOLDERS.values())} not found.",
            hint="Unpack MELD.Raw.tar.gz and the three archives in it, and name that folder.",
        )
    return found


def names_in(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by name; much quicker than to ask for each of ten thousand."""
    return {path.name: path for path in folder.iterdir()}


def clip_name(dialogue: int, utterance: int) -> str:
    """The file of an utterance."""
    return f"dia{dialogue}_utt{utterance}.mp4"
