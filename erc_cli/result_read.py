"""A saved `erc.result/1` (docs/result.schema.json) back into a `Result`, checked on the way.

Keys that a newer version added are passed over; what is missing or of another type is named with
its place, so that a file that was edited by hand can be mended.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from erc_cli.errors import UsageError
from erc_cli.result import LEAST, SCHEMA
from erc_cli.types import (
    UNCERTAIN,
    ContextChange,
    Explanation,
    MediaInfo,
    Modality,
    Notice,
    Opinion,
    Prediction,
    Result,
    Status,
    Transcript,
    Utterance,
    WordChange,
)

_HINT = "Make one: erc predict video.mp4 --transcript video.srt -o result.json"
_MIND = "Was it changed by hand? Mend it, or make it anew with erc predict -o FILE.json"
_TOLERANCE = 1e-3  # of a sum of probabilities: files by others are often rounded
_OPINION = frozenset({"status", "label", "probabilities", "contribution", "detail"})
_LARGEST = 1e12
_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object", bool: "true or false"}


class _WrongError(Exception):
    """Something at a place in the document is not as the schema says."""


def read_result(path: Path) -> Result:
    """The result in a file that `erc predict -o FILE.json` wrote.

    Raises:
        UsageError: no such file, no JSON, JSON of another kind, or a damaged result.
    """
    return result_from(_load(path), str(path))


def result_from(document: object, where: str) -> Result:
    """The result in a document that is already parsed; `where` names it in errors.

    Raises:
        UsageError: a document of another kind, or one that breaks the schema.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(f"{where} is no result: {_what(document)}.", hint=_HINT)
    try:
        return _result(document)
    except _WrongError as error:
        raise UsageError(f"{where} is a damaged result: {error}.", hint=_MIND) from None


def _load(path: Path) -> object:
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a result.", hint=_HINT)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint=_HINT) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no result: it is not a text file.", hint=_HINT) from None
    if not text.strip():
        raise UsageError(f"{path} is empty.", hint=_HINT)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = f"it is not JSON ({error.msg}, line {error.lineno})"
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            what = "it has one JSON object per line; the report needs the whole document (.json)"
        raise UsageError(f"{path} is no result: {what}.", hint=_HINT) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no result: {error}.", hint=_HINT) from None


def _what(document: object) -> str:
    """What a document is that is no result."""
    if not isinstance(document, dict):
        return f"the JSON holds {'a list' if isinstance(document, list) else 'no object'}"
    schema = document.get("schema")
    if isinstance(schema, str) and schema.startswith("erc.result/"):
        return f"it is {schema[:40]}, and this version of erc reads {SCHEMA}"
    if isinstance(schema, str) and schema.startswith("erc."):
        return f"it is {schema[:40]}, of another command"
    keys = ", ".join(map(repr, list(document)[:5])) or "no keys"
    return f"it has no schema {SCHEMA} (but {keys[:120]})"


def _result(document: Mapping[str, Any]) -> Result:
    labels = tuple(_text(label, f"labels[{i}]") for i, label in enumerate(_list(document, "labels")))
    if not labels or len(set(labels)) != len(labels):
        raise _WrongError("labels must be some, each once")
    rows = _list(document, "utterances")
    pairs = [_row(row, labels, f"utterances[{i}]") for i, row in enumerate(rows)]
    utterances = tuple(said for said, _ in pairs)
    for i, (_, found) in enumerate(pairs):
        if found.explanation and any(one.index >= len(pairs) for one in found.explanation.context):
            raise _WrongError(f"utterances[{i}].explanation.context names an utterance that is not there")
    script, meta = _map(document, "transcript"), _map(document, "meta")
    path = script.get("path")
    return Result(
        labels=labels,
        utterances=utterances,
        predictions=tuple(found for _, found in pairs),
        media=_media(document.get("media")),
        transcript=Transcript(
            utterances,
            _text(script.get("format"), "transcript.format"),
            path=None if path is None else Path(_text(path, "transcript.path")),
        ),
        warnings=tuple(_notice(one, f"warnings[{i}]") for i, one in enumerate(_list(document, "warnings"))),
        meta={key: value for key, value in meta.items() if key != LEAST},
        min_confidence=_least(meta, labels),
    )


def _least(meta: Mapping[str, Any], labels: Sequence[str]) -> float:
    """From which probability on an answer had a label; 0 where all had."""
    if meta.get(LEAST) is None:
        return 0.0
    least = _number(meta[LEAST], f"meta.{LEAST}")
    if not 0 <= least <= 1:
        raise _WrongError(f"meta.{LEAST} is {least:g}, expected a probability from 0 to 1")
    if least and UNCERTAIN in labels:
        raise _WrongError(f"labels has {UNCERTAIN!r}, which meta.{LEAST} gives another meaning")
    return least


