"""The page: Jinja2 fills what stands still, one script block of data feeds what moves."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from erc_cli.result import NOTICE, speaker_summary
from erc_cli.textfile import tidy
from erc_cli.types import MediaInfo, Modality, Result, Status
from erc_cli.view import clock
from erc_format_html.data import STATUS_WORDS, as_script, label_data, page_data, shown
from erc_format_html.medium import Medium, medium_of

TEMPLATE = Path(__file__).parent / "template"
#: in this order in one script; each is a part of one function's body
SCRIPTS = ("base", "player", "why", "detail", "timeline", "table", "filters", "transitions", "main")
_WARNINGS = 200


def write(result: Result, path: Path, *, title: str, embed: bool) -> None:
    """Write the page to `path`; a recording that is linked is found relative to `path`'s folder.

    Raises:
        UsageError: the recording is to be embedded and cannot be.
    """
    medium = medium_of(result.media, path, embed=embed)
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
        stream.writelines(_environment().get_template("page.html").generate(context(result, medium, title)))


def context(result: Result, medium: Medium | None, title: str) -> dict[str, Any]:
    """All that the template names."""
    labels = label_data(result)
    style = (TEMPLATE / "style.css").read_text(encoding="utf-8") + _label_rules(labels)
    script = _script()
    warnings = result.warnings[:_WARNINGS]
    return {
        "title": tidy(title) or (medium.name if medium else _transcript_name(result)) or "A conversation",
        "style": Markup(style),
        "script": Markup(script),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": Markup(as_script(page_data(result, medium))),
        "medium": medium,
        "content": Markup(medium.content) if medium else "",
        "labels": [dict(zip(labels, row, strict=True)) for row in zip(*labels.values(), strict=True)],
        "modalities": [str(m) for m in shown(result)],
        "speakers": _speakers(result),
        "counts": _counts(result),
        "statuses": _statuses(result),
        "warnings": warnings,
        "more_warnings": len(result.warnings) - len(warnings),
        "subtitle": _subtitle(result),
        "facts": _facts(result),
        "least": _least(result.min_confidence),
        "notice": str(result.meta.get("notice") or NOTICE),
    }


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _script() -> str:
    parts = [(TEMPLATE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def _hash(text: str) -> str:
    """For the page's Content-Security-Policy: this text, and no other, may run (or lay out)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _label_rules(labels: Mapping[str, list[str]]) -> str:
    """A class per label. The policy forbids style attributes, and a class is shorter anyway."""
    pairs = zip(labels["colours"], labels["inks"], strict=True)
    return "".join(f".e{i} {{ --hue: {hue}; --ink: {ink}; }}\n" for i, (hue, ink) in enumerate(pairs))


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a stacked bar: `start` and `width` in percent."""

    label: int
    name: str
    count: int
    start: float
    width: float


def _shares(labels: tuple[str, ...], counts: Mapping[str, int]) -> list[Share]:
    total = sum(counts.values())
    made: list[Share] = []
    start = 0.0
    for label, count in sorted(counts.items(), key=lambda item: -item[1]):
        width = 100 * count / total
        made.append(Share(labels.index(label), label, count, round(start, 3), round(width, 3)))
        start += width
    return made


def _speakers(result: Result) -> list[dict[str, Any]]:
    """Rows of the summary; all together first where there are several."""
    rows = speaker_summary(result)
    if len(rows) > 1:
        everyone: Counter[str] = Counter()
        for row in rows:
            everyone.update(row["labels"])
        total = sum(row["utterances"] for row in rows)
        seconds = sum(row["seconds"] for row in rows)
        rows.insert(0, {"name": "everyone", "utterances": total, "seconds": seconds, "labels": everyone})
    return [
        {
            "name": row["name"] or "unknown",
            "all": i == 0 and len(rows) > 1,
            "utterances": row["utterances"],
            "time": clock(row["seconds"]),
            "shares": _shares(result.shown_labels, row["labels"]),
        }
        for i, row in enumerate(rows)
    ]


def _counts(result: Result) -> list[int]:
    """How often each label is the answer."""
    found = Counter(result.label(one) for one in result.predictions)
    return [found[label] for label in result.shown_labels]


def _statuses(result: Result) -> list[dict[str, Any]]:
    """Per modality, how many utterances it judged, and why not the others."""
    total = len(result.predictions)
    rows = []
    for modality in shown(result):
        found = Counter(
            one.opinions[modality].status if modality in one.opinions else Status.DROPPED
            for one in result.predictions
        )
        judged = found.pop(Status.OK, 0)
        face = "face found in" if modality is Modality.VISUAL else "judged"
        why = [f"{STATUS_WORDS[status]}: {count}" for status, count in found.most_common()]
        rows.append({"name": str(modality), "judged": f"{face} {judged} of {total}", "why": ", ".join(why)})
    return rows


def _subtitle(result: Result) -> str:
    """`8 utterances, 2 speakers, 0:27.5`."""
    count, names = len(result.utterances), len({one.speaker for one in result.utterances})
    parts = [f"{count:,} utterance{'' if count == 1 else 's'}"]
    if count:
        parts.append(f"{names} speaker{'' if names == 1 else 's'}")
    if result.media:
        parts.append(clock(result.media.duration))
    return " · ".join(parts)


def _facts(result: Result) -> list[tuple[str, str]]:
    """What was looked at, by which model, when: names and values for the foot of the page."""
    meta, media = result.meta, result.media
    plugins = meta.get("plugins")
    branches = plugins.items() if isinstance(plugins, Mapping) else ()
    dropped, settings = meta.get("dropped"), meta.get("settings")
    facts = [
        ("recording", _recording(media)),
        ("SHA-256", media.sha256 if media else ""),
        ("transcript", _transcript(result)),
        ("preset", str(meta.get("preset") or "")),
        ("model", ", ".join(f"{name}: {what}" for name, what in branches)),
        ("left out", ", ".join(map(str, dropped)) if isinstance(dropped, list) else ""),
        ("settings", ", ".join(map(str, settings)) if isinstance(settings, list) else ""),
        ("uncertain", _least(result.min_confidence)),
        ("voice or face looked at", ("yes" if meta["biometric"] else "no") if "biometric" in meta else ""),
        ("device", str(meta.get("device") or "")),
        ("made", _moment(str(meta.get("created") or ""))),
        ("with", f"erc {meta['erc']}" if meta.get("erc") else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _least(least: float) -> str:
    return f"where no emotion has a probability of at least {100 * least:g} %" if least else ""


def _recording(media: MediaInfo | None) -> str:
    if media is None:
        return "none"
    what = " and ".join(name for name, there in (("video", media.video), ("sound", media.audio)) if there)
    return f"{_plain(media.path)} ({what}, {clock(media.duration)})"


def _transcript(result: Result) -> str:
    path = result.transcript.path
    return f"{_plain(path)} ({result.transcript.format})" if path else result.transcript.format


def _transcript_name(result: Result) -> str:
    path = result.transcript.path
    return _plain(Path(path.name)) if path else ""


def _plain(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", errors="replace")


def _moment(created: str) -> str:
    """ISO 8601 as people write it; as it is where it is something else."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()
