"""Whose face is the speaker's: grouping, evidence, choice, and a conversation made of two talking heads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from facekit import arcface_like

from erc_cli.errors import UsageError
from erc_cli.faces.identity import SURE, choose, group
from erc_cli.faces.people import MOST, PEOPLE, Person, as_detail, from_detail, mouth_movement
from erc_cli.feature_file import from_rows, to_rows
from erc_cli.media import probe, read_clips
from erc_cli.types import Clip, Conversation, Encoded, Frame, Modality, Status, Utterance
from erc_visual_faces import build
from erc_visual_faces.mobilefacenet import DIM, FaceEmbedder, MobileFaceNet, load_network
from erc_visual_faces.network import ExpressionNet, save_expression_net

SECONDS, RATE = 1.2, 25


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# --- people made up -------------------------------------------------------------------------


def person(who: int, mouth: float | None = 0.3, *, seed: int = 0, frames: int = 5) -> Person:
    """Someone whose face points along axis `who`, a little off it."""
    vector = np.eye(8, dtype=np.float32)[who] + np.random.default_rng((who, seed)).normal(0, 0.1, 8)
    face = np.full(3, who, np.float32)
    return Person(np.asarray(vector / np.linalg.norm(vector), np.float32), face, 100.0, frames, mouth)


def test_people_are_numbered_as_they_appear() -> None:
    rows = [[person(2)], [person(1), person(2, seed=1)], [], [person(1, seed=2)], [person(5)]]
    assert group(rows) == [[0], [1, 0], [], [1], [2]]


def test_two_people_of_one_utterance_are_two() -> None:
    """Twins: too alike to be told apart, but both in the picture."""
    assert group([[person(0), person(0, seed=1)], [person(0, seed=2)]])[0] == [0, 1]


def test_identities_that_turn_out_to_be_one_are_joined() -> None:
    """A face seen from two sides only, until it is seen from the front."""
    left, right, front = (np.array(v, np.float32) for v in ([1, 0.1, 0], [0.1, 1, 0], [1, 1, 0]))
    rows = [[Person(v / np.linalg.norm(v), v, 1.0, n, None)] for v, n in ((left, 1), (right, 1), (front, 9))]
    assert group(rows) == [[0], [0], [0]]


def test_who_moves_the_mouth_is_the_speaker() -> None:
    people = [[person(0, 0.5, seed=i), person(1, 0.05, seed=i)] for i in range(3)]
    people += [[person(0, 0.05, seed=i), person(1, 0.5, seed=i)] for i in range(3, 6)]
    choices = choose(people, ["Anna"] * 3 + ["Ben"] * 3)
    assert [c.identity for c in choices] == [0, 0, 0, 1, 1, 1]
    assert [c.person for c in choices] == [0, 0, 0, 1, 1, 1]
    assert all(c.confidence > 0.85 for c in choices)


def test_the_whole_conversation_decides_where_an_utterance_cannot() -> None:
    """One frame, or a listener who laughs: the other utterances know whose face is Anna's."""
    people = [[person(0, 0.5, seed=i), person(1, 0.1, seed=i)] for i in range(6)]
    people += [[person(0, None), person(1, None)], [person(0, 0.2), person(1, 0.3)]]
    people += [[person(0, 0.1, seed=i), person(1, 0.5, seed=i)] for i in range(6)]
    choices = choose(people, ["Anna"] * 8 + ["Ben"] * 6)
    assert [c.identity for c in choices[6:8]] == [0, 0]


def test_shot_and_reverse_shot_are_enough() -> None:
    """Each is shown while talking, alone: co-occurrence, no mouth to compare with."""
    people = [[person(i % 2, 0.3, seed=i)] for i in range(8)]
    choices = choose(people, ["AB"[i % 2] for i in range(8)])
    assert [c.identity for c in choices] == [0, 1] * 4
    listener = choose([*people, [person(1)]], [*["AB"[i % 2] for i in range(8)], "A"])[-1]
    assert listener.person is None, "Ben is shown while Anna talks"


def test_without_names_only_the_mouths_count() -> None:
    people = [[person(0, 0.6), person(1, 0.05)], [person(0, 0.3), person(1, 0.3)], [person(0, 0.4)]]
    first, tie, alone = choose(people, [None, None, None])
    assert (first.identity, tie.identity, alone.identity) == (0, None, None)
    assert SURE < first.confidence < 0.95


