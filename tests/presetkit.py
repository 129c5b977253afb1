"""What the tests of presets share: a preset, and a plugin with options of many types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from erc_cli.hookspecs import hookimpl
from erc_cli.learning import TrainJob
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import Modality

GOOD = """\
summary: for tests
labels: [calm, loud, glad]
extractors:
  text: {use: words, past: 2}
  audio: {use: fake-audio}
fusion: {use: fake-mean}
"""


@dataclass(frozen=True)
class _Built:
    """What `_build` was called with."""

    options: Mapping[str, Any]


def _build(
    *,
    past: int = 1,
    rate: float | None = None,
    mode: Literal["mean", "last"] = "mean",
    bands: tuple[float, float] = (75, 600),
    weights: Path | None = None,
    device: str = "cpu",
) -> Any:
    return _Built(
        {"past": past, "rate": rate, "mode": mode, "weights": weights, "device": device, "bands": bands}
    )


def train(job: TrainJob, *, epochs: int = 3, start: Path | None = None, rate: float = 0.1) -> Any:
    raise NotImplementedError(job, epochs, start, rate)


def _build_strict(*, head: Path) -> Any:
    return _Built({"head": head})


def _build_pool(*, labels: Sequence[str], power: float = 1.0) -> Any:
    return _Built({"labels": labels, "power": power})


class Plugin:
    @hookimpl
    def erc_extractors(self) -> Sequence[ExtractorSpec]:
        return [
            ExtractorSpec("words", Modality.TEXT, "words", _build, train=train),
            ExtractorSpec("strict", Modality.TEXT, "needs a file", _build_strict, train=train),
            ExtractorSpec(
                "lacking", Modality.TEXT, "lacks a library", _build, needs=("no_such_lib",), extra="text"
            ),
        ]

    @hookimpl
    def erc_fusions(self) -> Sequence[FusionSpec]:
        text = frozenset({Modality.TEXT})
        return [
            FusionSpec("pool", "asks for labels", _build_pool),
            FusionSpec("text-first", "needs text", _build_pool, requires=text),
        ]


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
