"""The scene stream, successive frames, and training of the expression network with M2FNet's loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from erc_cli.errors import UsageError
from erc_cli.learning import Split, TrainJob
from erc_cli.nets.resnet import ResNet18
from erc_cli.testing import check_extractor
from erc_cli.types import Clip, Encoded, Frame, Status, Utterance
from erc_visual_faces import build, train
from erc_visual_faces.network import ExpressionNet, load_expression_net, save_expression_net
from erc_visual_faces.scene import SIDE, joined, joined_head, whole_frame
from erc_visual_faces.training import spoil

LABELS = ("left", "right", "none")
BLANK = np.full((120, 200, 3), 128, dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def portrait(root: Path) -> Any:
    with av.open(str(root / "tests" / "data" / "astronaut.jpg")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "visual.safetensors"
    save_expression_net(ExpressionNet(classes=7).eval(), np.full(7, 1 / 7, np.float32), path)
    return path


@pytest.fixture(scope="module")
def both(weights: Path) -> Any:
    return build(weights=weights, scene=True)


def clip(*pictures: Any) -> Clip:
    return Clip(frames=tuple(Frame(float(i), picture) for i, picture in enumerate(pictures)))


# --- both streams ---------------------------------------------------------------------------


def test_both_streams_side_by_side(weights: Path, both: Any, portrait: Any) -> None:
    face_only = build(weights=weights).encode(clip(portrait))
    encoded = both.encode(clip(portrait))
    assert both.dim == 2 * 192 + 2
    assert {"faces": 1.0, "frames_with_face": 1}.items() <= encoded.detail.items()
    np.testing.assert_array_equal(encoded.values[192:384], face_only.values)
    assert encoded.values[384:].tolist() == [1.0, 1.0]
    net, _ = load_expression_net(weights)
    with torch.inference_mode():
        scene = net(torch.from_numpy(whole_frame(portrait))[None, None].float())[0].numpy()
    np.testing.assert_allclose(encoded.values[:192], scene, atol=1e-4)


@pytest.mark.parametrize(("pool", "rule"), [("mean", np.mean), ("max", np.max)])
def test_the_scene_is_pooled_over_all_frames(weights: Path, portrait: Any, pool: str, rule: Any) -> None:
    extractor = build(weights=weights, scene=True, pool=pool)
    each = [extractor.encode(clip(picture)).values for picture in (portrait, BLANK)]
    encoded = extractor.encode(clip(portrait, BLANK)).values
    np.testing.assert_allclose(encoded[:192], rule([values[:192] for values in each], 0), atol=1e-4)
    np.testing.assert_allclose(encoded[192:384], each[0][192:384], atol=1e-5)


def test_no_face_is_a_flag_and_no_frame_is_nothing(both: Any) -> None:
    encoded = both.encode(clip(BLANK))
    assert encoded.status is Status.OK
    assert encoded.detail == {"faces": 0.0, "frames_with_face": 0}
    assert not encoded.values[192:384].any()
    assert encoded.values[384:].tolist() == [1.0, 0.0]
    assert both.encode(Clip(frames_status=Status.UNREADABLE)) == Encoded(None, Status.UNREADABLE)
    assert both.encode(Clip()).status is Status.NO_VIDEO


def test_pictures_have_no_scene(both: Any, weights: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    features = both.encode_pictures(pictures)
    assert features.values.shape == (3, both.dim)
    assert not features.values[:, :192].any()
    assert features.values[:, 384:].tolist() == [[0.0, 1.0]] * 3
    alone = build(weights=weights).encode_pictures(pictures).values
    np.testing.assert_array_equal(features.values[:, 192:384], alone)


def test_the_head_reads_faces_and_is_the_prior_without_one(both: Any, weights: Path, portrait: Any) -> None:
    plain = build(weights=weights)
    head, face_head = both.head, plain.head
    assert face_head is not None
    seen = both.encode(clip(portrait)).values @ head.weight.T + head.bias
    wanted = plain.encode(clip(portrait)).values @ face_head.weight.T + face_head.bias
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
    unseen = both.encode(clip(BLANK)).values @ head.weight.T + head.bias
    np.testing.assert_allclose(unseen, np.log(head.prior), atol=1e-5)
    assert joined_head(face_head).weight.shape == (7, both.dim)


def test_the_contract_with_the_scene(both: Any) -> None:
    assert check_extractor(both).present.all(), "noise has no face, but it is a scene"


def test_joining_by_hand() -> None:
    one, two = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)
    assert joined(one, two, 2).tolist() == [1, 2, 3, 4, 1, 1]
    assert joined(one, None, 2).tolist() == [1, 2, 0, 0, 1, 0]
    assert joined(None, two[None], 2).tolist() == [[0, 0, 3, 4, 0, 1]]


def test_a_whole_frame_is_squeezed() -> None:
    frame = np.zeros((200, 400, 3), dtype=np.uint8)
    frame[:, 200:] = 200
    small = whole_frame(frame)
    assert small.shape == (SIDE, SIDE)
    assert set(small[:, :40].flatten().tolist()) == {0}
    assert set(small[:, 56:].flatten().tolist()) == {200}


# --- which frames ---------------------------------------------------------------------------


def test_successive_frames_lie_about_the_middle(weights: Path) -> None:
    extractor = build(weights=weights, frames=15, spread="successive", fps=25.0)
    times = extractor.wish(Utterance(10.0, 14.0, "")).frames
    assert len(times) == 15
    assert np.diff(times) == pytest.approx(np.full(14, 0.04))
    assert np.mean(times) == pytest.approx(12.0)
    short = extractor.wish(Utterance(10.0, 10.21, "")).frames
    assert len(short) == 5, "as many as there is room for"
    assert 10.0 < short[0] < short[-1] < 10.21
    assert extractor.wish(Utterance(10.0, 10.01, "")).frames == pytest.approx((10.005,))
    assert extractor.wish(Utterance(3.0, 3.0, "")).frames == (3.0,)


def test_a_bad_spread_is_named(weights: Path) -> None:
    with pytest.raises(UsageError, match=r"visual\.spread: 'even' is not known"):
        build(weights=weights, spread="even")  # type: ignore[arg-type]


# --- training -------------------------------------------------------------------------------


def pictures_split(name: str, count: int, seed: int) -> Split:
    """Pictures with a bright edge: the side tells the class (mirror images are drawn, so top or bottom)."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    pictures = generator.integers(0, 60, (count, 48, 48)).astype(np.uint8)
    for i, target in enumerate(targets):
        if target < 2:
            pictures[i, 8 + 22 * target : 18 + 22 * target] = 220
    return Split(name, LABELS, name, pictures=pictures, picture_targets=targets)


