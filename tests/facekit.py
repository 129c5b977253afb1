"""Tiny ONNX files with the shapes of SCRFD's and ArcFace's networks, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 640
STRIDES = (8, 16, 32)


def save(path: Path, nodes: Sequence[Any], inputs: Any, outputs: Any, weights: Any) -> Path:
    """A model of opset 12, checked."""
    import onnx
    from onnx import helper, numpy_helper

    def values(named: dict[str, Sequence[int | str]]) -> list[Any]:
        return [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in named.items()]

    tensors = [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "made", values(inputs), values(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def scrfd_like(path: Path, box: tuple[float, float, float, float], *, landmarks: bool = True) -> Path:
    """A detector of SCRFD's output layout for 640x640: it finds a face at `box` in whatever is not black."""
    from onnx import helper

    left, top, right, bottom = box
    x, y = round((left + right) / 16), round((top + bottom) / 16)  # the cell of stride 8 in its middle
    row = (y * (SIDE // 8) + x) * 2
    middle = np.array([x, y]) * 8
    distances = [middle[0] - left, middle[1] - top, right - middle[0], bottom - middle[1]]
    shares = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    points = [
        (left + a * (right - left) - middle[0], top + b * (bottom - top) - middle[1]) for a, b in shares
    ]
    widths = (1, 4, 10) if landmarks else (1, 4)
    weights: dict[str, Any] = {"one": [1.0]}
    outputs: dict[str, Any] = {}
    for width in widths:
        for stride in STRIDES:
            answers = np.zeros((1, 2 * (SIDE // stride) ** 2, width))
            if stride == 8:
                answers[0, row] = {1: 0.9, 4: np.array(distances) / 8, 10: np.ravel(points) / 8}[width]
            weights[f"w{width}_{stride}"] = answers
            outputs[f"o{width}_{stride}"] = answers.shape
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Add", ["most", "one"], ["bright"]),
        *(helper.make_node("Mul", [f"w{n[1:]}", "bright"], [n]) for n in outputs if n.startswith("o1_")),
        *(helper.make_node("Identity", [f"w{n[1:]}"], [n]) for n in outputs if not n.startswith("o1_")),
    ]
    return save(path, nodes, {"images": (1, 3, SIDE, SIDE)}, outputs, weights)


def arcface_like(path: Path, dim: int = 16, *, batch: int | str = "n", side: int = 112) -> Path:
    """An embedding: a linear map of the picture shrunk to 4x4, its biases telling the colours apart."""
    from onnx import helper

    matrix = np.random.default_rng(0).normal(0, 1, (48, dim))
    nodes = [
        helper.make_node("AveragePool", ["data"], ["small"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["small"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["embedding"]),
    ]
    return save(
        path, nodes, {"data": (batch, 3, side, side)}, {"embedding": (batch, dim)}, {"matrix": matrix}
    )
