"""From faces in frames to the visual features: placement, cutting, weighting, pooling, statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from erc_cli.errors import ErcError, UsageError
from erc_cli.faces.align import Placement
from erc_cli.faces.record import Face
from erc_cli.faces.weighted import prepared, shares
from erc_cli.types import Clip, Conversation, Encoded, Frame, Status, Utterance
from erc_visual_faces import build, erc_extractors
from erc_visual_faces.detectors import MTCNN_WEIGHTS
from erc_visual_faces.faces import BOX, LANDMARKS, SIDE, cut_face, cut_faces, place
from erc_visual_faces.mtcnn import Mtcnn
from erc_visual_faces.network import ExpressionNet, save_expression_net

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("ERC_SHARED", HERE.parents[1] / "shared"))
UTTERANCE = Utterance(1.0, 3.0, "Hello.")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def portrait() -> Any:
    """NASA's portrait of Eileen Collins, 320x320, one face of about 54x69 pixels."""
    with av.open(str(HERE / "data" / "astronaut.jpg")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with seeded weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "visual.safetensors"
    save_expression_net(ExpressionNet(classes=7).eval(), torch.full((7,), 1 / 7), path)
    return path


@pytest.fixture(scope="module")
def extractor(weights: Path) -> Any:
    return build(weights=weights)


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn(MTCNN_WEIGHTS)


def clip(*pictures: Any) -> Clip:
    return Clip(frames=tuple(Frame(float(i), picture) for i, picture in enumerate(pictures)))


def face_at(turn: complex, origin: complex) -> Face:
    """A face whose landmarks and box are FER2013's means, turned, scaled and moved."""
    points = origin + turn * (LANDMARKS[:, 0] + 1j * LANDMARKS[:, 1])
    middle = origin + turn * complex(BOX[0] + BOX[2], BOX[1] + BOX[3]) / 2
    half = abs(turn) * complex(BOX[2] - BOX[0], BOX[3] - BOX[1]) / 2
    low, high = middle - half, middle + half
    landmarks = np.stack([points.real, points.imag], 1).astype(np.float32)
    return Face((low.real, low.imag, high.real, high.imag), 1.0, landmarks)


# --- placement and cutting --------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 30, -75])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_turned_face_is_placed_upright(scale: float, degrees: float) -> None:
    turn = scale * np.exp(1j * np.radians(degrees))
    where = place(face_at(turn, 100 + 50j))
    assert where.step == pytest.approx(turn, abs=1e-4)
    assert where.origin == pytest.approx(100 + 50j, abs=1e-2)
    assert where.scale == pytest.approx(scale, abs=1e-4)


def test_landmarks_in_one_place_fall_back_on_the_box() -> None:
    face = face_at(2, 10 + 10j)
    where = place(Face(face.box, 1.0, np.full((5, 2), 60, dtype=np.float32)))
    assert where.step == pytest.approx(2, abs=1e-6)


def test_cutting_in_place_changes_nothing() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    colour = np.repeat(grey[..., None], 3, 2)
    assert np.abs(cut_face(colour, Placement(0, 1)).astype(int) - grey).max() <= 1


def test_a_reduction_is_the_mean_of_the_area() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (4 * SIDE, 4 * SIDE), dtype=np.uint8)
    means = grey.reshape(SIDE, 4, SIDE, 4).mean((1, 3))
    assert np.abs(cut_face(np.repeat(grey[..., None], 3, 2), Placement(0, 4)) - means).max() < 1


def test_a_quarter_turn_and_the_edge() -> None:
    ramp = np.repeat(np.arange(SIDE, dtype=np.uint8)[:, None] * 5, SIDE, 1)
    turned = cut_face(np.repeat(ramp[..., None], 3, 2), Placement(complex(SIDE, 0), 1j))
    assert np.abs(turned.astype(int) - ramp.T).max() <= 1
    beyond = cut_face(np.repeat(ramp[..., None], 3, 2), Placement(complex(0, -500), 1))
    assert (beyond == 0).all(), "the first row is repeated"


def test_a_colour_becomes_its_luma() -> None:
    green = np.zeros((60, 60, 3), dtype=np.uint8)
    green[..., 1] = 200
    assert set(cut_face(green, Placement(3 + 3j, 1)).flatten().tolist()) == {117}


def test_a_cut_face_is_framed_like_fer2013(detector: Mtcnn, portrait: Any) -> None:
    """Found again in its enlarged picture, the portrait's landmarks lie where FER2013's lie."""
    (picture,) = cut_faces(portrait, detector.detect(portrait))
    large = np.pad(np.kron(picture, np.ones((4, 4), dtype=np.uint8)), 48, mode="edge")
    (again,) = detector.detect(np.repeat(large[..., None], 3, 2))
    landmarks = (again.landmarks - 48) / 4
    assert np.abs(landmarks - LANDMARKS).max() < 3
    assert np.abs(landmarks.mean(0) - LANDMARKS.mean(0)).max() < 1.5


