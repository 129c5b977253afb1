"""The extractor `insightface`: packs, embeddings, the weighted face model, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import yaml
from conftest import EMOTIONS, Erc, needs
from facekit import arcface_like, scrfd_like

from erc_cli.errors import ErcError, UsageError
from erc_cli.faces.align import ARCFACE, aligned, place_on
from erc_cli.faces.arcface import ArcFace
from erc_cli.faces.people import PEOPLE
from erc_cli.faces.record import Face
from erc_cli.testing import check_extractor, talk
from erc_cli.types import Clip, Conversation, Frame, Status, Utterance
from erc_visual_insightface import build, erc_extractors

needs("insightface", "insightface", "onnxruntime")
HERE = Path(__file__).parent
BOX = (200.0, 120.0, 296.0, 232.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack made by hand, with the other networks that InsightFace's have beside the two."""
    folder = tmp_path_factory.mktemp("pack")
    scrfd_like(folder / "det_10g.onnx", BOX)
    arcface_like(folder / "w600k_r50.onnx")
    arcface_like(folder / "1k3d68.onnx", side=192)
    return folder


@pytest.fixture(scope="module")
def extractor(pack: Path) -> Any:
    return build(pack=pack)


@pytest.fixture(scope="module")
def portrait() -> Any:
    with av.open(str(HERE / "data" / "astronaut.jpg")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def clip(*pictures: Any) -> Clip:
    return Clip(frames=tuple(Frame(float(i), picture) for i, picture in enumerate(pictures)))


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)


# --- alignment and embedding ----------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 25, -60])
def test_a_turned_face_is_put_upright(degrees: float) -> None:
    turn = 2.5 * np.exp(1j * np.radians(degrees))
    points = 200 + 90j + turn * (ARCFACE[:, 0] + 1j * ARCFACE[:, 1])
    face = Face((0, 0, 1, 1), 1.0, np.stack([points.real, points.imag], 1).astype(np.float32))
    where = place_on(face, ARCFACE)
    assert where.step == pytest.approx(turn, abs=1e-4)
    assert where.origin == pytest.approx(200 + 90j, abs=1e-2)


def test_alignment_is_that_of_the_library(portrait: Any) -> None:
    """The same crop as insightface's own `norm_crop`, up to how pixels are averaged."""
    cv2 = pytest.importorskip("cv2")
    landmarks = np.array(
        [[128, 63.6], [154.9, 65.1], [141.2, 80.9], [126.5, 87.7], [153.8, 89.3]], np.float32
    )
    face = Face((112, 39, 167, 109), 1.0, landmarks)
    where = place_on(face, ARCFACE)
    step, origin = where.step, where.origin
    matrix = np.array([[step.real, -step.imag, origin.real], [step.imag, step.real, origin.imag]])
    theirs = cv2.warpAffine(portrait, matrix, (112, 112), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    ours = aligned(portrait, [face], ARCFACE, 112)[0]
    assert np.abs(ours.astype(int) - theirs).mean() < 4
    fitted = _estimated(landmarks)
    np.testing.assert_allclose(matrix, fitted, atol=0.02)


def _estimated(landmarks: Any) -> Any:
    """The inverse of scikit-image's similarity (Umeyama), which insightface uses."""
    transform = pytest.importorskip("skimage.transform")
    found = transform.SimilarityTransform.from_estimate(landmarks, ARCFACE.astype(np.float32))
    return np.linalg.inv(found.params)[:2]


def test_colours_go_in_as_the_library_has_them(pack: Path) -> None:
    """Red first, scaled to -1..1: what the network's own matrix says by hand."""
    net = ArcFace(pack)
    picture = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    matrix = np.random.default_rng(0).normal(0, 1, (48, 16)).astype(np.float32)
    x = (picture[0].astype(np.float32) - 127.5) / 127.5
    small = x.reshape(4, 28, 4, 28, 3).mean((1, 3)).transpose(2, 0, 1).reshape(-1)
    by_hand = small @ matrix
    np.testing.assert_allclose(net.embed_pictures(picture)[0], by_hand / np.linalg.norm(by_hand), atol=1e-4)
    assert net.dim == 16


def test_a_network_for_one_picture_at_a_time(tmp_path: Path, pack: Path) -> None:
    arcface_like(tmp_path / "one.onnx", batch=1)
    arcface_like(tmp_path / "four.onnx", batch=4)
    pictures = np.random.default_rng(1).integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)
    expected = ArcFace(pack).embed_pictures(pictures)
    for name in ("one.onnx", "four.onnx"):
        np.testing.assert_allclose(ArcFace(tmp_path / name).embed_pictures(pictures), expected, atol=1e-5)
    assert ArcFace(pack).embed_pictures(pictures[:0]).shape == (0, 16)


