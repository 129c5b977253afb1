"""Rows as soon as they are settled: the same answers as of the whole, in order, as early as can be."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batchkit import needs_parselmouth, sound, tiny_preset
from conftest import needs

from erc_cli.errors import ErcError
from erc_cli.fakes import FakeExtractor, FakeFusion
from erc_cli.learning import Progress
from erc_cli.live import PIECE, Settled, reach_of, settle, whole_readers
from erc_cli.media import probe
from erc_cli.pipeline import Model, extract, fuse
from erc_cli.testing import talk
from erc_cli.types import (
    Clip,
    Conversation,
    Encoded,
    Features,
    Modality,
    Notice,
    Prediction,
    Status,
    Utterance,
)

needs("text", "transformers", "tokenizers")

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
LABELS = ("a", "b", "c")


class Neighbours(FakeExtractor):
    """Reads two utterances before and one after; counts what it gathers."""

    def __init__(self, modality: Modality = TEXT) -> None:
        super().__init__(modality)
        object.__setattr__(self, "gathered", [])

    __slots__ = ("gathered",)

    @property
    def reach(self) -> tuple[int, int]:
        return 2, 1

    def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
        self.gathered.append(len(rows))
        plain = super().gather(conversation, rows)
        one = np.pad(plain.values[:, 0], (2, 1))
        summed = sum(one[i : i + len(rows)] for i in range(4))
        values = np.stack([summed, np.ones(len(rows))], axis=1).astype(np.float32)
        return Features(values, plain.present, plain.status, tuple({"row": float(v)} for v in summed))


class Smooth(FakeFusion):
    """Means over the utterance, the one before and the two after."""

    __slots__ = ()

    @property
    def reach(self) -> tuple[int, int]:
        return 1, 2

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> np.ndarray:
        plain = super().predict(conversation, features)
        count = len(plain)
        return np.stack([plain[max(i - 1, 0) : min(i + 3, count)].mean(axis=0) for i in range(count)])


class Silent(FakeFusion):
    """Says nothing of its reach."""

    __slots__ = ()
    reach = None


def model(*extractors: FakeExtractor, fusion: FakeFusion | None = None) -> Model:
    return Model(LABELS, {e.modality: e for e in extractors}, fusion or FakeFusion(len(LABELS)))


def whole(made: Model, conversation: Conversation, media: Any = None) -> tuple[Prediction, ...]:
    return fuse(made, conversation, extract(made.extractors, conversation, media))


def joined(pieces: list[Settled]) -> tuple[Prediction, ...]:
    """All answers; none is missing, twice, or out of order."""
    said: list[Prediction] = []
    for piece in pieces:
        assert piece.first == len(said)
        said += piece.predictions
    return tuple(said)


def same(one: Sequence[Prediction], other: Sequence[Prediction]) -> None:
    """Within 1e-6: float32 adds up in another order when other rows stand beside one."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-6)
        assert set(a.opinions) == set(b.opinions)
        for modality, said in a.opinions.items():
            there = b.opinions[modality]
            assert (said.status, said.detail) == (there.status, there.detail)
            assert said.probabilities == pytest.approx(there.probabilities, abs=1e-6)
            assert said.contribution == pytest.approx(there.contribution, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
@pytest.mark.parametrize("fusion", [FakeFusion(3), Smooth(3)])
def test_pieces_are_the_whole(count: int, fusion: FakeFusion) -> None:
    made = model(Neighbours(), fusion=fusion)
    same(joined(list(settle(made, talk(count), None))), whole(made, talk(count)))


def test_rows_with_media_are_the_whole(root: Path) -> None:
    media = probe(root / "examples" / "conversation.mp4")
    conversation = Conversation(
        (
            Utterance(0.0, 9.0, "a long one, over the others"),
            Utterance(0.5, 1.0, "short"),
            Utterance(4.0, 6.0, ""),
            Utterance(7.0, 7.0, "without length"),
            Utterance(10.0, 12.0, "late"),
            Utterance(900.0, 901.0, "after the end"),
        )
    )
    made = model(Neighbours(), FakeExtractor(AUDIO), FakeExtractor(VISUAL), fusion=Smooth(3))
    same(joined(list(settle(made, conversation, media))), whole(made, conversation, media))
    alone = model(Neighbours(AUDIO), FakeExtractor(VISUAL))
    same(joined(list(settle(alone, conversation, media))), whole(alone, conversation, media))


class Noted(FakeExtractor):
    """Notes when it hears a clip."""

    __slots__ = ("notes",)

    def __init__(self, notes: list[str]) -> None:
        super().__init__(AUDIO)
        object.__setattr__(self, "notes", notes)

    def encode(self, clip: Clip) -> Encoded:
        self.notes.append("heard")
        return super().encode(clip)


def test_an_answer_comes_before_the_rest_is_heard(root: Path) -> None:
    """In time: after the clips that it needs, not after all."""
    media = probe(root / "examples" / "conversation.mp4")
    conversation = Conversation(tuple(Utterance(2.0 * i, 2.0 * i + 1.5, "x" * i) for i in range(12)))
    notes: list[str] = []
    for piece in settle(model(Neighbours(), Noted(notes)), conversation, media):
        notes += ["said"] * len(piece.predictions)
    assert notes == ["heard", "said"] * 12
    notes.clear()
    for piece in settle(model(Noted(notes), fusion=Smooth(3)), conversation, media):
        notes += ["said"] * len(piece.predictions)
    assert notes == ["heard"] * 2 + ["heard", "said"] * 10 + ["said"] * 2


def test_where_a_part_reads_the_whole_all_comes_at_the_end() -> None:
    made = model(Neighbours(), fusion=Silent(3))
    assert whole_readers(made) == ["fusion"]
    (piece,) = settle(made, talk(3 * PIECE), None)
    assert piece.predictions == whole(made, talk(3 * PIECE))
    assert reach_of(object()) is None
    assert whole_readers(model(Neighbours())) == []


def test_every_text_is_read_about_once_and_the_cost_grows_with_the_length() -> None:
    for count in (PIECE, 10 * PIECE, 20 * PIECE):
        text = Neighbours()
        list(settle(model(text), talk(count), None))
        assert sum(text.gathered) <= count * (1 + 3 / PIECE)
        assert max(text.gathered) <= PIECE + 3


def test_what_fails_in_one_piece_is_told_and_the_others_go_on() -> None:
    class Falls(FakeExtractor):
        __slots__ = ()

        def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
            if any("x" in u.text for u in conversation.utterances):
                raise RuntimeError("fell over")
            return super().gather(conversation, rows)

    said = [Utterance(i, i + 1, "word" if i < PIECE else "x") for i in range(2 * PIECE)]
    notices: list[Notice] = []
    made = model(Falls(), FakeExtractor(AUDIO))
    answers = joined(list(settle(made, Conversation(tuple(said)), None, warn=notices.append)))
    assert [answers[i].opinions[TEXT].status for i in (0, PIECE)] == [Status.OK, Status.UNREADABLE]
    assert [n.message for n in notices] == ["text is left out (RuntimeError: fell over)"]
    with pytest.raises(ErcError, match="Every modality failed"):
        list(settle(model(Falls()), Conversation(tuple(said)), None))


def test_memory_stays_flat() -> None:
    """Rows of features are forgotten: 50 pieces of wide rows need no more room than a few."""

    class Wide(FakeExtractor):
        __slots__ = ()

        def gather(self, conversation: Conversation, rows: Sequence[Encoded | None]) -> Features:
            plain = super().gather(conversation, rows)
            return Features(np.pad(plain.values, ((0, 0), (0, 4000))), plain.present, plain.status)

    def peak(pieces: int) -> int:
        tracemalloc.start()
        for _ in settle(model(Wide()), talk(pieces * PIECE), None):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    rows = 4000 * 4 * PIECE
    assert peak(50) - peak(5) < 3 * rows  # all rows of 45 more pieces would be 45 times that


# --- our own plugins say the truth -----------------------------------------------------------


def test_text_branches_state_their_window(tiny_bert: Path, tmp_path: Path) -> None:
    from erc_cli.prediction import Wanted, choose, load
    from erc_cli.registry import load_registry

    preset = tiny_preset(tmp_path, tiny_bert, past=3)
    registry = load_registry()
    loaded = load(choose(Wanted(str(preset), device="cpu"), registry), registry)
    assert reach_of(loaded.model.extractors[TEXT]) == (3, 1)
    assert reach_of(loaded.model.fusion) == (0, 0)
    conversation = talk(3 * PIECE + 7)
    same(joined(list(settle(loaded.model, conversation, None))), whole(loaded.model, conversation))


@pytest.mark.parametrize("row", [0, 1, 5, 39, 40])
def test_a_text_beyond_the_reach_changes_nothing(tiny_bert: Path, tmp_path: Path, row: int) -> None:
    from erc_cli.preset import Use, build_extractor
    from erc_cli.registry import load_registry

    tiny_preset(tmp_path, tiny_bert)
    options = {"weights": "text.safetensors", "tokenizer": "tokenizer.json", "past": 2, "future": 1}
    text: Any = build_extractor(Use("minilm", {**options, "max_tokens": 32}, tmp_path), load_registry())
    said = list(talk(41).utterances)
    before, after = text.reach
    others = [i for i in range(41) if not row - before <= i <= row + after]
    changed = [replace(u, text="get out") if i in others else u for i, u in enumerate(said)]
    one, other = (
        text.gather(Conversation(tuple(which)), [None] * 41).values[row] for which in (said, changed)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_audio_and_faces_state_whether_they_normalise() -> None:
    from erc_audio_prosody.context import REACH
    from erc_audio_prosody.extractor import ProsodyExtractor
    from erc_cli.hearing import SoundExtractor

    options = {"max_seconds": 30.0, "silence_db": -60.0, "log": True}
    assert reach_of(ProsodyExtractor(**options, context=False)) == (0, 0)
    assert reach_of(ProsodyExtractor(**options, context=True)) == REACH
    net: Any = None
    assert reach_of(SoundExtractor(net)) == (0, 0)
    assert reach_of(SoundExtractor(net, normalise="speaker")) is None


def default_on_the_example(root: Path) -> tuple[Any, Any]:
    """The preset `default` and its recording."""
    from erc_cli.prediction import Wanted, choose, load
    from erc_cli.recording import open_recording
    from erc_cli.registry import load_registry

    registry = load_registry()
    loaded = load(choose(Wanted("default", device="cpu"), registry), registry)
    example = root / "examples" / "conversation.mp4"
    return loaded, open_recording(example, example.with_suffix(".srt"), registry)


def test_the_default_answers_while_the_recording_is_read(root: Path) -> None:
    """A row is there soon after the next utterance was read, which its words and prosody look at."""
    needs_parselmouth()
    loaded, recording = default_on_the_example(root)
    assert whole_readers(loaded.model) == []
    said = recording.conversation.utterances
    read = [0.0]  # seconds of the recording
    told: list[float] = []

    def report(step: Progress) -> None:
        if step.stage == "media":
            read.append(max(read[-1], float(step.done)))

    def rows(first: int, predictions: Sequence[Prediction]) -> None:
        assert first == len(told)
        told.extend(read[-1] for _ in predictions)

    live = loaded.answer_live(recording, rows, report)
    assert len(told) == len(said) == 8
    for now, after in zip(told, said[1:], strict=False):
        assert now <= after.end + 1.5
    same(live.predictions, loaded.answer(recording).predictions)


class Differences(FakeFusion):
    """Reads the last features: prosody's figures beside what was heard before, and of the neighbours."""

    __slots__ = ()

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> np.ndarray:
        if AUDIO not in features:
            return super().predict(conversation, features)
        sums = features[AUDIO].values[:, 8:].reshape(-1, self.classes, 8).sum(axis=2)
        said: np.ndarray = np.exp(np.tanh(sums))
        return said / said.sum(axis=1, keepdims=True)


def test_prosody_as_it_is_heard_is_that_of_the_whole(tmp_path: Path) -> None:
    """Beyond what it remembers, too, and with its wishes granted one by one."""
    needs_parselmouth()
    from erc_audio_prosody.context import MEMORY
    from erc_audio_prosody.extractor import ProsodyExtractor

    count = MEMORY + 40
    media = probe(sound(tmp_path / "talk.wav", seconds=0.3 * count))
    said = [Utterance(0.3 * i, 0.3 * i + 0.25 * (i % 9 != 4), "", "AB"[i * i % 3 // 2]) for i in range(count)]
    extractor = ProsodyExtractor(max_seconds=30.0, silence_db=-60.0, log=True, context=True)
    made = Model(LABELS, {AUDIO: extractor}, Differences(len(LABELS)))
    pieces = list(settle(made, Conversation(tuple(said)), media))
    assert len(pieces) > count / 2
    together = whole(made, Conversation(tuple(said)), media)
    assert {one.opinions[AUDIO].status for one in together} == {Status.OK, Status.SILENT}
    same(joined(pieces), together)
