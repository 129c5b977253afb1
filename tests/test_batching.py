"""Clips that are encoded several at once: same rows, bounded memory, nobody's failure is another's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from audiokit import FILM, write_table

from erc_cli import batching
from erc_cli.batching import EncodesMany, Queue
from erc_cli.dataset import open_datasets
from erc_cli.extraction import branches_of, rows_of
from erc_cli.fakes import FakeExtractor, FakePlugin
from erc_cli.features import Store
from erc_cli.media import probe
from erc_cli.pipeline import extract
from erc_cli.preset import Use
from erc_cli.registry import Registry
from erc_cli.types import Clip, Conversation, Encoded, Modality, Notice, Status, Utterance

RATE = 16_000


class Many(FakeExtractor):
    """Encodes many, notes how many, and dislikes sounds of one length."""

    batches: list[int]
    bad: int = -1

    def encode(self, clip: Clip) -> Encoded:
        if clip.sound is not None and len(clip.sound) == self.bad:
            raise ValueError("it never liked this one")
        return super().encode(clip)

    def encode_many(self, clips: Sequence[Clip]) -> list[Encoded]:
        self.batches.append(len(clips))
        return [self.encode(clip) for clip in clips]


def many(bad: int = -1) -> Many:
    made = Many(Modality.AUDIO)
    object.__setattr__(made, "batches", [])
    object.__setattr__(made, "bad", bad)
    return made


class Rows:
    """An owner of rows, for the queue alone."""

    def __init__(self, extractor: FakeExtractor, count: int) -> None:
        self.rows: list[Encoded | None] = [None] * count
        self.extractor, self.alone = extractor, 0

    def encode_one(self, index: int, clip: Clip) -> None:
        self.alone += 1
        self.rows[index] = self.extractor.encode(clip)


def clip(seconds: float) -> Clip:
    return Clip(np.ones(round(seconds * RATE), np.float32))


def test_an_extractor_without_the_method_never_waits() -> None:
    plain = FakeExtractor(Modality.AUDIO)
    assert not isinstance(plain, EncodesMany)
    owner, queue = Rows(plain, 2), Queue(plain)
    queue.add(owner, 1, clip(1))
    assert owner.rows[0] is None
    assert owner.rows[1] is not None
    assert not queue.holds(owner)


def test_clips_wait_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = many()
    owner, other = Rows(extractor, 5), Rows(extractor, 1)
    queue = Queue(extractor, most=3)
    for i in range(5):
        queue.add(owner, i, clip(i + 1))
    assert [row is None for row in owner.rows] == [False] * 3 + [True] * 2
    assert queue.holds(owner)
    assert not queue.holds(other)
    queue.flush()
    queue.flush()
    assert [row.values[0] for row in owner.rows if row is not None and row.values is not None] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert extractor.batches == [3, 2]
    assert owner.alone == 0
    monkeypatch.setattr(batching, "ROOM", 2 * RATE * 4)
    queue.add(owner, 0, clip(1))
    assert queue.holds(owner)
    queue.add(owner, 1, clip(1))
    assert not queue.holds(owner), "two seconds fill the room"


def test_what_fails_together_is_tried_alone() -> None:
    extractor = many(bad=2 * RATE)
    owner, queue = Rows(many(), 3), Queue(extractor)
    for i in range(3):
        queue.add(owner, i, clip(i + 1))
    queue.flush()
    assert owner.alone == 3
    assert extractor.batches == [3]


def test_a_recording_is_encoded_in_batches() -> None:
    spans = [(0.5, 3.7), (4.2, 7.5), (8.0, 10.7), (11.2, 13.5)]
    talk = Conversation(tuple(Utterance(a, b, "") for a, b in spans))
    info, said = probe(FILM), list[Notice]()
    plain = extract({Modality.AUDIO: FakeExtractor(Modality.AUDIO)}, talk, info)[Modality.AUDIO]
    extractor = many()
    found = extract({Modality.AUDIO: extractor}, talk, info)[Modality.AUDIO]
    assert extractor.batches == [4]
    np.testing.assert_array_equal(found.values, plain.values)
    bad = many(bad=round(plain.values[2, 0] * RATE))
    found = extract({Modality.AUDIO: bad}, talk, info, warn=said.append)[Modality.AUDIO]
    assert found.status == (Status.OK, Status.OK, Status.UNREADABLE, Status.OK)
    assert "failed on 1 of 4 utterances (ValueError: it never liked this one)" in said[0].message


def test_small_files_of_a_data_set_share_a_batch(tmp_path: Path) -> None:
    """Clips of one utterance each, as MELD's are."""
    import csv

    from mediakit import Audio, write

    names = []
    for i in range(5):
        samples = np.sin(np.arange((i + 1) * RATE // 2) / 20).astype(np.float32)
        names.append(write(tmp_path / f"u{i}.flac", audio=Audio(samples)).name)
    broken = tmp_path / "u9.flac"
    broken.write_bytes(b"nothing")
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["split", "dialogue", "turn", "speaker", "text", "emotion", "media"])
        for turn, name in enumerate([*names, broken.name]):
            table.writerow(["train", "a", turn, "A", "words", "joy", name])
    registry = Registry.of(FakePlugin())
    from erc_cli.registry import load_registry

    data = open_datasets([f"manifest:{tmp_path / 't.csv'}"], load_registry(), {}, tmp_path)["manifest"]
    split = data.read("train")
    use = Use("fake-audio", {}, tmp_path)
    rows = {}
    extractor = many()
    for name, one in (("one", FakeExtractor(Modality.AUDIO)), ("many", extractor)):
        branch = branches_of({Modality.AUDIO: use}, registry, {Modality.AUDIO: one})[Modality.AUDIO]
        (rows[name],) = rows_of(split, branch, Store(tmp_path / name))
    assert extractor.batches == [5]
    assert [r.status if r else None for r in rows["many"]] == [*[Status.OK] * 5, Status.UNREADABLE]
    for a, b in zip(rows["one"], rows["many"], strict=True):
        assert a is not None
        assert b is not None
        assert a.status is b.status
        assert a.values is None or np.array_equal(a.values, b.values)


def test_the_same_file_in_both_splits(tmp_path: Path) -> None:
    """Utterances of one recording, in the order of their rows."""
    from erc_cli.registry import load_registry

    registry = load_registry()
    table = write_table(tmp_path / "t.csv")
    split = open_datasets([f"manifest:{table}"], registry, {}, tmp_path)["manifest"].read("dev")
    extractor = many()
    use = Use("fake-audio", {}, tmp_path)
    fake = Registry.of(FakePlugin())
    branch = branches_of({Modality.AUDIO: use}, fake, {Modality.AUDIO: extractor})[Modality.AUDIO]
    (rows,) = rows_of(split, branch, Store(tmp_path / "s"))
    seconds = [u.end - u.start for u in split.conversations[0].utterances]
    found = [row.values[0] for row in rows if row is not None and row.values is not None]
    np.testing.assert_allclose(found, seconds, atol=0.01)
    assert extractor.batches == [7]
