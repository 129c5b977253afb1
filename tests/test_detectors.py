"""The detectors of `faces`: real networks on real pictures, and files that are something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Erc
from facekit import arcface_like, scrfd_like
from test_mtcnn import PORTRAIT_BOX, PORTRAIT_LANDMARKS, REFERENCE, frames, iou

from erc_cli.device import Placement
from erc_cli.errors import ErcError, UsageError
from erc_cli.faces.onnx_file import Kind, find_network, read_network
from erc_cli.faces.reader import placed
from erc_cli.faces.record import Detector, detect_all
from erc_cli.types import Clip, Frame, Status
from erc_visual_faces import build
from erc_visual_faces.detectors import make_detector
from erc_visual_faces.network import ExpressionNet, save_expression_net

HERE = Path(__file__).parent
NETWORKS = {
    "scrfd": ("models/scrfd/scrfd_2.5g_kps.onnx", "models/scrfd/scrfd_500m_kps.onnx"),
    "yunet": ("models/yunet/yunet_n_640_640.onnx", "models/yunet/yunet_n_dynamic.onnx"),
}
EVERY = [(name, path) for name, paths in NETWORKS.items() for path in paths]
LIBRARIES = {"scrfd": ("insightface", "onnxruntime"), "yunet": ("cv2", "onnx")}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def portrait() -> Any:
    with av.open(str(HERE / "data" / "astronaut.jpg")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "visual.safetensors"
    save_expression_net(ExpressionNet(classes=7).eval(), np.full(7, 1 / 7, np.float32), path)
    return path


def libraries(name: str) -> None:
    for library in LIBRARIES[name]:
        pytest.importorskip(library, reason=f"the detector {name} needs {library}", exc_type=ImportError)


def made(name: str, shared: Path, path: str, min_face: int = 40) -> Detector:
    libraries(name)
    file = shared / "data" / path
    if not file.exists():
        pytest.skip(f"needs {path} of the shared data")
    return make_detector(name, file, min_face, "cpu")


# --- on real pictures -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_detectors_agree_on_clear_faces(name: str, path: str, shared: Path) -> None:
    """On seven films: as many faces as MTCNN, boxes that overlap, landmarks in the same places."""
    detector, mtcnn = made(name, shared, path), make_detector("mtcnn", None, 40, "cpu")
    overlap = []
    for film, number, boxes, _ in REFERENCE:
        picture = frames(shared / "data" / "media" / film, [number])
        ours, theirs = (detect_all(d, picture)[0] for d in (mtcnn, detector))
        assert len(ours) == len(theirs) == len(boxes), film
        for face in ours:
            other = max(theirs, key=lambda one: iou(one.box, face.box))
            overlap.append(iou(other.box, face.box))
            assert np.abs(other.landmarks - face.landmarks).max() < 0.12 * face.side
            assert 0.5 < other.score <= 1
            assert other.landmarks.dtype == np.float32
    assert min(overlap) >= 0.5
    assert np.mean(overlap) > 0.85


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_portrait(name: str, path: str, shared: Path, portrait: Any) -> None:
    (face,) = made(name, shared, path).detect_batch([portrait])[0]
    assert iou(face.box, PORTRAIT_BOX) > 0.75
    assert np.abs(face.landmarks - PORTRAIT_LANDMARKS).max() < 6


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_no_face_where_none_is(name: str, path: str, shared: Path) -> None:
    detector, media = made(name, shared, path), shared / "data" / "media" / "pyfeat"
    for film, numbers in (
        ("no_face.mp4", [5, 50, 90]),
        ("face_noface.mov", [150]),
        ("noface_face.mov", [10]),
    ):
        assert detect_all(detector, frames(media / film, numbers)) == [[]] * len(numbers)


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_min_face_is_in_pixels_of_the_frame(name: str, shared: Path, portrait: Any) -> None:
    """The portrait's face is about 54x69 pixels."""
    path = NETWORKS[name][0]
    assert len(made(name, shared, path, 60).detect_batch([portrait])[0]) == 1
    assert made(name, shared, path, 80).detect_batch([portrait]) == [[]]
    small = np.ascontiguousarray(portrait[60:90, 120:160])
    assert made(name, shared, path, 40).detect_batch([small]) == [[]], "smaller than any face looked for"


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_frames_of_any_shape(name: str, shared: Path, portrait: Any) -> None:
    detector = made(name, shared, NETWORKS[name][0])
    tall, wide = np.pad(portrait, ((0, 700), (0, 0), (0, 0))), np.pad(portrait, ((0, 0), (0, 901), (0, 0)))
    once = detector.detect_batch([portrait])[0][0]
    for picture in (tall, wide, np.asfortranarray(portrait)):
        (face,) = detector.detect_batch([picture])[0]
        assert iou(face.box, once.box) > 0.8
    for shape in ((1, 1, 3), (2, 700, 3), (0, 0, 3)):
        assert detector.detect_batch([np.zeros(shape, np.uint8)]) == [[]]


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_the_extractor_with_each_detector(name: str, shared: Path, weights: Path, portrait: Any) -> None:
    libraries(name)
    network = shared / "data" / NETWORKS[name][0]
    blank = np.full((120, 200, 3), 128, dtype=np.uint8)
    one, other = build(weights=weights), build(weights=weights, detector=name, detector_weights=network)  # type: ignore[arg-type]
    clip = Clip(frames=(Frame(0.0, portrait), Frame(1.0, blank)))
    mine, theirs = one.encode(clip), other.encode(clip)
    assert theirs.status is Status.OK
    assert {"faces": 0.5, "frames_with_face": 1}.items() <= theirs.detail.items()
    assert mine.values is not None
    assert theirs.values is not None
    cosine = mine.values @ theirs.values / np.linalg.norm(mine.values) / np.linalg.norm(theirs.values)
    assert float(cosine) > 0.97, "nearly the same crop"
    assert other.encode(Clip(frames=(Frame(0.0, blank),))).status is Status.NO_FACE


