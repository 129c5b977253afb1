"""A result as the page's script reads it: columns of small whole numbers, because pages are opened by hand.

Probabilities are in thousandths and contributions in thousandths of a logit, flat, row after row: 5,000
utterances with three modalities and seven labels take about 1 MB where `erc.result/1` takes 8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from erc_cli.emotion_colours import colour_of, ink_on, mark_of
from erc_cli.explain_words import LEVELS
from erc_cli.types import Explanation, Modality, Opinion, Result, Status
from erc_format_html.medium import Medium

#: statuses in words, as they stand behind "text: …", "audio: …", "visual: …"
STATUS_WORDS = {
    Status.OK: "judged",
    Status.NO_FACE: "no face visible",
    Status.NO_VIDEO: "no video",
    Status.NO_AUDIO_TRACK: "no sound track",
    Status.SILENT: "silent",
    Status.NO_TEXT: "no words",
    Status.OUTSIDE_MEDIA: "outside the recording",
    Status.UNREADABLE: "could not be read",
    Status.DROPPED: "left out",
}
_DETAILS = 6  # figures of an extractor that nobody here knows
#: inside a script element these could end it, or begin a comment; the last two end lines in old scripts
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def page_data(result: Result, medium: Medium | None) -> dict[str, Any]:
    """What the page's script needs; every list has one element, or one per label, for an utterance.

    `labels` are the `emotions` that have probabilities, and `uncertain` where that is possible; `best` is the
    most probable one, also of the utterances whose numbers are in `uncertain`.
    """
    said = result.utterances
    names = list(dict.fromkeys(one.speaker for one in said))
    places = {name: i for i, name in enumerate(names)}
    ends = [one.end for one in said]
    duration = result.media.duration if result.media else 0.0
    return {
        **label_data(result),
        "emotions": len(result.labels),
        "statuses": {status.value: words for status, words in STATUS_WORDS.items()},
        "speakers": names,
        "media": _media(medium) if medium else None,
        "span": round(max([duration, *ends, 1.0]), 3),
        "start": [round(one.start, 3) for one in said],
        "end": [round(one.end, 3) for one in said],
        "who": [places[one.speaker] for one in said],
        "text": [one.text for one in said],
        "best": [found.best for found in result.predictions],
        "uncertain": [i for i, one in enumerate(result.predictions) if one.below(result.min_confidence)],
        "p": _thousandths([found.probabilities for found in result.predictions]),
        "modalities": {str(m): _modality(result, m) for m in shown(result)},
        **_explanations(result),
    }


def _explanations(result: Result) -> dict[str, Any]:
    """`why[i]`: null, or what moved the answer: `words` and `context`, flat, in thousandths of log-odds.

    Words are three numbers: first character, the one after the last, and the change; characters count as
    in JavaScript (UTF-16). Context is two: the other utterance, and the change.
    """
    pairs = zip(result.utterances, result.predictions, strict=True)
    found = [_why(said.text, one.explanation) for said, one in pairs]
    return {"why": found, "levels": [round(1000 * level) for level in LEVELS]} if any(found) else {}


def _why(text: str, why: Explanation | None) -> dict[str, list[int]] | None:
    if why is None:
        return None
    context = [number for one in why.context for number in (one.index, round(one.change * 1000))]
    if why.words is None:
        return {"context": context}
    places = [0, *accumulate(2 if char > "\uffff" else 1 for char in text)]
    words = ((places[one.start], places[one.end], round(one.change * 1000)) for one in why.words)
    return {"context": context, "words": [number for word in words for number in word]}


def _media(medium: Medium) -> dict[str, str]:
    return {"kind": medium.kind, "name": medium.name, "type": medium.type, "src": medium.source}


def label_data(result: Result) -> dict[str, list[str]]:
    """Labels with their marks, colours, and the colour of writing on those; `uncertain` is the last."""
    labels, shown_labels = result.labels, result.shown_labels
    colours = [colour_of(label, labels) for label in shown_labels]
    return {
        "labels": list(shown_labels),
        "marks": [mark_of(label, labels) for label in shown_labels],
        "colours": colours,
        "inks": [ink_on(colour) for colour in colours],
    }


def shown(result: Result) -> list[Modality]:
    """The modalities that were not left out altogether."""
    return [
        modality
        for modality in Modality
        if any(_of(found.opinions, modality).status is not Status.DROPPED for found in result.predictions)
    ]


def as_script(data: dict[str, Any]) -> str:
    """JSON that cannot leave the script element it stands in, whatever the words are."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # half characters cannot be written as UTF-8, but as escapes they can
    return re.sub(r"[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text.translate(_ESCAPED))


def _modality(result: Result, modality: Modality) -> dict[str, Any]:
    opinions = [_of(found.opinions, modality) for found in result.predictions]
    nothing = (0.0,) * len(result.labels)
    order = list(STATUS_WORDS)
    notes = [_detail_words(one.detail) for one in opinions]
    return {
        **({"notes": notes} if any(notes) else {}),
        "status": [order.index(one.status) for one in opinions],
        "p": _thousandths([one.probabilities or nothing for one in opinions]),
        "share": [round(one.contribution * 1000) for one in opinions],
    }


def _detail_words(detail: Mapping[str, Any]) -> str:
    """What an extractor says beside its answer: faces that it found, and the like."""
    rest = {key: value for key, value in detail.items() if isinstance(value, str | int | float)}
    said = []
    frames, faces = rest.pop("frames_with_face", None), rest.pop("faces", None)
    if isinstance(frames, int) and frames:
        each = f", {faces:.1f} a frame" if isinstance(faces, float) and faces > 1 else ""
        said.append(f"a face in {frames} frame{'' if frames == 1 else 's'}{each}")
    name, sure = rest.pop("identity", None), rest.pop("identity_confidence", None)
    if isinstance(name, str) and name:
        said.append(f"taken for {name}" + (f" ({sure:.0%} sure)" if isinstance(sure, float) else ""))
    said += [f"{key.replace('_', ' ')}: {value}" for key, value in list(rest.items())[:_DETAILS]]
    return ", ".join(said)


def _of(opinions: Any, modality: Modality) -> Opinion:
    found: Opinion = opinions.get(modality, Opinion(Status.DROPPED))
    return found


def _thousandths(rows: Sequence[Sequence[float]]) -> list[int]:
    return [_thousandth(value) for row in rows for value in row]


def _thousandth(value: float) -> int:
    """A probability in thousandths, from which the page's percent are those of the terminal.

    0.9648 is 96 %; as 965 thousandths it would be 97 %.
    """
    found = round(value * 1000)
    return found - 1 if found % 10 == 5 and round(value * 100) * 10 < found else found
