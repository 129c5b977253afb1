"""MTCNN: the networks against the reference weights, the cascade against reference boxes.

`data/astronaut.jpg` is NASA's portrait of Eileen Collins (public domain), as scikit-image carries it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erc_cli.errors import ErcError
from erc_visual_faces.areas import cut, shrink, sums_table
from erc_visual_faces.mtcnn import Face, Mtcnn, load_networks, overlaps, suppress

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("ERC_SHARED", HERE.parents[1] / "shared"))
WEIGHTS = HERE.parent / "plugins" / "erc_visual_faces" / "weights" / "mtcnn.safetensors"

# What facenet-pytorch 2.6.0 finds (thresholds 0.6, 0.7, 0.7, smallest face 40), mean over twelve
# shifts of the frame by up to 11 pixels, since its boxes jump: medium, frame number, boxes, and the
# left eye of the first.
PORTRAIT_BOX = (112.2, 39.5, 166.6, 108.9)
PORTRAIT_LANDMARKS = ((128.0, 63.6), (154.9, 65.1), (141.2, 80.9), (126.5, 87.7), (153.8, 89.3))
REFERENCE = [
    ("pyfeat/single_face.mp4", 36, [(211.9, 71.4, 366.0, 287.5)], (254.9, 159.7)),
    ("pyfeat/WolfgangLanger_Pexels.mp4", 60, [(323.4, 43.2, 534.9, 329.6)], (381.6, 165.2)),
    ("pyfeat/face_noface.mov", 20, [(214.5, 76.5, 363.4, 289.1)], (255.7, 162.6)),
    ("talking/RD_Radio34_000.mp4", 60, [(121.2, 95.3, 382.4, 452.4)], (189.8, 228.4)),
    ("talking/WDA_EdMarkey0_000.mp4", 80, [(94.9, 128.1, 375.7, 526.1)], (160.5, 284.9)),
    ("talking/WDA_KatieHill_000.mp4", 20, [(143.8, 105.2, 406.4, 445.0)], (209.9, 248.0)),
    (
        "talking/interview.mp4",
        50,
        [(157.8, 78.5, 243.8, 188.3), (385.9, 40.7, 488.1, 177.3)],
        (182.2, 120.6),
    ),
]


def shared(path: str) -> Path:
    """A file of the shared data, or the test is skipped."""
    found = SHARED / "data" / path
    if not found.exists():
        pytest.skip(f"needs {path} of the shared data")
    return found


def frames(path: Path, numbers: Sequence[int]) -> list[Any]:
    """Frames of a medium by number, at most 640 pixels wide or high."""
    pictures = []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                scale = min(1.0, 640 / max(frame.width, frame.height))
                small = frame.reformat(
                    round(frame.width * scale), round(frame.height * scale), "rgb24", interpolation="AREA"
                )
                pictures.append(small.to_ndarray())
            if number >= max(numbers):
                break
    return pictures


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union, by the book."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn(WEIGHTS)


@pytest.fixture(scope="module")
def portrait() -> Any:
    with av.open(str(HERE / "data" / "astronaut.jpg")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


# --- networks ---------------------------------------------------------------------------------


def reference(name: str, state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The networks as facenet-pytorch wires them, in plain functions: probability, box, landmarks."""

    def conv(number: int, x: Tensor) -> Tensor:
        x = F.conv2d(x, state[f"conv{number}.weight"], state[f"conv{number}.bias"])
        return F.prelu(x, state[f"prelu{number}.weight"])

    def dense(key: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{key}.weight"], state[f"{key}.bias"])

    x = conv(1, x)
    if name == "pnet":
        x = conv(3, conv(2, F.max_pool2d(x, 2, 2, ceil_mode=True)))
        heads = [F.conv2d(x, state[f"conv4_{i}.weight"], state[f"conv4_{i}.bias"]) for i in (1, 2)]
    elif name == "rnet":
        x = conv(2, F.max_pool2d(x, 3, 2, ceil_mode=True))
        x = conv(3, F.max_pool2d(x, 3, 2, ceil_mode=True)).permute(0, 3, 2, 1).reshape(len(x), -1)
        x = F.prelu(dense("dense4", x), state["prelu4.weight"])
        heads = [dense("dense5_1", x), dense("dense5_2", x)]
    else:
        x = conv(2, F.max_pool2d(x, 3, 2, ceil_mode=True))
        x = conv(3, F.max_pool2d(x, 3, 2, ceil_mode=True))
        x = conv(4, F.max_pool2d(x, 2, 2, ceil_mode=True)).permute(0, 3, 2, 1).reshape(len(x), -1)
        x = F.prelu(dense("dense5", x), state["prelu5.weight"])
        heads = [dense(f"dense6_{i}", x) for i in (1, 2, 3)]
    return [heads[0].softmax(1)[:, 1], *heads[1:]]


@pytest.mark.parametrize(("name", "size"), [("pnet", (53, 78)), ("rnet", (24, 24)), ("onet", (48, 48))])
def test_networks_answer_as_the_reference_weights_do(name: str, size: tuple[int, int]) -> None:
    state = torch.load(shared(f"models/mtcnn/{name}.pt"), weights_only=True)
    x = torch.rand((5, 3, *size), generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        ours = getattr(load_networks(WEIGHTS), name)(x)
        theirs = reference(name, state, x)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
    assert float(ours[0].std()) > 0.001, "the probabilities vary, so that equality means something"


def test_bad_weights_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ErcError, match=r"missing: .*nowhere"):
        load_networks(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(ErcError, match="not a readable safetensors file"):
        load_networks(tmp_path / "text.safetensors")
    save_file({"pnet.body.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ErcError, match="does not hold the weights of MTCNN"):
        load_networks(tmp_path / "other.safetensors")


# --- areas and boxes --------------------------------------------------------------------------


def test_shrinking_takes_the_mean_of_areas() -> None:
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (2, 24, 36, 3), dtype=np.uint8))
    small = shrink(sums_table(pictures), 8, 9)
    expected = F.avg_pool2d(pictures.permute(0, 3, 1, 2).float(), (3, 4))
    torch.testing.assert_close(small * 128 + 127.5, expected, rtol=0, atol=1e-3)


def test_a_window_between_pixels_is_weighed_and_grey_outside() -> None:
    picture = torch.zeros((1, 4, 4, 3), dtype=torch.uint8)
    picture[0, :, 2:] = 200
    table = sums_table(picture)
    boxes = np.array([[1.5, 0.0, 3.5, 2.0], [-2.0, 0.0, 2.0, 4.0], [9.0, 9.0, 11.0, 11.0]])
    windows = cut(table, np.zeros(3, dtype=np.int64), boxes, 2) * 128 + 127.5
    torch.testing.assert_close(windows[0, 0], torch.tensor([[100.0, 200.0]] * 2))
    torch.testing.assert_close(windows[1, 0], torch.tensor([[127.5, 0.0]] * 2))
    torch.testing.assert_close(windows[2], torch.full((3, 2, 2), 127.5))


def test_large_pictures_do_not_overflow() -> None:
    white = torch.full((1, 3000, 3000, 3), 255, dtype=torch.uint8)
    table = sums_table(white)
    assert table.dtype == torch.int64
    assert int(table[0, -1, -1, 0]) == 255 * 3000 * 3000
    assert (
        float(cut(table, np.zeros(1, dtype=np.int64), np.array([[2900.0, 2900, 3000, 3000]]), 24).min())
        > 0.99
    )


def test_suppression_is_greedy_suppression() -> None:
    rng = np.random.default_rng(3)
    for count in (0, 1, 2, 40, 200):
        corner = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], 1)
        rivals = overlaps(boxes) > 0.4
        kept: list[int] = []
        for i in range(count):
            if not any(iou(boxes[i], boxes[k]) > 0.4 for k in kept):
                kept.append(i)
        assert np.flatnonzero(suppress(rivals)).tolist() == kept