# --- made by hand ---------------------------------------------------------------------------


def test_a_tiny_scrfd_is_decoded(tmp_path: Path) -> None:
    libraries("scrfd")
    box = (200.0, 120.0, 296.0, 232.0)
    detector = make_detector("scrfd", scrfd_like(tmp_path / "d.onnx", box), 40, "cpu")
    bright = np.full((360, 640, 3), 255, np.uint8)
    (face,) = detector.detect_batch([bright])[0]
    assert face.box == pytest.approx(box, abs=1e-3)
    assert face.score == pytest.approx(1.0), "a score beyond 1 is cut"
    assert face.landmarks[0] == pytest.approx((228.8, 164.8), abs=1e-3)
    assert detector.detect_batch([np.zeros((360, 640, 3), np.uint8)]) == [[]]
    large = np.full((720, 1280, 3), 255, np.uint8)
    (face,) = detector.detect_batch([large])[0]
    assert face.box == pytest.approx([2 * v for v in box], abs=1e-3), "a frame beyond the input is scaled"
    folder = tmp_path / "folder"
    folder.mkdir()
    scrfd_like(folder / "d.onnx", box)
    arcface_like(folder / "a.onnx")
    assert make_detector("scrfd", folder, 40, "cpu").detect_batch([bright])[0][0].box == face_box(box)


def face_box(box: tuple[float, ...]) -> Any:
    return pytest.approx(box, abs=1e-3)


# --- files that are something else ----------------------------------------------------------