# --- the extractor --------------------------------------------------------------------------


def test_the_contract(extractor: Any) -> None:
    features = check_extractor(extractor)
    assert features.present.all(), "noise is not black: this detector sees a face in it"
    assert features.values.shape == (4, 16)
    assert extractor.head is None


def test_a_face_gives_its_unit_embedding(extractor: Any, pack: Path) -> None:
    picture, black = noise(0), np.zeros((360, 640, 3), np.uint8)
    face = Face(BOX, 1.0, _landmarks())
    expected = ArcFace(pack).embed(picture, [face])[0]
    encoded = extractor.encode(clip(picture, black))
    assert {"faces": 0.5, "frames_with_face": 1}.items() <= encoded.detail.items()
    np.testing.assert_allclose(encoded.values, expected, atol=1e-5)
    assert extractor.encode(clip(black)).status is Status.NO_FACE
    assert extractor.encode(Clip(frames_status=Status.NO_VIDEO)).status is Status.NO_VIDEO
    other = noise(1)
    mean = (expected + ArcFace(pack).embed(other, [face])[0]) / 2
    np.testing.assert_allclose(extractor.encode(clip(picture, other)).values, mean, atol=1e-5)


def _landmarks() -> Any:
    shares = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)
    return (np.array(BOX[:2]) + shares * (np.array(BOX[2:]) - BOX[:2])).astype(np.float32)


def test_the_speaker_is_looked_for(pack: Path) -> None:
    extractor = build(pack=pack, faces="speaker")
    rows = [extractor.encode(clip(noise(i), noise(i + 9))) for i in range(3)]
    assert all(len(row.detail[PEOPLE]) >= 1 for row in rows)
    conversation = Conversation(tuple(Utterance(i, i + 1, "", "Anna") for i in range(3)))
    features = extractor.gather(conversation, rows)
    told = {"faces", "frames_with_face", "boxes", "identity", "identity_confidence"}
    assert [set(d) - {"speaker_boxes"} for d in features.detail] == [told] * 3
    assert check_extractor(extractor, talk()).values.shape == (4, 16)


def test_pictures_of_faces(extractor: Any) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 48, 48), dtype=np.uint8)
    features = extractor.encode_pictures(pictures)
    assert features.values.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(features.values, axis=1), 1, atol=1e-5)
    doubled = np.kron(pictures[:1], np.ones((1, 2, 2), np.uint8))
    assert float(extractor.encode_pictures(doubled).values[0] @ features.values[0]) > 0.99
    assert extractor.encode_pictures(pictures[:0]).values.shape == (0, 16)
    with pytest.raises(ErcError, match=r"not float32 \[1, 48, 48\]"):
        extractor.encode_pictures(pictures[:1].astype(np.float32))


def test_a_real_detector_in_a_pack(shared: Path, pack: Path, tmp_path: Path, portrait: Any) -> None:
    source = shared / "data" / "models" / "scrfd" / "scrfd_2.5g_kps.onnx"
    if not source.exists():
        pytest.skip("needs models/scrfd of the shared data")
    shutil.copy(source, tmp_path / "det.onnx")
    shutil.copy(pack / "w600k_r50.onnx", tmp_path)
    encoded = build(pack=tmp_path).encode(clip(portrait))
    assert encoded.status is Status.OK
    assert {"faces": 1.0, "frames_with_face": 1}.items() <= encoded.detail.items()
    assert float(np.linalg.norm(encoded.values)) == pytest.approx(1, abs=1e-4)


# --- packs that are none --------------------------------------------------------------------


def test_a_missing_pack_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would go to the network and make a folder; it is never asked."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(UsageError, match=r"visual\.pack: .*buffalo_l is not there") as caught:
        build(pack=tmp_path / "buffalo_l")
    assert "erc models list" in str(caught.value.hint)
    assert not (tmp_path / "buffalo_l").exists()
    assert list(home.iterdir()) == []