@pytest.mark.parametrize(
    ("people", "speakers"),
    [
        ([[person(0, 0.3), person(1, 0.3)]] * 4, ["A", "B"] * 2),  # both always there, mouths alike
        ([[person(0, None), person(1, None)]] * 4, ["A", "B"] * 2),  # one frame each
        ([[person(0)]] * 4, ["A", "B"] * 2),  # the only face
        ([[], []], ["A", "B"]),
    ],
)
def test_what_cannot_be_known_is_not_said(people: list[list[Person]], speakers: list[str]) -> None:
    assert [c.person for c in choose(people, speakers)] == [None] * len(people)


def test_a_speaker_who_is_never_shown_has_no_face() -> None:
    people = [[person(i % 2, 0.3, seed=i)] for i in range(12)]
    speakers = ["A" if i % 2 == 0 else "B" for i in range(12)]
    speakers[4] = speakers[5] = speakers[10] = speakers[11] = "voice"
    choices = choose(people, speakers)
    assert [choices[i].identity for i in (4, 5, 10, 11)] == [None] * 4
    assert choices[0].identity == 0
    assert choices[1].identity == 1


def test_a_long_conversation_stays_quick() -> None:
    random = np.random.default_rng(0)
    people = [[person(int(k), 0.3, seed=i) for k in random.permutation(8)[:3]] for i in range(2000)]
    choices = choose(people, [f"speaker {i % 9}" for i in range(2000)])
    assert len(choices) == 2000


# --- mouths, and what is kept ---------------------------------------------------------------


def test_movement_of_the_mouth_and_of_the_head() -> None:
    random = np.random.default_rng(0)
    still = [random.uniform(0, 255, (112, 112)).astype(np.float32)] * 4
    assert mouth_movement(still) == 0.0
    assert mouth_movement(still[:1]) is None
    talks = [picture.copy() for picture in still]
    for i, picture in enumerate(talks):
        picture[84:100, 44:68] = 255 * (i % 2)
    moved = mouth_movement(talks)
    assert moved is not None
    assert moved > 0.3
    nods = [np.roll(still[0], i, 0) for i in range(4)]
    assert mouth_movement(nods) == pytest.approx(0, abs=0.15), "all of the face moves"


def test_people_survive_the_feature_store() -> None:
    people = [person(0, 0.25), person(1, None)]
    rows = [Encoded(np.ones(3, np.float32), detail={PEOPLE: as_detail(people)}), None]
    features, more = from_rows(rows)
    from erc_cli.feature_file import FeatureFile

    file = FeatureFile(Modality.VISUAL, "faces", features, ("a", "b"), more=json.loads(json.dumps(more)))
    again = from_detail(to_rows(file)[0].detail)  # type: ignore[union-attr]
    for one, other in zip(people, again, strict=True):
        assert float(one.identity @ other.identity) == pytest.approx(1, abs=1e-3)
        np.testing.assert_array_equal(one.face, other.face)
        assert (one.area, one.frames, one.mouth) == (other.area, other.frames, other.mouth)
    assert from_detail({}) == []
    assert MOST <= 10


# --- the network ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mobilefacenet(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's tensors as safetensors."""
    from safetensors.torch import save_file

    source = shared / "data" / "models" / "mobilefacenet" / "068.ckpt"
    if not source.exists():
        pytest.skip("needs models/mobilefacenet of the shared data")
    state = torch.load(source, map_location="cpu", weights_only=True)["net_state_dict"]
    path = tmp_path_factory.mktemp("weights") / "mobilefacenet.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def test_a_network_of_our_own_is_saved_and_loaded(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = MobileFaceNet().eval()
    path = tmp_path / "m.safetensors"
    save_file({f"net_state_dict.{n}": v for n, v in net.state_dict().items()}, path)
    x = torch.randn(2, 3, 112, 96)
    with torch.inference_mode():
        torch.testing.assert_close(load_network(path)(x), net(x))
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(1.0e6, rel=0.1), "the paper: 0.99 M"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 112, 96, 3), dtype=np.uint8)
    vectors = FaceEmbedder(path).embed_pictures(pictures)
    assert vectors.shape == (3, DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    mirrored = FaceEmbedder(path).embed_pictures(np.ascontiguousarray(pictures[:, :, ::-1]))
    np.testing.assert_allclose(vectors, mirrored, atol=1e-5)


def test_weights_of_something_else_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    path.write_text("<html>")
    with pytest.raises(UsageError, match="not a readable safetensors file"):
        load_network(path)
    state = MobileFaceNet().state_dict()
    for change, said in (
        ({"conv1.conv.weight": torch.zeros(1)}, "1 of .* missing or of another shape, 0 surplus"),
        ({"classifier.weight": torch.zeros(1)}, r"0 of .*, 1 surplus \(first: classifier.weight\)"),
    ):
        save_file({**state, **change}, path)
        with pytest.raises(UsageError, match=said) as caught:
            load_network(path)
        assert "erc models convert" in str(caught.value.hint)


def test_speaker_without_an_embedding_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"visual\.faces: speaker needs a face embedding") as caught:
        build(weights=_expression(tmp_path), faces="speaker")
    assert "--set visual.identity_weights=" in str(caught.value.hint)