def job(folder: Path) -> TrainJob:
    splits = {"train": pictures_split("train", 60, 0), "dev": pictures_split("dev", 18, 1)}
    folder.mkdir(exist_ok=True)
    return TrainJob(lambda name, split: splits[split], ("f",), LABELS, folder, 0, lambda p: None, folder)


@pytest.mark.parametrize(
    ("loss", "network"), [("margin", "resnet18"), ("cross_entropy", "resnet18"), ("margin", "small")]
)
def test_every_loss_and_network_learns(tmp_path: Path, loss: Any, network: Any) -> None:
    folder = tmp_path / "run"
    done = train(job(folder), epochs=4, lr=3e-3, batch=20, average=0.0, loss=loss, network=network, width=4)
    assert done.metrics["dev"]["accuracy"] > 60, "chance is 33"
    extractor = build(weights=folder / "visual.safetensors")
    assert extractor.dim == (300 if network == "resnet18" else 192)
    split = pictures_split("dev", 18, 1)
    assert split.pictures is not None
    assert extractor.head is not None
    values = extractor.encode_pictures(split.pictures).values
    said = (values @ extractor.head.weight.T + extractor.head.bias).argmax(1)
    right = 100 * float((said == split.picture_targets).mean())
    assert right == pytest.approx(done.metrics["dev"]["accuracy"], abs=6), "float16 moves at most one"


@pytest.mark.parametrize("stem", [2, 4])
def test_the_resnet_is_saved_and_loaded(tmp_path: Path, stem: int) -> None:
    torch.manual_seed(0)
    net = ExpressionNet(7, ResNet18(width=4, channels=1, projection=20, stem=stem)).eval()
    save_expression_net(net, np.full(7, 1 / 7, np.float32), tmp_path / "v.safetensors")
    again, head = load_expression_net(tmp_path / "v.safetensors")
    pictures = torch.rand(2, 1, 48, 48) * 255
    torch.testing.assert_close(again(pictures), net(pictures), atol=2e-2, rtol=2e-2)
    assert head.weight.shape == (7, 20)


def test_pictures_are_spoilt_as_cameras_do() -> None:
    """Stripes one pixel wide vanish in a small picture, and light in a dark one; the others stay."""
    torch.manual_seed(0)
    stripes = (torch.arange(40) % 2 * 200.0).expand(4000, 1, 40, 40).contiguous()
    spoilt = spoil(stripes, 0.2)
    assert spoilt.shape == stripes.shape
    same = (spoilt == stripes).flatten(1).all(1)
    assert float(same.float().mean()) == pytest.approx(0.64, abs=0.03)
    contrast = spoilt.diff(dim=-1).abs().mean((1, 2, 3)) / spoilt.mean((1, 2, 3))
    assert float((contrast < 1).float().mean()) == pytest.approx(0.2, abs=0.03)  # small: 2 in a clear one
    assert float((spoilt.mean((1, 2, 3)) < 95).float().mean()) == pytest.approx(0.19, abs=0.03)  # dark
    assert torch.equal(spoil(stripes[:3], 0.0), stripes[:3])


def test_the_shipped_weights_load_and_keep_their_features(root: Path) -> None:
    """Features of a fixed picture, as they were when the preset was made."""
    extractor = build(weights=root / "presets" / "default" / "visual.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (9, 48, 48), dtype=np.uint8)
    values = extractor.encode_pictures(pictures).values
    assert values.shape == (9, 300)
    assert values[0, :4] == pytest.approx([0.10067, -0.00141, 0.00255, 0.18604], abs=1e-3)
    assert float(values[0].sum()) == pytest.approx(2.0973, abs=0.02)
