"""What a caller from Python gives for one recording, opened as the command line opens its files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from erc_cli.errors import UsageError
from erc_cli.learning import Report
from erc_cli.media import probe
from erc_cli.pairing import find_transcript
from erc_cli.prediction import Inputs, open_inputs
from erc_cli.recording import Recording, recording_of
from erc_cli.records import check_columns, transcript_of
from erc_cli.registry import Registry
from erc_cli.speaker_map import SpeakerMap, read_speaker_map
from erc_cli.transcribing import PREFIX, Plan, plan
from erc_cli.types import Transcript, Utterance

if TYPE_CHECKING:
    import pandas
    import polars

    AnyPath: TypeAlias = str | PathLike[str]
    Rows: TypeAlias = Sequence[Utterance | Mapping[str, Any]] | pandas.DataFrame | polars.DataFrame
    AnyTranscript: TypeAlias = AnyPath | Transcript | Rows


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of one `predict`, as they were given."""

    media: AnyPath | None
    transcript: AnyTranscript | None
    columns: Mapping[str, str]
    speakers: AnyPath | Mapping[str, str] | None
    format: str | None
    transcriber: str | Mapping[str, Any] | None

    def opened(
        self, registry: Registry, report: Report, device: str = "auto", plans: dict[str, Plan] | None = None
    ) -> Recording:
        """The transcript, with the names that are wanted, and its medium.

        `device`: where a transcriber runs; `plans`: those that were used before, kept with their networks.

        Raises:
            UsageError: one of the inputs is not there or not usable.
            ErcError: the transcriber lacks something that the user can get.
        """
        media = None if self.media is None else _local(self.media)
        names = None if self.speakers is None else _names(self.speakers)
        if self.transcript is None or isinstance(self.transcript, str | PathLike):
            inputs = self._files(media, registry, device, {} if plans is None else plans)
            recording = open_inputs(inputs, registry, report)
            return recording if names is None else _renamed(recording, names)
        self._one_of_them()
        script = self.transcript
        if not isinstance(script, Transcript):
            script = transcript_of(script, self.columns)
        info = None if media is None else probe(media)
        return recording_of(script if names is None else names.applied(script), info)

    def _files(self, media: Path | None, registry: Registry, device: str, plans: dict[str, Plan]) -> Inputs:
        if self.transcript is not None:
            self._one_of_them()
            script = _local(self.transcript)
        elif media is None:
            raise UsageError("There is nothing to judge.", hint="Give media, a transcript, or both.")
        elif self.transcriber is not None:
            key = str(self.transcriber)
            plans[key] = plans.get(key) or self._plan(registry, device)
            return Inputs(media, None, transcriber=plans[key])
        else:
            script = find_transcript(media, registry)
        return Inputs(media, script, columns=check_columns(self.columns), format=self.format)

    def _one_of_them(self) -> None:
        if self.transcriber is not None:
            raise UsageError(
                "A transcript and a transcriber exclude each other.", hint="Give one of the two."
            )

    def _plan(self, registry: Registry, device: str) -> Plan:
        given = self.transcriber if isinstance(self.transcriber, Mapping) else {"use": self.transcriber}
        options = {f"{PREFIX}{name}": value for name, value in given.items() if name != "use"}
        made = plan(given["use"], set_words(options), registry, device=device) if "use" in given else None
        if made is None:
            raise UsageError("The transcriber has no name.", hint="For instance: {'use': 'segments'}")
        return made


def set_words(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """As `--set` takes them: KEY=VALUE, the value as YAML on one line; a path is text.

    Raises:
        UsageError: a value is no text, number, truth, list or mapping.
    """
    return tuple(f"{key}={_yaml(value)}" for key, value in settings.items())


def _yaml(value: Any) -> str:
    if isinstance(value, PathLike):
        value = fspath(value)
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    except yaml.YAMLError as error:
        hint = "Values are text, numbers, True, False, None, lists and mappings of these."
        raise UsageError(f"settings has {value!r:.60}, which is none of YAML's.", hint=hint) from error
    return text.removesuffix("...\n").strip()


def _local(path: Any) -> Path:
    """UsageError for an address: only local files are read."""
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise UsageError(f"{text} is no file: erc reads local files only.", hint="Download it first.")
    return Path(path)


def _names(speakers: AnyPath | Mapping[str, str]) -> SpeakerMap:
    if isinstance(speakers, Mapping):
        names = {str(old or ""): str(new or "") for old, new in speakers.items()}
        return SpeakerMap(names, Path("speakers"))
    return read_speaker_map(Path(speakers))


def _renamed(recording: Recording, names: SpeakerMap) -> Recording:
    """The recording with other names; what is odd about them is told before what is about the medium."""
    before = recording.transcript
    script = names.applied(before)
    rest = recording.warnings[len(before.warnings) :]
    return replace(recording, transcript=script, warnings=(*script.warnings, *rest))
