"""What is drawn at each moment; what stays the same from frame to frame is made once."""

from __future__ import annotations

from collections.abc import Sequence

from erc_cli.types import Result
from erc_format_video.faces import Track, track_of
from erc_format_video.planes import Layer, Look, layer_of
from erc_format_video.scene import Colour, Patch, colour, frame_patches, patches

_OTHERS: Colour = (235, 235, 235, 255)


class Drawing:
    """The layers of a result over frames of one look. Asked for times that never go back."""

    def __init__(self, result: Result, look: Look) -> None:
        self._result, self._look = result, look
        said = result.utterances
        self._order = sorted(range(len(said)), key=lambda i: (said[i].start, i))
        self._next = 0
        self._now: list[int] = []
        self._tracks: dict[int, Track | None] = {}
        self._still: tuple[list[int], list[Layer]] = ([], [])

    def layers(self, time: float) -> list[Layer]:
        """What lies over the frame at `time` seconds, lowest first."""
        places = self._said(time)
        if places != self._still[0]:
            made = patches(self._result, places, self._look.screen) if places else []
            self._still = (list(places), self._layers(made))
        return [*self._faces(places, time), *self._still[1]]

    def _said(self, time: float) -> list[int]:
        """The utterances that are said now, in order of their beginning."""
        said = self._result.utterances
        while self._next < len(self._order) and said[self._order[self._next]].start <= time:
            place = self._order[self._next]
            self._next += 1
            self._now.append(place)
            self._tracks[place] = track_of(self._result, place)
        for i in [i for i in self._now if said[i].end <= time]:
            self._now.remove(i)
            del self._tracks[i]
        return self._now

    def _faces(self, places: Sequence[int], time: float) -> list[Layer]:
        """The faces of the last to begin who has any: two who talk at once see the same ones."""
        for i in reversed(places):
            track = self._tracks[i]
            if track is None:
                continue
            label = self._result.label(self._result.predictions[i])
            name, hue = self._result.utterances[i].speaker or "", colour(label, self._result.labels)
            made: list[Patch] = []
            for face in track.at(time):
                of = (name, hue) if face.speaker else ("", _OTHERS)
                made += frame_patches(face.box, *of, self._look.screen)
            return self._layers(made)
        return []

    def _layers(self, made: Sequence[Patch]) -> list[Layer]:
        layers = (layer_of(patch, self._look) for patch in made)
        return [layer for layer in layers if layer is not None]