def bad_files(folder: Path) -> dict[str, tuple[bytes, str]]:
    whole = scrfd_like(folder / "whole.onnx", (100, 100, 200, 200)).read_bytes()
    return {
        "page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "it is a web page"),
        "cut": (whole[: len(whole) // 2], "it is no ONNX file, or was cut short"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        "text": (b"hello", "it is no ONNX file"),
        "empty": (b"", "it holds no network"),
        "pickle": (b"\x80\x04\x95cos\nsystem\n", "it is no ONNX file"),
    }


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
@pytest.mark.parametrize("kind", ["page", "cut", "pointer", "text", "empty", "pickle"])
def test_damaged_files_are_refused(
    name: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    libraries(name)
    pytest.importorskip("onnx")
    content, said = bad_files(tmp_path)[kind]
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.onnx cannot be used") as caught:
        make_detector(name, path, 40, "cpu")
    assert said in caught.value.message
    assert "erc models list" in str(caught.value.hint)
    assert capfd.readouterr() == ("", ""), "the libraries say nothing of their own"


def test_networks_are_told_apart(tmp_path: Path, shared: Path) -> None:
    libraries("scrfd")
    box = (100.0, 100.0, 200.0, 200.0)
    made_kinds = {
        scrfd_like(tmp_path / "s.onnx", box): Kind.SCRFD,
        scrfd_like(tmp_path / "b.onnx", box, landmarks=False): Kind.SCRFD_BARE,
        arcface_like(tmp_path / "a.onnx"): Kind.ARCFACE,
        arcface_like(tmp_path / "c.onnx", side=192): Kind.OTHER,
    }
    real = {"scrfd/scrfd_2.5g_kps": Kind.SCRFD, "yunet/yunet_n_dynamic": Kind.YUNET}
    real |= {"yunet/yunet_n_640_640": Kind.YUNET, "silero_vad/silero_vad": Kind.OTHER}
    made_kinds |= {shared / "data" / "models" / f"{n}.onnx": kind for n, kind in real.items()}
    assert {path.name: read_network(path).kind for path in made_kinds} == {
        path.name: kind for path, kind in made_kinds.items()
    }
    with pytest.raises(UsageError, match="is a YuNet face detector, not an SCRFD face detector"):
        make_detector("scrfd", shared / "data/models/yunet/yunet_n_640_640.onnx", 40, "cpu")
    with pytest.raises(UsageError, match="is an SCRFD face detector, not a YuNet face detector"):
        make_detector("yunet", tmp_path / "s.onnx", 40, "cpu")
    with pytest.raises(UsageError, match="without landmarks, not an SCRFD"):
        make_detector("scrfd", tmp_path / "b.onnx", 40, "cpu")
    with pytest.raises(UsageError, match=r"holds several of a face embedding .*: a.onnx and z.onnx"):
        arcface_like(tmp_path / "z.onnx")
        find_network(tmp_path, Kind.ARCFACE)
    with pytest.raises(UsageError, match="holds no ONNX file of a YuNet"):
        find_network(tmp_path, Kind.YUNET)


def test_numbers_kept_elsewhere_are_not_followed(tmp_path: Path) -> None:
    """A file may name another one, anywhere, as the place of its numbers."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(arcface_like(tmp_path / "a.onnx")))
    onnx.save_model(model, str(tmp_path / "b.onnx"), save_as_external_data=True, size_threshold=0)
    with pytest.raises(UsageError, match="keeps its numbers in other files"):
        read_network(tmp_path / "b.onnx")


def test_a_network_that_cannot_be_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The shapes are SCRFD's, but an operation is unknown."""
    libraries("scrfd")
    import onnx

    model = onnx.load(str(scrfd_like(tmp_path / "d.onnx", (100, 100, 200, 200))))
    model.graph.node[0].op_type = "Frobnicate"
    onnx.save(model, str(tmp_path / "d.onnx"))
    with pytest.raises(UsageError, match=r"d\.onnx cannot be run: .*Frobnicate"):
        make_detector("scrfd", tmp_path / "d.onnx", 40, "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_a_missing_library_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    extra = {"scrfd": "insightface", "yunet": "yunet"}[name]
    with pytest.raises(ErcError, match=f"The detector {name} needs .*opencv-python") as caught:
        make_detector(name, tmp_path / "any.onnx", 40, "cpu")
    assert caught.value.hint == f"Type: pip install 'erc-cli[{extra}]'"


def test_which_detectors_want_weights(weights: Path) -> None:
    with pytest.raises(UsageError, match=r"visual\.detector: yunet needs its network") as caught:
        build(weights=weights, detector="yunet")
    assert "--set visual.detector_weights=FILE" in str(caught.value.hint)
    with pytest.raises(UsageError, match="mtcnn has its own weights"):
        build(weights=weights, detector_weights=weights)


# --- devices --------------------------------------------------------------------------------


def test_providers_follow_the_device() -> None:
    from erc_cli.faces.onnx_run import CPU, CUDA, providers

    assert providers("cpu", (CUDA, CPU)) == [CPU]
    assert providers("cuda", (CUDA, CPU)) == [(CUDA, {"device_id": 0}), CPU]
    assert providers("cuda:1", (CUDA, CPU)) == [(CUDA, {"device_id": 1}), CPU]
    assert providers("cuda", (CPU,)) == [CPU]
    assert providers("mps", ("CoreMLExecutionProvider", CPU)) == [CPU]


def test_a_detector_that_stays_on_the_cpu_is_told(tmp_path: Path) -> None:
    libraries("scrfd")
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    detector = make_detector("scrfd", scrfd_like(tmp_path / "d.onnx", (100, 100, 200, 200)), 40, "cuda")
    assert detector.device == "cpu"
    said = placed("cuda", {"detector": detector})
    assert said.device == "cuda", "the rest of the extractor"
    assert said.note == "detector on the CPU; onnxruntime has no CUDA here, see onnxruntime-gpu"
    assert placed("cuda", {"detector": detector}, alone=True).device == "cpu"
    assert placed("cpu", {"detector": detector, "face embedding": None}) == Placement("cpu")


@pytest.mark.gpu
def test_boxes_on_the_gpu_are_those_of_the_cpu(shared: Path, portrait: Any) -> None:
    libraries("scrfd")
    path = shared / "data" / NETWORKS["scrfd"][0]
    here, there = (make_detector("scrfd", path, 40, device) for device in ("cpu", "cuda"))
    if there.device != "cuda":
        pytest.skip("needs onnxruntime-gpu")
    (one,), (other,) = here.detect_batch([portrait])[0], there.detect_batch([portrait])[0]
    assert one.box == pytest.approx(other.box, abs=0.5)


# --- as a user does -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_the_default_preset_with_another_detector(name: str, erc: Erc, root: Path, shared: Path) -> None:
    libraries(name)
    network = shared / "data" / NETWORKS[name][0]
    film = [root / "examples" / f"conversation.{ending}" for ending in ("mp4", "srt")]
    answer = erc(
        *("predict", film[0], "--transcript", film[1], "--json", "--drop", "text", "--drop", "audio"),
        *("--set", f"visual.detector={name}", "--set", f"visual.detector_weights={network}"),
    )
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    said = [u["modalities"]["visual"]["status"] for u in result["utterances"]]
    assert said == ["ok", "ok", "no_face", "no_face", "ok", "ok", "ok", "no_face"], "as with mtcnn"
    assert "onnx" not in answer.stderr.lower()
    assert "[W:" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_bad_weights_on_the_command_line(erc: Erc, root: Path, tmp_path: Path) -> None:
    libraries("yunet")
    page = tmp_path / "yunet.onnx"
    page.write_text("<html>Sign in</html>")
    film = [root / "examples" / f"conversation.{ending}" for ending in ("mp4", "srt")]
    answer = erc(
        *("predict", film[0], "--transcript", film[1], "--json", "--drop", "text", "--drop", "audio"),
        *("--set", "visual.detector=yunet", "--set", f"visual.detector_weights={page}"),
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "it is a web page" in answer.stderr
    assert "erc models list" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_reading_faces_is_silent(shared: Path) -> None:
    """Nothing on stdout or stderr, in a process of its own, from import to detection."""
    libraries("scrfd")
    libraries("yunet")
    files = {name: str(shared / "data" / paths[-1]) for name, paths in NETWORKS.items()}
    code = f"""
import numpy as np, pathlib
from erc_visual_faces.detectors import make_detector
for name, path in {files!r}.items():
    made = make_detector(name, pathlib.Path(path), 40, "cpu")
    made.detect_batch([np.zeros((90, 160, 3), np.uint8), np.zeros((200, 160, 3), np.uint8)])
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
