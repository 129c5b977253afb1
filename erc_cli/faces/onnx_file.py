"""What is in an ONNX file of a face network, told by its inputs and outputs before it is run.

Files that are something else are refused here, in a user's words: the libraries that run them would print
their own, or answer with nonsense.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError, UsageError
from erc_cli.registry import listed

MAX_BYTES = 1 << 30  # the largest recognition network of a pack has about 250 MB
Shape = tuple[int | None, ...]
_NAMES = {"cv2": "opencv-python"}
_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")


class Kind(StrEnum):
    """What a network is, in a user's words."""

    SCRFD = "an SCRFD face detector"
    SCRFD_BARE = "an SCRFD face detector without landmarks"
    YUNET = "a YuNet face detector"
    ARCFACE = "a face embedding of 112x112 pictures"
    OTHER = "another network"


@dataclass(frozen=True, slots=True)
class Network:
    """An ONNX file: names and shapes of its inputs and outputs, None for a size that is not fixed."""

    path: Path
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]

    @property
    def kind(self) -> Kind:
        """What it is by its shapes: one picture [n, 3, h, w] in, boxes or an embedding out."""
        if len(self.inputs) != 1 or len(self.inputs[0][1]) != 4 or self.inputs[0][1][1] not in (3, None):
            return Kind.OTHER
        names = {name.rsplit("_", 1)[0] for name, _ in self.outputs}
        if len(self.outputs) == 12 and names == {"cls", "obj", "bbox", "kps"}:
            return Kind.YUNET
        ends = [shape[-1] if shape else None for _, shape in self.outputs]
        for levels in (3, 5):  # strides 8, 16, 32; of RetinaFace's layout, to 128
            for widths, kind in (((1, 4, 10), Kind.SCRFD), ((1, 4), Kind.SCRFD_BARE)):
                if _fits(ends, [width for width in widths for _ in range(levels)]):
                    return kind
        if len(ends) == 1 and self.inputs[0][1][2:] == (112, 112) and len(self.outputs[0][1]) == 2:
            return Kind.ARCFACE
        return Kind.OTHER


def _fits(found: list[int | None], wanted: list[int]) -> bool:
    return len(found) == len(wanted) and all(f in (w, None) for f, w in zip(found, wanted, strict=True))


def need(modules: tuple[str, ...], what: str, extra: str) -> None:
    """Raise ErcError with the pip command when a library that `what` needs is not installed."""
    missing = [_NAMES.get(name, name) for name in modules if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ErcError(
            f"{what} needs {listed(missing)}, which {verb} not installed.",
            hint=f"Type: pip install 'erc-cli[{extra}]'",
        )


def read_network(path: Path) -> Network:
    """The inputs and outputs of an ONNX file; nothing of it is run.

    Raises:
        UsageError: it is no ONNX file, cut short, or keeps its numbers in other files.
    """
    model = _parsed(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_described(value) for value in model.graph.input if value.name not in weights)
    outputs = tuple(_described(value) for value in model.graph.output)
    if not inputs or not outputs:
        raise _refused(path, "it holds no network")
    if any(tensor.data_location for tensor in model.graph.initializer):
        raise _refused(path, "it keeps its numbers in other files, which erc does not follow")
    return Network(path, inputs, outputs)


def _parsed(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if path.stat().st_size > MAX_BYTES:
        raise _refused(path, f"it is larger than {MAX_BYTES >> 20} MB")
    content = path.read_bytes()
    start = content[:512].lstrip().lower()
    if start.startswith(_PAGE):
        raise _refused(path, "it is a web page (an error page, saved under the model's name?)")
    if start.startswith(b"version https://git-lfs"):
        raise _refused(path, "it is a Git LFS pointer, not the file itself")
    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError:
        raise _refused(path, "it is no ONNX file, or was cut short") from None


def _described(value: Any) -> tuple[str, Shape]:
    sizes = value.type.tensor_type.shape.dim
    return value.name, tuple(size.dim_value if size.dim_value > 0 else None for size in sizes)


def _refused(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} cannot be used: {reason}.", hint="Get the file again, or name another. See: erc models list"
    )


def find_network(where: Path | Network, wanted: Kind) -> Network:
    """The network of a file, or the only one of its kind among the `*.onnx` of a folder.

    Raises:
        UsageError: there is none, it is of another kind, or there are several.
    """
    if isinstance(where, Path) and where.is_dir():
        return pick(read_folder(where), wanted, where)
    network = where if isinstance(where, Network) else read_network(where)
    if network.kind is not wanted:
        raise UsageError(
            f"{network.path} is {network.kind}, not {wanted}.", hint="Name another file. See: erc models list"
        )
    return network


def read_folder(folder: Path) -> list[Network]:
    """Every `*.onnx` of a folder, by name.

    Raises:
        UsageError: one of them is damaged.
    """
    return [read_network(path) for path in sorted(folder.glob("*.onnx")) if path.is_file()]


def pick(networks: list[Network], wanted: Kind, folder: Path) -> Network:
    """The only one of its kind.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [network for network in networks if network.kind is wanted]
    if not found:
        raise UsageError(
            f"{folder} holds no ONNX file of {wanted}.", hint="Name another folder. See: erc models list"
        )
    if len(found) > 1:
        names = listed(network.path.name for network in found)
        raise UsageError(f"{folder} holds several of {wanted}: {names}.", hint="Keep one of them.")
    return found[0]