def test_fer2013_itself_is_left_where_it_is() -> None:
    """The constants describe FER2013: on average its pictures are placed onto themselves."""
    path = SHARED / "data" / "fer2013" / "fer2013.npz"
    if not path.exists():
        pytest.skip("needs fer2013/fer2013.npz of the shared data")
    with np.load(path) as data:
        pictures = data["train_images"][20000:20200]
    large = [np.pad(np.kron(p, np.ones((3, 3), dtype=np.uint8)), 36, mode="edge") for p in pictures]
    found = Mtcnn(MTCNN_WEIGHTS, min_face=60).detect_batch([np.repeat(p[..., None], 3, 2) for p in large])
    placed = [place(faces[0]) for faces in found if faces]
    assert len(placed) > 150
    steps = np.array([where.step for where in placed]) / 3
    middles = (np.array([where.origin + where.step * (24 + 24j) for where in placed]) - 36 * (1 + 1j)) / 3
    assert np.median(np.abs(steps)) == pytest.approx(1, abs=0.06)
    assert np.median(np.degrees(np.angle(steps))) == pytest.approx(0, abs=3)
    assert np.median(middles.real) == pytest.approx(24, abs=1)
    assert np.median(middles.imag) == pytest.approx(24, abs=1)


# --- the extractor ----------------------------------------------------------------------------


def test_one_face_gives_the_embedding_of_its_picture(extractor: Any, detector: Mtcnn, portrait: Any) -> None:
    encoded = extractor.encode(clip(portrait))
    assert encoded.status is Status.OK
    assert {"faces": 1.0, "frames_with_face": 1}.items() <= encoded.detail.items()
    ((time, *sides),) = encoded.detail["boxes"]
    height, width = portrait.shape[:2]
    box = detector.detect(portrait)[0].box
    assert [time, *sides] == pytest.approx(
        [0, box[0] / width, box[1] / height, box[2] / width, box[3] / height], abs=1e-3
    )
    assert encoded.values.shape == (extractor.dim,)
    assert encoded.values.dtype == np.float32
    expected = extractor.encode_pictures(cut_faces(portrait, detector.detect(portrait)))
    np.testing.assert_allclose(encoded.values, expected.values[0], atol=1e-5)


def test_faces_are_weighted_by_the_area_of_their_boxes(
    extractor: Any, detector: Mtcnn, portrait: Any
) -> None:
    small = np.pad(portrait[0:180, 60:240], ((0, 140), (0, 140), (0, 0)))
    large = np.kron(portrait[20:180, 60:220], np.ones((2, 2, 1), dtype=np.uint8))
    both = np.concatenate([small, large], 1)
    faces = detector.detect(both)
    assert len(faces) == 2
    weight = shares(faces)
    assert float(weight.sum()) == pytest.approx(1)
    assert float(weight.max()) == pytest.approx(0.8, abs=0.05), "twice as wide and high: four to one"
    each = extractor.encode_pictures(cut_faces(both, faces)).values
    encoded = extractor.encode(clip(both))
    assert {"faces": 2.0, "frames_with_face": 1}.items() <= encoded.detail.items()
    np.testing.assert_allclose(encoded.values, weight @ each, atol=1e-5)


@pytest.mark.parametrize(("pool", "rule"), [("mean", np.mean), ("max", np.max)])
def test_frames_are_pooled_and_those_without_a_face_left_out(
    weights: Path, portrait: Any, pool: str, rule: Any
) -> None:
    extractor = build(weights=weights, pool=pool)
    dark, mirrored = portrait // 2, np.ascontiguousarray(portrait[:, ::-1])
    blank = np.zeros((90, 160, 3), dtype=np.uint8)
    each = [extractor.encode(clip(picture)).values for picture in (dark, mirrored)]
    encoded = extractor.encode(clip(dark, blank, mirrored))
    assert {"faces": 0.667, "frames_with_face": 2}.items() <= encoded.detail.items()
    np.testing.assert_allclose(encoded.values, rule(each, 0), atol=1e-5)


