"""Ready features as the extractors `columns-audio` and `columns-visual`."""

from __future__ import annotations

import numpy as np
import pytest

from erc_audio_columns import build, erc_extractors
from erc_cli.errors import UsageError
from erc_cli.testing import check_extractor
from erc_cli.types import Conversation, Encoded, Modality, Status, Utterance, Wish

TALK = Conversation(tuple(Utterance(i, i + 1, "Hi", who) for i, who in enumerate("ABAB")), id="t")
ROWS = [Encoded(np.array(row, np.float32)) for row in ([1, 10], [5, 10], [3, 10])]


def test_rows_are_stacked_and_absent_ones_told() -> None:
    found = build(dim=2).gather(TALK, [ROWS[0], None, Encoded(None, Status.UNREADABLE), ROWS[1]])
    assert found.present.tolist() == [True, False, False, True]
    assert found.status == (Status.OK, Status.UNREADABLE, Status.UNREADABLE, Status.OK)
    assert found.values[found.present].tolist() == [[1, 10], [5, 10]]


def test_normalised_by_speaker_and_by_dialogue() -> None:
    rows = [ROWS[0], ROWS[1], ROWS[2], None]
    by_speaker = build(dim=2, normalise="speaker").gather(TALK, rows)
    # A says 1 and 3: mean 2, deviation 1; B's only row is its own mean; a column that never varies is 0
    assert by_speaker.values[:3].tolist() == [[-1, 0], [0, 0], [1, 0]]
    by_dialogue = build(dim=2, normalise="dialogue").gather(TALK, rows)
    np.testing.assert_allclose(by_dialogue.values[:3, 0], np.array([-2, 2, 0]) / np.std([1, 5, 3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "said"),
    [([1.0], "has 1 columns, the preset says dim 2"), ([1.0, np.nan], "Column 2 is not a finite number")],
)
def test_rows_that_do_not_fit(row: list[float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(dim=2).gather(TALK, [Encoded(np.array(row, np.float32)), None, None, None])


def test_the_contract_of_an_extractor() -> None:
    specs = erc_extractors()
    assert [(s.name, s.modality) for s in specs] == [
        ("columns-audio", Modality.AUDIO),
        ("columns-visual", Modality.VISUAL),
    ]
    for spec in specs:
        assert spec.build(dim=3).wish(TALK.utterances[0]) == Wish()
        check_extractor(spec.build(dim=3))