def test_packs_that_lack_something(tmp_path: Path, pack: Path) -> None:
    archive = tmp_path / "buffalo_l.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(UsageError, match="is a file; a pack is a folder"):
        build(pack=archive)
    folder = tmp_path / "pack"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"holds no \*\.onnx file"):
        build(pack=folder)
    shutil.copy(pack / "w600k_r50.onnx", folder)
    with pytest.raises(UsageError, match="holds no ONNX file of an SCRFD face detector"):
        build(pack=folder)
    shutil.copy(pack / "det_10g.onnx", folder)
    shutil.copy(pack / "det_10g.onnx", folder / "det_2.onnx")
    with pytest.raises(UsageError, match=r"holds several of an SCRFD face detector: det_10g\.onnx and det_2"):
        build(pack=folder)
    (folder / "det_2.onnx").write_text("<html>Not Found</html>")
    with pytest.raises(UsageError, match=r"det_2\.onnx cannot be used: it is a web page"):
        build(pack=folder)


def test_links_of_a_cache_are_followed(tmp_path: Path, pack: Path) -> None:
    """In the Hugging Face cache a file is a link to one without its ending."""
    for name in ("det_10g.onnx", "w600k_r50.onnx"):
        blob = tmp_path / "blobs" / name.removesuffix(".onnx")
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(pack / name, blob)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "snapshot" / name).symlink_to(blob)
    assert build(pack=tmp_path / "snapshot").encode(clip(noise(0))).status is Status.OK
    assert ArcFace((tmp_path / "snapshot" / "w600k_r50.onnx").resolve()).dim == 16


def test_the_front_page_and_its_licence() -> None:
    (spec,) = erc_extractors()
    assert "non-commercial research" in spec.licence
    assert spec.extra == "insightface"


# --- as a user does -------------------------------------------------------------------------


def test_shown_with_its_terms(erc: Erc) -> None:
    answer = erc("plugins", "show", "insightface", "--json")
    assert answer.returncode == 0
    assert "non-commercial research" in json.dumps(json.loads(answer.stdout))


def test_trained_and_used(erc: Erc, pack: Path, tiny_fer: Path, root: Path, tmp_path: Path) -> None:
    """A preset with this branch: the fusion fits its head on pictures, then reads a film."""
    preset = tmp_path / "faces.yaml"
    content = {
        "summary": "faces by insightface",
        "labels": list(EMOTIONS),
        "extractors": {"visual": {"use": "insightface", "pack": os.path.relpath(pack, tmp_path)}},
        "fusion": {"use": "late"},
        "train": {"fusion": {"data": ["fer2013"], "epochs": 2, "hidden": 0, "ensemble": 1}},
    }
    preset.write_text(yaml.safe_dump(content))
    run = tmp_path / "run"
    trained = erc("train", preset, "--data", f"fer2013:{tiny_fer}", "-o", run)
    assert trained.returncode == 0, trained.stderr
    film = [root / "examples" / f"conversation.{ending}" for ending in ("mp4", "srt")]
    answer = erc("predict", film[0], "--transcript", film[1], "--preset", run, "--json")
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert {u["modalities"]["visual"]["status"] for u in result["utterances"]} <= {"ok", "no_face"}
    assert result["utterances"][0]["modalities"]["visual"]["status"] == "ok"
    assert result["meta"]["plugins"]["visual"].startswith("insightface")
    assert "onnxruntime" not in answer.stderr


def test_swapped_into_a_preset_that_learnt_other_faces(erc: Erc, pack: Path, root: Path) -> None:
    film = [root / "examples" / f"conversation.{ending}" for ending in ("mp4", "srt")]
    preset = ("--set", "visual.use=insightface", "--set", f"visual.pack={pack}")
    answer = erc("predict", film[0], "--transcript", film[1], "--drop", "text", "--drop", "audio", *preset)
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert "trained on the features of faces" in answer.stderr


def test_a_pack_that_is_not_there(erc: Erc, root: Path) -> None:
    film = [root / "examples" / f"conversation.{ending}" for ending in ("mp4", "srt")]
    answer = erc(
        *("predict", film[0], "--transcript", film[1], "--drop", "text", "--drop", "audio"),
        *("--set", "visual.use=insightface", "--set", "visual.pack=no_such_pack"),
    )
    assert answer.returncode == 2
    assert "no_such_pack" in answer.stderr
    assert "Traceback" not in answer.stderr
