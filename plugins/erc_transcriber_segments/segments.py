"""Spans of speech as utterances without words."""

from __future__ import annotations

from dataclasses import dataclass

from erc_cli.learning import Progress, Report
from erc_cli.nets.silero import load_silero
from erc_cli.speech_spans import Cutting, find_speech
from erc_cli.types import MediaInfo, Notice, Transcript, Utterance
from erc_cli.voices import Voices, with_speakers


@dataclass(frozen=True, slots=True)
class Segments:
    """Fulfils `Transcriber`."""

    cutting: Cutting
    voices: Voices
    device: str = "cpu"

    def transcribe(self, media: MediaInfo, report: Report) -> Transcript:
        """An utterance with an empty text for each span in which somebody speaks."""
        notices: list[Notice] = []
        spans = find_speech(
            media,
            load_silero(),
            self.cutting,
            on_progress=lambda share: report(Progress("speech", round(100 * share), 100)),
            on_warning=notices.append,
        )
        found = tuple(Utterance(start, end, "") for start, end in spans)
        if not found:
            return Transcript((), "segments", tuple(notices))
        named = with_speakers(media, found, self.voices, self.device, report)
        detail = {"speakers": dict(named.detail)} if named.detail else {}
        return Transcript(named.utterances, "segments", (*notices, *named.warnings), detail=detail)
