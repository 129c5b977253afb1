"""Features of media files asked for in Python: in the order of the split, kept, as the extractor has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import extractkit
import numpy as np
import pytest
from extractkit import Place

from erc_cli.dataset import features_of
from erc_cli.encoding import Branch
from erc_cli.extraction import branches_of, rows_of, with_features
from erc_cli.fakes import FakeExtractor, FakePlugin
from erc_cli.features import Store, recipe_of
from erc_cli.learning import Source, Split
from erc_cli.preset import Use
from erc_cli.registry import Entry, Owner, Registry
from erc_cli.types import Conversation, Encoded, Modality, Status, Utterance

made, place = extractkit.made, extractkit.place  # fixtures


@pytest.fixture
def branch() -> Branch:
    registry = Registry.of(FakePlugin())
    use = Use("fake-audio")
    return Branch(recipe_of(Modality.AUDIO, use, registry), FakeExtractor(Modality.AUDIO))


def split_of(folder: Path) -> Split:
    """Two utterances of one file in two conversations, and one without a medium."""
    talk = folder / "talk.flac"
    return Split(
        name="dev",
        labels=("a", "b"),
        sha256="",
        conversations=(
            Conversation((Utterance(100, 101, "one"), Utterance(101, 102, "two")), id="x"),
            Conversation((Utterance(0, 1, "three"),), id="y"),
        ),
        targets=((0, 1), (-1,)),
        sources=((Source(talk, 2.0, 2.5), None), (Source(talk, 0.0, 1.0),)),
    )


def test_rows_come_back_in_the_order_of_the_split(place: Place, branch: Branch, tmp_path: Path) -> None:
    split, store = split_of(place.folder), Store(tmp_path / "store")
    for _ in range(2):  # computed, then read
        filled = with_features(split, {Modality.AUDIO: branch}, store)
        first, second = filled.ready["fake-audio"]
        assert first[0] is not None and first[0].values is not None
        assert first[0].values[0] == pytest.approx(0.5)
        assert first[1] == Encoded(None, Status.UNREADABLE)
        assert second[0] is not None and second[0].values is not None
        assert second[0].values[0] == pytest.approx(1.0)
        assert rows_of(split, branch, store)[0][1] == first[1]
    labelled = features_of(filled, {Modality.AUDIO: ("fake-audio", branch.extractor)})
    assert labelled is not None
    assert labelled.features[Modality.AUDIO].values[:, 0] == pytest.approx([0.5, 0.0, 1.0])
    assert labelled.features[Modality.AUDIO].present.tolist() == [True, False, True]


def test_rows_of_the_data_set_itself_are_kept(place: Place, branch: Branch, tmp_path: Path) -> None:
    split = split_of(place.folder)
    own = ((Encoded(np.ones(2, np.float32)), None), (None,))
    filled = with_features(replace(split, ready={"fake-audio": own}), {Modality.AUDIO: branch}, tmp_path)
    assert filled.ready["fake-audio"] is own
    assert not any(tmp_path.iterdir())


def test_a_split_without_media_stays_as_it_is(branch: Branch, place: Place, tmp_path: Path) -> None:
    split = replace(split_of(place.folder), sources=())
    assert with_features(split, {Modality.AUDIO: branch}, tmp_path) == split
    assert rows_of(split, branch, tmp_path) == ((None, None), (None,))


def test_real_speech_gives_the_rows_of_its_extractor(shared: Path, tmp_path: Path) -> None:
    """RAVDESS through prosody: what the store gives is what `encode` gives of the same clip."""
    pytest.importorskip("parselmouth")
    from erc_audio_prosody import build, erc_extractors
    from erc_cli.media import probe, read_clips

    clips = sorted((shared / "data" / "ravdess" / "Actor_01").glob("*.ogg"))[:4]
    extractor = build()
    registry = Registry((Entry("extractor", erc_extractors()[0], Owner("erc-cli", "1")),))
    branches = branches_of({Modality.AUDIO: Use("prosody")}, registry, {Modality.AUDIO: extractor})
    talks = tuple(Conversation((Utterance(0, 0, "Kids are talking by the door"),), id=c.stem) for c in clips)
    split = Split("dev", ("a",), "", talks, ((0,),) * len(clips), sources=tuple((Source(c),) for c in clips))
    with_features(split, branches, tmp_path)
    rows = with_features(split, branches, tmp_path).ready["prosody"]
    for path, (row,) in zip(clips, rows, strict=True):
        info = probe(path)
        wish = extractor.wish(Utterance(0, info.duration, ""))
        (_, clip), *_ = list(read_clips(info, [wish]))
        wanted = extractor.encode(clip)
        assert row is not None and row.values is not None and wanted.values is not None
        assert np.array_equal(row.values, wanted.values)
        assert row.detail == wanted.detail