def test_files_that_are_no_face_embedding(tmp_path: Path) -> None:
    weights = _expression(tmp_path)
    for content in (b"\x80\x02cos\nsystem\n", b"PK\x03\x04archive"):
        pickled = tmp_path / "068.ckpt"
        pickled.write_bytes(content)
        with pytest.raises(UsageError, match="as PyTorch saves them") as caught:
            build(weights=weights, faces="speaker", identity_weights=pickled)
        assert caught.value.hint == f"Type: erc models convert {pickled}"
    with pytest.raises(UsageError, match="does not hold MobileFaceNet"):
        build(weights=weights, faces="speaker", identity_weights=weights)
    pytest.importorskip("insightface", reason="needs the extra insightface")
    page = tmp_path / "arcface.onnx"
    page.write_text("<html>")
    with pytest.raises(UsageError, match="it is a web page"):
        build(weights=weights, faces="speaker", identity_weights=page)


def test_either_embedding_in_a_file_or_a_folder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = _expression(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(MobileFaceNet().state_dict(), folder / "model.safetensors")
    (tmp_path / "blob").symlink_to(folder / "model.safetensors")
    for given in (folder, folder / "model.safetensors", tmp_path / "blob"):
        assert build(weights=weights, faces="speaker", identity_weights=given).dim == 192
    pytest.importorskip("insightface", reason="needs the extra insightface")
    pytest.importorskip("onnx", reason="needs the extra insightface")
    network = arcface_like(tmp_path / "w600k.onnx")
    assert build(weights=weights, faces="speaker", identity_weights=network).dim == 192


def _expression(folder: Path) -> Path:
    """An untrained expression network."""
    torch.manual_seed(0)
    path = folder / "visual.safetensors"
    save_expression_net(ExpressionNet(classes=7).eval(), np.full(7, 1 / 7, np.float32), path)
    return path


# --- two talking heads ----------------------------------------------------------------------


def heads(folder: Path, name: str) -> list[Any]:
    """All frames of a talking head, 256x256."""
    with av.open(str(folder / name)) as container:
        return [f.reformat(256, 256, "rgb24").to_ndarray() for f in container.decode(video=0)]


@pytest.fixture(scope="module")
def dialogue(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Conversation]]:
    """Makes a film: two heads side by side, one talks (its film goes on), the other's picture is frozen."""
    folder = shared / "data" / "media" / "talking"
    films = [heads(folder, n) for n in ("WDA_KatieHill_000.mp4", "RD_Radio34_000.mp4")]

    def make(turns: Sequence[int], names: Sequence[str | None]) -> tuple[Path, Conversation]:
        path = tmp_path_factory.mktemp("film") / "two.mp4"
        places, utterances = [0, 0], []
        count = round(SECONDS * RATE)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 512, 256, "yuv420p"
            for turn, talker in enumerate(turns):
                for _ in range(count):
                    places[talker] += 1
                    both = [film[place % len(film)] for film, place in zip(films, places, strict=True)]
                    frame = av.VideoFrame.from_ndarray(np.concatenate(both, 1), format="rgb24")
                    container.mux(stream.encode(frame))
                who = names[turn]
                utterances.append(Utterance(turn * SECONDS, (turn + 1) * SECONDS - 0.05, "…", who))
            container.mux(stream.encode(None))
        return path, Conversation(tuple(utterances))

    return make


def rows_of(extractor: Any, path: Path, conversation: Conversation) -> list[Encoded | None]:
    rows: list[Encoded | None] = [None] * len(conversation.utterances)
    wishes = [extractor.wish(u) for u in conversation.utterances]
    for place, clip in read_clips(probe(path), wishes):
        rows[place] = extractor.encode(clip)
    return rows