def test_overlap_with_the_smaller_box() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 5, 5], [20, 20, 30, 30]])
    assert overlaps(boxes)[0].tolist() == [1.0, 0.25, 0.0]
    assert overlaps(boxes, smaller=True)[0].tolist() == [1.0, 1.0, 0.0]


# --- the cascade ------------------------------------------------------------------------------


def test_portrait(detector: Mtcnn, portrait: Any) -> None:
    (face,) = detector.detect(portrait)
    assert face.score > 0.99
    assert iou(face.box, PORTRAIT_BOX) > 0.9
    assert np.abs(face.landmarks - PORTRAIT_LANDMARKS).max() < 2.5
    assert face.landmarks.shape == (5, 2)
    assert face.landmarks.dtype == np.float32
    assert face.area == pytest.approx((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


def test_boxes_agree_with_the_reference(detector: Mtcnn) -> None:
    """The reference's own boxes, shifted, agree with their mean by 0.953 on average, 0.91 at worst."""
    agreement = []
    for name, number, boxes, eye in REFERENCE:
        (frame,) = frames(shared(f"media/{name}"), [number])
        found = detector.detect(frame)
        assert len(found) == len(boxes)
        agreement += [max(iou(face.box, box) for face in found) for box in boxes]
        first = max(found, key=lambda face: iou(face.box, boxes[0]))
        assert np.abs(first.landmarks[0] - eye).max() < 0.04 * (boxes[0][2] - boxes[0][0])
    assert min(agreement) > 0.88
    assert np.mean(agreement) > 0.94
    assert np.median(agreement) > 0.94


def test_no_face_where_none_is(detector: Mtcnn) -> None:
    for name, numbers in (
        ("no_face.mp4", [5, 50, 90]),
        ("face_noface.mov", [150]),
        ("noface_face.mov", [10]),
    ):
        for faces in detector.detect_batch(frames(shared(f"media/pyfeat/{name}"), numbers)):
            assert faces == []


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea"])
def test_no_face_in_pictures_of_things_and_a_cat(detector: Mtcnn, name: str) -> None:
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's pictures")
    assert detector.detect(getattr(data, name)()) == []


def test_mirror_image_gives_mirrored_answers(detector: Mtcnn, portrait: Any) -> None:
    (face,) = detector.detect(portrait)
    (mirrored,) = detector.detect(np.ascontiguousarray(portrait[:, ::-1]))
    width = portrait.shape[1]
    left, top, right, bottom = mirrored.box
    assert iou(face.box, (width - right, top, width - left, bottom)) > 0.85
    swapped = mirrored.landmarks[[1, 0, 2, 4, 3]] * [-1, 1] + [width, 0]
    assert np.abs(face.landmarks - swapped).max() < 2.5


def test_answers_are_steady_when_the_frame_moves(detector: Mtcnn, portrait: Any) -> None:
    shifts = [(0, 0), (3, 1), (5, 9), (8, 4), (11, 11)]
    found = [detector.detect(np.ascontiguousarray(portrait[y:, x:]))[0] for x, y in shifts]
    landmarks = np.stack([f.landmarks + np.array(s) for f, s in zip(found, shifts, strict=True)])
    assert float(landmarks.std(0).max()) < 0.01 * (PORTRAIT_BOX[2] - PORTRAIT_BOX[0])


def test_a_face_cut_by_the_edge_is_still_found(detector: Mtcnn, portrait: Any) -> None:
    (face,) = detector.detect(portrait)
    edge = int(face.box[2] - 0.2 * (face.box[2] - face.box[0]))
    (cut_off,) = detector.detect(np.ascontiguousarray(portrait[:, :edge]))
    assert np.abs(cut_off.landmarks[0] - face.landmarks[0]).max() < 3


def test_batch_equals_one_by_one(detector: Mtcnn, portrait: Any) -> None:
    blank = np.full_like(portrait, 90)
    batch = [blank, portrait, np.ascontiguousarray(portrait[:, ::-1]), blank] * 5
    together = detector.detect_batch(batch)
    assert [len(faces) for faces in together] == [0, 1, 1, 0] * 5
    for picture, faces in zip(batch[:4], together, strict=False):
        for one, other in zip(faces, detector.detect(picture), strict=True):
            assert np.allclose(one.box, other.box, atol=0.01)
            assert np.allclose(one.landmarks, other.landmarks, atol=0.01)
    assert detector.detect_batch([]) == []


@pytest.mark.parametrize("size", [(1, 1), (11, 300), (39, 39), (40, 40), (41, 60)])
def test_small_frames_are_no_trouble(detector: Mtcnn, size: tuple[int, int]) -> None:
    assert detector.detect(np.full((*size, 3), 128, dtype=np.uint8)) == []


def test_noise_gives_no_faces(detector: Mtcnn) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    assert detector.detect(noise) == []


def test_faces_below_the_limit_are_not_looked_for(portrait: Any) -> None:
    assert Mtcnn(WEIGHTS, min_face=140).detect(portrait) == []


def test_area_of_an_empty_box_is_zero() -> None:
    assert Face((5, 5, 4, 9), 1.0, np.zeros((5, 2), dtype=np.float32)).area == 0
