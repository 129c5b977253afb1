"""A transcript for a recording that has none: from a transcriber's name to utterances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from erc_cli import options
from erc_cli.device import find_device
from erc_cli.errors import UsageError
from erc_cli.learning import Report
from erc_cli.registry import Registry
from erc_cli.specs import TranscriberSpec
from erc_cli.transcript_write import write_transcript
from erc_cli.types import MediaInfo, Transcriber, Transcript, Utterance

PREFIX = "transcriber."
OFFLINE = "segments"  # what works without a model


@dataclass(slots=True)
class Plan:
    """A transcriber and its options, checked; `typed` are those that were set.

    It is built when it is first used, and kept for the next recording. `save`: a file for the transcript,
    written before anything else is done with it; `force`: over an older one.
    """

    spec: TranscriberSpec
    package: str
    typed: Mapping[str, Any]
    options: Mapping[str, Any]
    device: str = "cpu"
    precision: str | None = None
    save: Path | None = None
    force: bool = False
    _built: Transcriber | None = field(default=None, init=False, repr=False)

    @property
    def transcriber(self) -> Transcriber:
        """The plugin's; raises what its `build` raises, and UsageError for a device that is not there."""
        if self._built is None:
            asked = options.given(self.spec.build)
            given: dict[str, Any] = {"precision": self.precision} if "precision" in asked else {}
            if "device" in asked:
                given["device"] = find_device(self.device)
            self._built = self.spec.build(**self.options, **given)
        return self._built


def split_settings(settings: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`--set` settings of the preset, and those of the transcriber (`transcriber.NAME=VALUE`)."""
    own = tuple(text for text in settings if text.lstrip().startswith(PREFIX))
    return tuple(text for text in settings if text not in own), own


def plan(
    name: str | None,
    settings: Sequence[str],
    registry: Registry,
    *,
    device: str = "cpu",
    precision: str | None = None,
) -> Plan | None:
    """The transcriber called `name`, with its settings; None where none is wanted.

    Raises:
        UsageError: there is none of that name, a setting does not fit it, or is given without one.
        ErcError: a library that it needs is missing.
    """
    if name is None:
        if settings:
            raise UsageError(
                f"--set {settings[0]} is for --transcriber, which is not given.",
                hint=f"Add: --transcriber {OFFLINE}",
            )
        return None
    spec = registry.transcriber(name)
    typed = dict(map(_parsed, settings))
    bound, wrong = options.bind(spec.build, typed, Path())
    if wrong:
        said = "\n  ".join(f"--set {PREFIX}{one.option}: {one.message}" for one in wrong)
        head = f"{len(wrong)} settings do not fit:\n  " if len(wrong) > 1 else ""
        get = next((one.get for one in wrong if one.get), "")
        hint = f"Type: {get}" if get else f"Options: erc plugins show {spec.name}"
        raise UsageError(head + said, hint=hint)
    registry.require(spec)
    return Plan(spec, str(registry.owner(spec)), typed, bound, device, precision)


def transcribe(
    plan: Plan,
    media: MediaInfo,
    report: Report = lambda step: None,
    change: Callable[[Transcript], Transcript] | None = None,
) -> Transcript:
    """What the transcriber hears in the medium; its `format` is the transcriber's name.

    `change` is done to it before it is saved, such as other names for the speakers.

    Raises:
        UsageError: the medium has no sound, no speech is found in it, or the transcript cannot be saved.
        ErcError: the transcriber fails for a reason that the user can mend.
    """
    if not media.audio:
        raise UsageError(
            f"{media.path} has no sound to make a transcript from.",
            hint="Name a transcript with --transcript FILE.",
        )
    made = plan.transcriber.transcribe(media, report)
    if not made.utterances:
        known = options.schema(plan.spec.build)
        closer = f" Or listen closer: --set {PREFIX}threshold=0.3" if "threshold" in known else ""
        raise UsageError(
            f"No speech was found in {media.path} ({media.duration:.1f} s).",
            hint=f"Name a transcript with --transcript FILE.{closer}",
        )
    ordered = sorted(map(_in_milliseconds, made.utterances), key=lambda one: (one.start, one.end))
    detail = {**_about(plan), **made.detail}
    script = replace(made, utterances=tuple(ordered), format=plan.spec.name, detail=detail, path=plan.save)
    script = script if change is None else change(script)
    if plan.save is not None:
        write_transcript(script, plan.save, plan.force)
    return script


def _in_milliseconds(said: Utterance) -> Utterance:
    """As a file can hold it, so that a transcript that was saved and read is the same one."""
    start = round(max(said.start, 0.0), 3)
    return replace(said, start=start, end=round(max(said.end, start), 3))


def _about(plan: Plan) -> dict[str, Any]:
    """For the meta data of results: who made the transcript, with which options."""
    values = {
        name: plan.typed.get(name, option.default) for name, option in options.schema(plan.spec.build).items()
    }
    libraries = {need: found for need in plan.spec.needs if (found := _version(need))}
    return {
        "name": plan.spec.name,
        "package": plan.package,
        **({"libraries": libraries} if libraries else {}),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in values.items()},
    }


def _version(library: str) -> str:
    try:
        return version(library)  # the name is normalised: silero_vad is silero-vad
    except PackageNotFoundError:
        return ""


def _parsed(setting: str) -> tuple[str, Any]:
    """`transcriber.threshold=0.3` -> ("threshold", 0.3)."""
    import yaml

    key, equals, text = setting.strip().removeprefix(PREFIX).partition("=")
    if not equals or not key.strip():
        raise UsageError(
            f"--set {setting}: expected {PREFIX}NAME=VALUE.",
            hint=f"For instance: --set {PREFIX}threshold=0.3",
        )
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(
            f"--set {setting}: {text!r} is not a YAML value.", hint="Put it in quotes."
        ) from None
