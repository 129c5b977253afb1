"""From a recording to utterances with words: speech is found first, and only that is read by Whisper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erc_cli.device import Placement, check_precision
from erc_cli.errors import UsageError
from erc_cli.learning import Progress, Report
from erc_cli.media import read_clips
from erc_cli.model_store import find_model, held
from erc_cli.nets.silero import load_silero
from erc_cli.speech_spans import Cutting, Span, find_speech
from erc_cli.types import MediaInfo, Notice, Transcript, Utterance, Wish
from erc_cli.voices import Voices, with_speakers
from erc_transcriber_whisper.network import Speech, load_network

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

OPTION = "transcriber.weights"
MODELS = ("whisper-small", "whisper-base", "whisper-tiny")  # the first that is there
WORDS = "words"


@dataclass(frozen=True, slots=True)
class Listening:
    """How the sound is cut, whose voices are told apart, and how many parts are read at once."""

    cutting: Cutting
    voices: Voices
    batch: int = 4


def open_whisper(
    weights: Path | None, language: str | None, listening: Listening, device: str, precision: str | None
) -> Whisper:
    """The transcriber of a model's folder; None: the largest of `MODELS` that was pulled.

    Raises:
        UsageError: there is none, it is damaged or of another architecture, or does not know the language.
    """
    check_precision(precision, device)
    folder = weights if weights is not None else _pulled()
    network = load_network(folder, language, Placement(device, precision or "fp32"), OPTION)
    return Whisper(network, listening, {"model": folder.name})


def _pulled() -> Path:
    for name in MODELS:
        if held(name) is not None:
            return find_model(name)
    raise UsageError(
        "The transcriber whisper needs a model, and none is on this computer.",
        hint=f"Type: erc models pull whisper-base, or name a folder: --set {OPTION}=FOLDER, or cut speech "
        "without words: --transcriber segments",
    )


@dataclass(frozen=True, slots=True)
class Whisper:
    """Fulfils `Transcriber`. Memory does not grow with the recording's length."""

    network: Speech
    listening: Listening
    about: dict[str, Any] = field(default_factory=dict)

    def transcribe(self, media: MediaInfo, report: Report) -> Transcript:
        """An utterance for each of the segments that Whisper makes of speech."""
        notices: list[Notice] = []
        most = min(self.listening.cutting.max_seconds, self.network.seconds)
        spans = find_speech(
            media,
            load_silero(),
            replace(self.listening.cutting, max_seconds=most),
            on_progress=lambda share: report(Progress("speech", round(100 * share), 100)),
            on_warning=notices.append,
        )
        found = tuple(self._worded(media, packed(spans, most), report))
        if not found:
            return Transcript((), "whisper", tuple(notices))
        named = with_speakers(media, found, self.listening.voices, self.network.placement.device, report)
        detail = {**self.about, "language": self.network.language}
        detail |= {"speakers": dict(named.detail)} if named.detail else {}
        return Transcript(named.utterances, "whisper", (*notices, *named.warnings), detail=detail)

    def _worded(self, media: MediaInfo, parts: Sequence[Span], report: Report) -> Iterator[Utterance]:
        """Utterances of the parts, in order, `batch` parts at a time."""
        done = 0
        report(Progress(WORDS, 0, len(parts)))
        for group in self._sounds(media, parts):
            written = self.network.write([sound for _, sound in group])
            for (start, end), said in zip([parts[i] for i, _ in group], written, strict=True):
                for one in said:
                    begin = min(start + one.start, end)
                    yield Utterance(begin, max(min(start + one.end, end), begin), one.text)
            done += len(group)
            report(Progress(WORDS, done, len(parts)))

    def _sounds(self, media: MediaInfo, parts: Sequence[Span]) -> Iterator[list[tuple[int, FloatArray]]]:
        group: list[tuple[int, FloatArray]] = []
        for i, clip in read_clips(media, [Wish(sound=part) for part in parts]):
            if clip.sound is not None and len(clip.sound):
                group.append((i, clip.sound))
            if len(group) == self.listening.batch:
                yield group
                group = []
        if group:
            yield group


def packed(spans: Sequence[Span], most: float) -> list[Span]:
    """Neighbouring spans in one part as long as that has at most `most` seconds: to Whisper every part is
    30 s, so that few long ones are read much faster than many short ones."""
    parts: list[Span] = []
    for start, end in spans:
        if parts and end - parts[-1][0] <= most:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return parts