def test_the_talking_face_is_chosen(
    dialogue: Callable[..., tuple[Path, Conversation]], mobilefacenet: Path, tmp_path: Path
) -> None:
    turns = (0, 1, 0, 1, 1, 0)
    path, conversation = dialogue(turns, ["Katie" if t == 0 else "John" for t in turns])
    weights = _expression(tmp_path)
    extractor = build(weights=weights, faces="speaker", identity_weights=mobilefacenet)
    rows = rows_of(extractor, path, conversation)
    features = extractor.gather(conversation, rows)
    assert features.status == (Status.OK,) * 6
    said = [(d["identity"], d["identity_confidence"]) for d in features.detail]
    first, second = said[0][0], said[1][0]
    assert {first, second} == {"face 1", "face 2"}
    assert [name for name, _ in said] == [first if t == 0 else second for t in turns]
    assert min(sure for _, sure in said) > 0.8
    assert all(PEOPLE not in d and d["faces"] == 2.0 for d in features.detail)
    for turn, told in zip(turns, features.detail, strict=True):
        own = [told["boxes"][k] for k in told["speaker_boxes"]]
        assert len(own) == len(told["boxes"]) / 2
        assert all(((left + right) / 2 < 0.5) == (turn == 0) for _, left, _, right, _ in own)

    # Katie is on the left: what her half of the picture says by itself is what her turns move to.
    alone = build(weights=weights)
    every = alone.gather(conversation, rows_of(alone, path, conversation)).values
    clips = dict(read_clips(probe(path), [alone.wish(u) for u in conversation.utterances]))
    for i, talker in enumerate(turns):
        row = rows[i]
        assert row is not None
        np.testing.assert_allclose(row.values, every[i], atol=1e-5, err_msg="what encode gives is everyone's")
        halves = [slice(0, 256), slice(256, 512)]
        own, other = (half(clips[i], halves[k], alone) for k in (talker, 1 - talker))
        to_own, to_other = (float(np.abs(features.values[i] - v).sum()) for v in (own, other))
        assert to_own < 0.5 * to_other


def half(clip: Clip, columns: slice, extractor: Any) -> Any:
    """The feature of a part of the pictures."""
    frames = [Frame(f.time, np.ascontiguousarray(f.rgb[:, columns])) for f in clip.frames]
    return extractor.encode(Clip(frames=tuple(frames))).values


def test_rows_from_the_store_give_the_same(
    dialogue: Callable[..., tuple[Path, Conversation]], mobilefacenet: Path, tmp_path: Path
) -> None:
    path, conversation = dialogue((1, 0), ["John", "Katie"])
    extractor = build(
        weights=_expression(tmp_path), faces="speaker", identity_weights=mobilefacenet, scene=True
    )
    rows = rows_of(extractor, path, conversation)
    features, more = from_rows(rows)
    from erc_cli.feature_file import FeatureFile

    stored = to_rows(FeatureFile(Modality.VISUAL, "faces", features, ("a", "b"), more=more))
    once, again = extractor.gather(conversation, rows), extractor.gather(conversation, stored)
    np.testing.assert_array_equal(once.values, again.values)
    assert once.detail == again.detail
    moved = np.abs(once.values - features.values).max(0) > 0
    assert moved[192:384].any()
    assert not moved[:192].any(), "the scene is everyone's"
    assert not moved[384:].any()
    assert max(len(json.dumps(row.detail)) for row in rows if row is not None) < 6000


def test_an_interview(shared: Path, mobilefacenet: Path, tmp_path: Path) -> None:
    """From 10.5 to 15 s only the man on the right talks; before, they mostly talk both."""
    info = probe(shared / "data" / "media" / "talking" / "interview.mp4")
    extractor = build(
        weights=_expression(tmp_path), frames=15, faces="speaker", identity_weights=mobilefacenet
    )
    times = (0.0, 3.0, 10.5, 12.0, 13.5)
    said = tuple(Utterance(t, t + 1.5, "…", "right" if t > 10 else None) for t in times)
    clips = dict(read_clips(info, [extractor.wish(u) for u in said]))
    rows = [extractor.encode(clips[i]) for i in range(len(said))]
    features = extractor.gather(Conversation(said), rows)
    names = [d["identity"] for d in features.detail]
    assert names[0] is names[1] is None
    assert len(set(names[2:])) == 1
    assert None not in names[2:]
    right, left = (half(clips[3], part, extractor) for part in (slice(320, 640), slice(0, 320)))
    to_right, to_left = (float(np.abs(features.values[3] - v).sum()) for v in (right, left))
    assert to_right < 0.5 * to_left


def test_without_names_the_mouths_decide(
    dialogue: Callable[..., tuple[Path, Conversation]], mobilefacenet: Path, tmp_path: Path
) -> None:
    path, conversation = dialogue((0, 1, 0), [None, None, None])
    weights = _expression(tmp_path)
    extractor = build(weights=weights, frames=15, faces="speaker", identity_weights=mobilefacenet)
    details = extractor.gather(conversation, rows_of(extractor, path, conversation)).detail
    names = [d["identity"] for d in details]
    assert names[0] is not None
    assert names == [names[0], details[1]["identity"], names[0]]
    assert details[1]["identity"] not in (names[0], None)
