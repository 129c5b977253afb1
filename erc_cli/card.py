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
from erc_cli.report_tables import mean_std, p_value

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
        data = document["data"]
        size = ", ".join(f"{data[k]} {k}" for k in ("dialogues", "utterances", "pictures") if k in data)
        seeds = document["seeds"]
        yield f"\n## {data['name']}, {data['split']} split\n"
        count = "one seed" if len(seeds) == 1 else f"mean ± deviation of {len(seeds)} seeds"
        yield f"{size}; {count}, chosen on {document['selected_on']}. In brackets: 95 % interval over"
        yield "dialogues (over pictures where there are no dialogues).\n"
        yield "| system | weighted F1 | accuracy | macro F1 | ECE |\n|---|---|---|---|---|"
        for name, system in document["systems"].items():
            cells = [_interval(system[key]) for key in ("weighted_f1", "accuracy", "macro_f1")]
            yield f"| {name} | {' | '.join(cells)} | {_ece(system)} |"
        for name, figure in document.get("differences", {}).items():
            low, high = figure["ci95"]
            interval = f"paired interval {low:+.2f} to {high:+.2f}"
            p = f", p {p_value(figure['p_holm'])} after Holm" if "p_holm" in figure else ""
            yield f"\nWeighted F1, {name}: {figure['weighted_f1']:+.2f} ({interval}{p})."
        yield from _classes(document)


def _interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["ci95"]
    return f"{mean_std(figure)} [{low:.2f}, {high:.2f}]"


def _classes(document: Mapping[str, Any]) -> Iterator[str]:
    systems = document["systems"]
    if not systems:
        return
    labels = list(next(iter(systems.values()))["per_class"])
    yield "\nF1 per class:\n"
    yield f"| system | {' | '.join(labels)} |\n|---|{'---|' * len(labels)}"
    for name, system in systems.items():
        yield f"| {name} | {' | '.join(format(system['per_class'][k]['f1'], '.1f') for k in labels)} |"
    rows = next(iter(systems.values()))["per_class"]
    yield f"| *support* | {' | '.join(str(rows[k]['support']) for k in labels)} |"


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


def _ece(system: Mapping[str, Any]) -> str:
    """In the data; and where a head speaks relative to another prior, in the population of that one."""
    own = system.get("ece_at_prior")
    return f"{system['ece']:.3f}" + ("" if own is None else f" ({own:.3f} at its prior)")
