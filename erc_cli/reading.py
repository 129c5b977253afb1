"""One pass over a recording for every branch: wishes asked, clips encoded, what fails told and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from erc_cli.batching import Queue
from erc_cli.errors import ErcError, reason
from erc_cli.learning import Progress, Report
from erc_cli.types import (
    Clip,
    Conversation,
    Encoded,
    Extractor,
    Features,
    MediaInfo,
    Modality,
    Notice,
    Status,
    Utterance,
    Wish,
)

T = TypeVar("T")
NO_MEDIUM = {Modality.AUDIO: Status.NO_AUDIO_TRACK, Modality.VISUAL: Status.NO_VIDEO}


@dataclass(slots=True)
class Branch:
    """The rows of one extractor while a conversation is read. What fails is a row, or the branch."""

    modality: Modality
    extractor: Extractor
    rows: list[Encoded | None]
    failures: list[str] = field(default_factory=list)
    lost: bool = False
    asked: set[int] = field(default_factory=set)

    def wish(self, index: int, utterance: Utterance) -> Wish:
        """What the extractor wants of the media for an utterance; `asked` are those that want anything."""
        wish = None if self.lost else self._attempt(lambda: self.extractor.wish(utterance))
        self.lost = self.lost or wish is None
        if wish is None or (wish.sound is None and not wish.frames):
            return Wish()
        self.asked.add(index)
        return wish

    def encode_one(self, index: int, clip: Clip) -> None:
        """Encode a clip, and keep the row or what went wrong."""
        row = self._attempt(lambda: self.extractor.encode(clip))
        self.rows[index] = row if row is not None else Encoded(None, Status.UNREADABLE)

    def finish(self, conversation: Conversation) -> Features:
        """Features of the whole conversation."""
        return self.attempt(lambda: self.extractor.gather(conversation, self.rows), len(self.rows))

    def attempt(self, gather: Callable[[], Features], count: int) -> Features:
        """`count` rows of features; those of a branch that fails, now or before, are unreadable."""
        features = None if self.lost else self._attempt(gather)
        self.lost = features is None
        return features if features is not None else unreadable(count, self.extractor.dim)

    def notices(self) -> list[Notice]:
        """What failed."""
        if not self.failures:
            return []
        what = (
            "is left out" if self.lost else f"failed on {len(self.failures)} of {len(self.rows)} utterances"
        )
        return [Notice("modality_failed", f"{self.modality} {what} ({self.failures[0]})")]

    def _attempt(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a plugin's failure must not stop the others
            self.failures.append(reason(error))
        return None


def unreadable(n: int, dim: int) -> Features:
    """Features of a branch that failed: nothing present."""
    values = np.zeros((n, dim), dtype=np.float32)
    return Features(values, np.zeros(n, dtype=bool), (Status.UNREADABLE,) * n)


def branches_of(extractors: Mapping[Modality, Extractor], count: int) -> dict[Modality, Branch]:
    """A branch of `count` empty rows for each extractor."""
    return {m: Branch(m, extractor, [None] * count) for m, extractor in extractors.items()}


def check_any(branches: Mapping[Modality, Branch]) -> None:
    """ErcError if every branch has failed."""
    if branches and all(branch.lost for branch in branches.values()):
        said = "; ".join(f"{m}: {branch.failures[0]}" for m, branch in branches.items())
        raise ErcError(f"Every modality failed ({said}).", hint="Check the options: erc presets check")


def read_media(
    branches: Mapping[Modality, Branch],
    conversation: Conversation,
    media: MediaInfo | None,
    report: Report,
    warn: Callable[[Notice], None],
) -> Iterator[None]:
    """Gather every branch's wishes, read the medium once, and hand out the clips as they come.

    Pauses once when all is asked for and nothing read, and after each clip that was handed out.
    """
    asked = [
        (branch, i, wish)
        for branch in branches.values()
        for i, utterance in enumerate(conversation.utterances)
        if (wish := branch.wish(i, utterance)) != Wish()
    ]
    if media is None:
        for branch, i, _ in asked:
            status = NO_MEDIUM.get(branch.modality, Status.UNREADABLE)
            branch.rows[i] = Encoded(None, status)
    yield
    if media is None or not asked:
        return
    from erc_cli.media import read_clips

    total = max(1, round(media.duration))

    def advance(share: float) -> None:
        report(Progress("media", round(share * total), total, "seconds"))

    wishes = [wish for _, _, wish in asked]
    queues = {m: Queue(branch.extractor) for m, branch in branches.items()}
    for place, clip in read_clips(media, wishes, on_progress=advance, on_warning=warn):
        branch, i, _ = asked[place]
        queues[branch.modality].add(branch, i, clip)
        yield
    for queue in queues.values():
        queue.flush()
    report(Progress("media", total, total, "seconds"))