def test_the_head_of_the_mean_is_the_mean_of_the_heads(extractor: Any, portrait: Any) -> None:
    pictures = [portrait, portrait // 3]
    head = extractor.head

    def logits(*frames: Any) -> Any:
        return extractor.encode(clip(*frames)).values @ head.weight.T + head.bias

    np.testing.assert_allclose(logits(*pictures), np.mean([logits(p) for p in pictures], 0), atol=1e-5)
    assert head.weight.shape == (7, extractor.dim)


def test_no_face_and_no_frames_are_said(extractor: Any) -> None:
    blank = np.full((120, 200, 3), 128, dtype=np.uint8)
    encoded = extractor.encode(clip(blank, blank))
    assert (encoded.values, encoded.status) == (None, Status.NO_FACE)
    assert encoded.detail == {"faces": 0.0, "frames_with_face": 0}
    for status in (Status.NO_VIDEO, Status.OUTSIDE_MEDIA, Status.UNREADABLE):
        assert extractor.encode(Clip(frames_status=status)) == Encoded(None, status)
    assert extractor.encode(Clip()).status is Status.NO_VIDEO


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 700, 3), (8, 8), (30, 30, 1), (0, 0, 3)])
def test_tiny_frames_have_no_face(extractor: Any, shape: tuple[int, ...]) -> None:
    assert extractor.encode(clip(np.full(shape, 100, dtype=np.uint8))).status is Status.NO_FACE


def test_grey_and_huge_frames_are_read(extractor: Any, portrait: Any) -> None:
    grey = portrait.mean(2).astype(np.uint8)
    huge = np.kron(portrait, np.ones((8, 8, 1), dtype=np.uint8))
    locked = portrait.copy()
    locked.flags.writeable = False
    for picture in (grey, grey[..., None], huge, portrait[::-1][::-1], locked):
        assert extractor.encode(clip(picture)).status is Status.OK
    assert prepared(huge, 640).shape == (640, 640, 3)
    assert np.abs(prepared(huge, 320).astype(int) - portrait).max() <= 1


def test_wishes_are_spread_evenly(weights: Path, extractor: Any) -> None:
    assert extractor.wish(UTTERANCE).frames == pytest.approx((1.2, 1.6, 2.0, 2.4, 2.8))
    assert extractor.wish(UTTERANCE).sound is None
    assert extractor.wish(Utterance(2.0, 2.0, "")).frames == (2.0,)
    other = build(weights=weights, frames=15, longest_side=320)
    wish = other.wish(UTTERANCE)
    assert len(wish.frames) == 15
    assert wish.longest_side == 320


def test_pictures_in_batches_equal_pictures_one_by_one(extractor: Any) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (260, SIDE, SIDE), dtype=np.uint8)
    pictures.flags.writeable = False
    features = extractor.encode_pictures(pictures)
    assert features.values.shape == (260, extractor.dim)
    assert features.present.all()
    assert features.status == (Status.OK,) * 260
    for i in (0, 255, 256, 259):
        one = extractor.encode_pictures(pictures[i : i + 1]).values[0]
        np.testing.assert_allclose(features.values[i], one, atol=1e-4)
    assert extractor.encode_pictures(pictures[:0]).values.shape == (0, extractor.dim)


def test_pictures_of_another_size_or_kind(extractor: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)
    doubled = np.kron(picture, np.ones((1, 2, 2), dtype=np.uint8))
    assert extractor.encode_pictures(doubled).values.shape == (1, extractor.dim)
    with pytest.raises(ErcError, match=r"uint8 \[n, height, width\], not float32 \[1, 48, 48\]"):
        extractor.encode_pictures(picture.astype(np.float32))
    with pytest.raises(ErcError, match=r"not uint8 \[48, 48\]"):
        extractor.encode_pictures(picture[0])


def test_gather_keeps_rows_and_reasons(extractor: Any) -> None:
    conversation = Conversation((UTTERANCE,) * 3)
    values = np.arange(extractor.dim, dtype=np.float32)
    rows = [Encoded(values), Encoded(None, Status.NO_FACE), None]
    features = extractor.gather(conversation, rows)
    assert features.status == (Status.OK, Status.NO_FACE, Status.NO_VIDEO)
    assert features.present.tolist() == [True, False, False]
    assert features.values.shape == (3, extractor.dim)
    np.testing.assert_array_equal(features.values[0], values)
    assert extractor.gather(Conversation(()), []).values.shape == (0, extractor.dim)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "mtccn"}, "'mtccn' is not known. Did you mean 'mtcnn'?"),
        ({"pool": "maximum"}, "visual.pool: 'maximum' is not known."),
        ({"frames": 0}, "visual.frames: 0 is too small."),
        ({"min_face": 3}, "visual.min_face: 3 is too small."),
        ({"longest_side": 20}, "visual.longest_side: 20 is too small."),
    ],
)
def test_bad_options_are_named(weights: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(weights=weights, **options)
    assert message in caught.value.message
    assert caught.value.hint


def test_the_front_page_imports_nothing_heavy() -> None:
    code = (
        "import sys; import erc_visual_faces as p; p.erc_extractors(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'safetensors')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
    assert [spec.name for spec in erc_extractors()] == ["faces"]