def _row(row: object, labels: Sequence[str], at: str) -> tuple[Utterance, Prediction]:
    one = _is(row, dict, at)
    speaker = one.get("speaker")
    said = Utterance(
        _number(one.get("start"), f"{at}.start"),
        _number(one.get("end"), f"{at}.end"),
        _text(one.get("text"), f"{at}.text"),
        None if speaker is None else _text(speaker, f"{at}.speaker"),
    )
    if said.end < said.start:
        raise _WrongError(f"{at} ends before it begins")
    opinions = {}
    for name, value in _map(one, "modalities", at).items():
        if name not in tuple(Modality):
            raise _WrongError(f"{at}.modalities has {name[:40]!r}; there are {', '.join(Modality)}")
        opinions[Modality(name)] = _opinion(value, labels, f"{at}.modalities.{name}")
    why = _explanation(one.get("explanation"), said.text, f"{at}.explanation")
    return said, Prediction(_shares(one, labels, at), opinions, why)


def _explanation(value: object, text: str, at: str) -> Explanation | None:
    if value is None:
        return None
    one = _is(value, dict, at)
    places = [_is(each, dict, f"{at}.context") for each in _list(one, "context", at)]
    context = tuple(
        ContextChange(_count(each, "index", at), _number(each.get("change"), f"{at}.change"))
        for each in places
    )
    if one.get("words") is None:
        return Explanation(context)
    words = [_is(each, dict, f"{at}.words") for each in _list(one, "words", at)]
    found = tuple(
        WordChange(
            _text(each.get("text"), f"{at}.words.text"),
            _count(each, "start", at),
            _count(each, "end", at),
            _number(each.get("change"), f"{at}.words.change"),
        )
        for each in words
    )
    if any(not each.start < each.end <= len(text) for each in found):
        raise _WrongError(f"{at}.words has one outside the text")
    return Explanation(context, found, _text(one.get("method", "occlusion"), f"{at}.method"))


def _count(one: Mapping[str, Any], key: str, at: str) -> int:
    value = one.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _WrongError(f"{at}: {key} is {value!r:.40}, expected a whole number from 0")
    return value


def _opinion(value: object, labels: Sequence[str], at: str) -> Opinion:
    one = _is(value, dict, at)
    status = _text(one.get("status"), f"{at}.status")
    if status not in tuple(Status):
        raise _WrongError(f"{at}.status is {status[:40]!r}; there are {', '.join(Status)}")
    if Status(status) is not Status.OK:
        return Opinion(Status(status), detail=_detail(one))
    contribution = _number(one.get("contribution"), f"{at}.contribution")
    return Opinion(Status.OK, _shares(one, labels, at), contribution, _detail(one))


def _detail(one: Mapping[str, Any]) -> dict[str, Any]:
    """What else an extractor said, wherever it stands."""
    inner = one.get("detail")
    beside = {key: value for key, value in one.items() if key not in _OPINION}
    return {**beside, **(inner if isinstance(inner, dict) else {})}


def _shares(one: Mapping[str, Any], labels: Sequence[str], at: str) -> tuple[float, ...]:
    """Probabilities in the order of the labels."""
    given = _map(one, "probabilities", at)
    at = f"{at}.probabilities" if at else "probabilities"
    unknown = [name for name in given if name not in labels]
    if unknown:
        raise _WrongError(f"{at} has {unknown[0][:40]!r}, which is none of the labels")
    values = tuple(_number(given.get(label), f"{at}.{label}") for label in labels)
    if min(values) < 0 or abs(math.fsum(values) - 1) > _TOLERANCE:
        raise _WrongError(f"{at} are no shares of one (their sum is {math.fsum(values):.4g})")
    return values


def _media(value: object) -> MediaInfo | None:
    if value is None:
        return None
    one = _is(value, dict, "media")
    return MediaInfo(
        path=Path(_text(one.get("path"), "media.path")),
        sha256=_text(one.get("sha256"), "media.sha256"),
        duration=_number(one.get("duration"), "media.duration"),
        video=_is(one.get("video"), bool, "media.video"),
        audio=_is(one.get("audio"), bool, "media.audio"),
    )


def _notice(value: object, at: str) -> Notice:
    one = _is(value, dict, at)
    line = one.get("line")
    whole = isinstance(line, int) and not isinstance(line, bool)
    return Notice(
        _text(one.get("code"), f"{at}.code"),
        _text(one.get("message"), f"{at}.message"),
        line if whole else None,
    )


def _is(value: object, kind: type, at: str) -> Any:
    if not isinstance(value, kind):
        found = "is missing" if value is None else f"is {type(value).__name__}"
        raise _WrongError(f"{at} {found}, expected {_KINDS[kind]}")
    return value


def _text(value: object, at: str) -> str:
    text: str = _is(value, str, at)
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)  # half a character cannot be written again


def _list(document: Mapping[str, Any], key: str, at: str = "") -> list[Any]:
    made: list[Any] = _is(document.get(key), list, f"{at}.{key}" if at else key)
    return made


def _map(document: Mapping[str, Any], key: str, at: str = "") -> dict[str, Any]:
    made: dict[str, Any] = _is(document.get(key), dict, f"{at}.{key}" if at else key)
    return made


def _number(value: object, at: str) -> float:
    # NaN is not below the largest either
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise _WrongError(f"{at} {'is missing' if value is None else f'is {value!r:.40}'}, expected a number")
    return float(value)
