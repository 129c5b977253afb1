"""From an utterance's frames to the weighted face model's vector, whatever finds and embeds the faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from erc_cli.device import Placement
from erc_cli.faces.arcface import ArcFace
from erc_cli.faces.identity import choose
from erc_cli.faces.people import PEOPLE, as_detail, from_detail, people_of
from erc_cli.faces.record import BOXES, SPEAKER_BOXES, Detector, Embedder, Face, boxes_of, detect_all
from erc_cli.faces.scrfd import Scrfd
from erc_cli.faces.weighted import Sampling, as_features, by_frame, prepared, seen, weighted
from erc_cli.types import Encoded, Features, Status

if TYPE_CHECKING:
    from erc_cli.types import ByteArray, Clip, Conversation, FloatArray

Frames = Sequence[tuple["ByteArray", Sequence[Face]]]
Embed = Callable[[Frames], "FloatArray"]
"""Frames uint8 [h, w, 3] and their faces, at least one each -> embeddings [n, d] of all faces in order."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An utterance's frames, scaled, and its face vector [d] (None: no face), and `Encoded.detail`."""

    pictures: tuple[ByteArray, ...]
    face: FloatArray | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """The weighted face model. With `identify` the people are told apart as well, for `features`."""

    sampling: Sampling
    detector: Detector
    embed: Embed
    pool: str = "mean"
    identify: Embedder | None = None

    def read(self, clip: Clip) -> Seen | Encoded:
        """What the clip shows, or the reason why it shows nothing."""
        if clip.frames_status is not Status.OK:
            return Encoded(None, clip.frames_status)
        if not clip.frames:
            return Encoded(None, Status.NO_VIDEO)
        pictures = tuple(prepared(frame.rgb, self.sampling.longest_side) for frame in clip.frames)
        found = detect_all(self.detector, pictures)
        detail: dict[str, Any] = seen(found)
        boxes = boxes_of([frame.time for frame in clip.frames], pictures, found)
        if boxes:
            detail[BOXES] = boxes
        frames = [(rgb, faces) for rgb, faces in zip(pictures, found, strict=True) if faces]
        if not frames:
            return Seen(pictures, None, detail)
        embeddings = self.embed(frames)
        every = [faces for _, faces in frames]
        if self.identify is not None:
            identities = np.concatenate([self.identify.embed(rgb, faces) for rgb, faces in frames])
            detail[PEOPLE] = as_detail(people_of(frames, identities, embeddings, self.pool))
        return Seen(pictures, weighted(every, by_frame(every, embeddings), self.pool), detail)

    def features(
        self, conversation: Conversation, rows: Sequence[Encoded | None], dim: int, face: slice
    ) -> Features:
        """Features [n, dim] of a conversation; with `identify` each speaker's own face is preferred.

        `face`: where in a row the face's vector is. As sure as a choice is, so much of the vector is the
        speaker's face alone; the rest, and a row whose speaker is not known, is all faces.
        """
        if self.identify is None:
            plain = [dict(row.detail) if row is not None else {} for row in rows]
            return replace(as_features(rows, dim), detail=tuple(plain) if any(plain) else ())
        people = [from_detail(row.detail) if row is not None else [] for row in rows]
        choices = choose(people, [utterance.speaker for utterance in conversation.utterances])
        chosen, details = [], []
        for row, persons, choice in zip(rows, people, choices, strict=True):
            rest = {k: v for k, v in row.detail.items() if k != PEOPLE} if row is not None else {}
            if persons:
                name = None if choice.identity is None else f"face {choice.identity + 1}"
                rest |= {"identity": name, "identity_confidence": round(choice.confidence, 3)}
                if choice.person is not None and persons[choice.person].seen:
                    rest[SPEAKER_BOXES] = list(persons[choice.person].seen)
            details.append(rest)
            if row is not None and row.values is not None and choice.person is not None and len(persons) > 1:
                values = row.values.copy()
                own = persons[choice.person].face
                values[face] += np.float32(choice.confidence) * (own - values[face])
                row = replace(row, values=values)  # noqa: PLW2901
            chosen.append(row)
        return replace(as_features(chosen, dim), detail=tuple(details))


def placed(device: str, parts: Mapping[str, Detector | Embedder | None], *, alone: bool = False) -> Placement:
    """Where an extractor runs when `device` was asked for, and which of its parts run on the CPU instead.

    `alone`: it has no other parts than these.
    """
    away = {name: part for name, part in parts.items() if part is not None and part.device != device}
    if not away:
        return Placement(device)
    note = f"{' and '.join(away)} on the CPU"
    if device.startswith("cuda") and any(isinstance(part, Scrfd | ArcFace) for part in away.values()):
        note += "; onnxruntime has no CUDA here, see onnxruntime-gpu"
    return Placement("cpu" if alone and len(away) == len(parts) else device, note=note)
