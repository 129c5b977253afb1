"""`card.md` of a trained preset: what it is, what it learnt from, how good it is, where it is weak.

Every figure comes from the records beside it: `training.json` (dev) and `metrics.json` (test).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from erc_cli.contamination import KEY
from erc_cli.files import atomic_write, read_json
from erc_cli.report_tables import evaluation_tables
from erc_cli.reports import markdown

FILE = "card.md"
METRICS = "metrics.json"


def write_card(folder: Path, document: Mapping[str, Any], *, made: Path | None = None) -> None:
    """Write the card of the preset in `folder`; `document` is its `preset.yaml`.

    `made`: where its weights and `training.json` are, if not there; for a run of several seeds, the
    first of them.
    """
    home = made or folder
    training = _read(home / "training.json")
    metrics = _read(folder / METRICS)
    text = "\n".join(_lines(home, document, training, metrics)).rstrip() + "\n"
    with atomic_write(folder / FILE, force=True) as path:
        path.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _lines(
    folder: Path, document: Mapping[str, Any], training: Mapping[str, Any], metrics: Mapping[str, Any]
) -> Iterator[str]:
    meta = document.get("meta", {})
    yield f"# {training.get('config', {}).get('preset', folder.name)}"
    yield f"\n{document['summary']}\n"
    yield "| part | plugin | made from |\n|---|---|---|"
    parts = {**document["extractors"], "fusion": document["fusion"]}
    for name, part in parts.items():
        yield f"| {name} | `{part['use']}` | {meta.get('sources', {}).get(name, '')} |"
    yield f"\nLabels: {', '.join(document['labels'])}."
    yield from _contaminated(training, metrics)
    for title, key in (("Use", "use"), ("Limits", "limits"), ("Terms", "terms")):
        if key in meta:
            yield f"\n## {title}\n"
            yield from _list(meta[key])
    yield from _test_figures(metrics)
    yield from _making(folder, training, meta)


def _contaminated(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    """What its encoders learnt before, where that is data which it may be scored on."""
    found = [training, *metrics.get("evaluations", [])]
    marks = {mark["encoder"]: mark for document in found for mark in document.get(KEY, [])}
    if marks:
        yield "\n## Contaminated\n"
    for mark in marks.values():
        told = "; ".join(filter(None, (mark.get("known"), mark.get("source"))))
        yield f"- `{mark['encoder']}` learnt from {', '.join(mark['data'])} ({told})."


def _list(content: str | list[str]) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    else:
        yield from (f"- {line}" for line in content)


def _test_figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    for document in metrics.get("evaluations", []):
        data, seeds = document["data"], len(document["seeds"])
        count = "One seed" if seeds == 1 else f"Mean ± deviation of {seeds} seeds"
        yield f"\n## {data['name']}, {data['split']} split\n"
        yield f"{count}, chosen on {document['selected_on']}. 95 %: interval over dialogues (over pictures"
        yield "where there are no dialogues).\n"
        if document["systems"]:
            yield from (markdown(table) for table in evaluation_tables(document))


def _making(folder: Path, training: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## How it was made\n"
    if "command" in meta:
        yield f"```sh\n{meta['command'].strip()}\n```\n"
    for name, splits in training.get("data", {}).items():
        for split, facts in splits.items():
            size = ", ".join(f"{v} {k}" for k, v in facts.items() if k != "sha256")
            yield f"- {name} {split}: {size}; SHA-256 `{facts['sha256'][:16]}…`"
    yield "\nFigures on the dev split, from training:\n"
    for stage, done in training.get("stages", {}).items():
        yield f"- {stage}: `{json.dumps(done['metrics'].get('dev', {}))}`"
    found = ", ".join(f"{k} {v}" for k, v in training.get("versions", {}).items())
    yield f"\nSeed {training.get('config', {}).get('seed', 0)}; {found}."
    sizes = {p.name: p.stat().st_size / 1e6 for p in sorted(folder.glob("*.safetensors"))}
    yield "\nSizes: " + ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items()) + "."
