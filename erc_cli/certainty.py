"""`--min-confidence`: from which probability on an answer is given a label, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from erc_cli.errors import UsageError
from erc_cli.types import UNCERTAIN, Prediction, Result


def checked(least: float, labels: Sequence[str] = ()) -> float:
    """The least confidence of a label, where results over `labels` can have it.

    Raises:
        UsageError: it is no probability, or `uncertain` is one of the labels and would mean two things.
    """
    if isinstance(least, bool) or not isinstance(least, Real) or not 0 <= least <= 1:
        raise UsageError(
            f"The least confidence is a probability from 0 to 1, and not {least!r}.",
            hint="For 60 %: --min-confidence 0.6 (in Python: min_confidence=0.6)",
        )
    for label in labels if least else ():
        if label.strip().casefold() == UNCERTAIN:
            raise UsageError(
                f"{label!r} is an emotion of this preset, and cannot also say that none is probable enough.",
                hint="Leave out --min-confidence, or give the label another name in the preset.",
            )
    return float(least)


def shown(prediction: Prediction, labels: Sequence[str], least: float = 0.0) -> str:
    """`joy 61%`, or `uncertain`: a share beside that word would be read as how uncertain it is."""
    label = prediction.label(labels, least)
    return label if prediction.below(least) else f"{label} {prediction.confidence:.0%}"


def count_of(result: Result) -> int:
    """How many utterances are `uncertain`."""
    return sum(found.below(result.min_confidence) for found in result.predictions)


def told(count: int, total: int, least: float) -> str:
    """One line on `count` uncertain utterances of `total`; empty where there are none."""
    if not count:
        return ""
    verb = "is" if count == 1 else "are"
    said = f"{count} of {total} utterance{'' if total == 1 else 's'} {verb} {UNCERTAIN}"
    return f"{said}: no emotion has a probability of {least:g} or more (--min-confidence)."
