"""Times as files write them: seconds, milliseconds, or hours, minutes and seconds.

One number says nothing about its unit, so the unit is decided for a whole file (`unit_of`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from statistics import median

from erc_cli.types import Notice

MILLISECOND = 0.001
#: nobody speaks for minutes in every utterance: longer typical ones are milliseconds
LONG_WHOLE, LONG_BROKEN = 150, 1000
_TIME = re.compile(
    r"(?P<sign>-)?(?:(?:(?P<h>\d{1,6})\s*:\s*)?(?P<m>\d{1,6})\s*:\s*)?(?P<s>\d{1,9})(?:\s*[.,]\s*(?P<f>\d{1,12}))?"
)
_NUMBER = re.compile(r"[0-9]{1,12}([.,][0-9]{1,12})?")
_UNITS = (
    (re.compile(r"(?:^|[\W_])(?:ms|msecs?|milliseconds?|millis)\W*$"), MILLISECOND),
    (re.compile(r"(?:^|[\W_])(?:s|secs?|seconds?|ss\.msec)\W*$"), 1.0),
)


def parse_time(value: object) -> float | None:
    """Seconds of a number, or of `[[hh:]mm:]ss[.,]fff`; None where it is no time.

    Minutes and seconds may exceed 59, and any part may have one digit.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if -1e9 < value < 1e9 else None
    if not isinstance(value, str):
        return None
    match = _TIME.fullmatch(value.strip())
    if match is None:
        return None
    seconds = int(match["h"] or 0) * 3600 + int(match["m"] or 0) * 60 + int(match["s"])
    total = seconds + float(f"0.{match['f'] or 0}")
    return -total if match["sign"] else total


def unit_of(spans: Iterable[tuple[object, object]], notices: list[Notice], *names: str) -> float:
    """Seconds in the unit of a file's times: 1 or 0.001; a guess is told in `notices`.

    `spans`: start and end of each row, as numbers or text. `names`: what the file calls the two
    columns; `start_ms` and `Begin Time - msec` say the unit, and then nothing is guessed. Else the
    times are milliseconds where all are plain numbers and a typical span would last for minutes.
    """
    lengths: list[float] = []
    whole = True
    for pair in spans:
        texts = [str(value).strip() for value in pair]
        if any(value is None or text == "" for value, text in zip(pair, texts, strict=True)):
            continue
        if not all(_NUMBER.fullmatch(text) for text in texts):
            return 1.0
        start, end = (float(text.replace(",", ".")) for text in texts)
        whole = whole and start.is_integer() and end.is_integer()
        lengths.append(end - start)
    said = {unit for name in names for pattern, unit in _UNITS if pattern.search(name.casefold())}
    if len(said) == 1:
        return said.pop()
    if not lengths or median(lengths) < (LONG_WHOLE if whole else LONG_BROKEN):
        return 1.0
    what = "whole numbers this large" if whole else "numbers this large"
    notices.append(Notice("times_in_ms", f"Times are {what}: they were read as milliseconds."))
    return MILLISECOND
