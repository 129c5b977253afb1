"""Frames as planes of YUV 4:2:0, 8 bits, and patches laid over them.

What is drawn is brought to the frame's own colours, and nothing else of the frame is touched: no pixel is
taken to RGB and back. Sources: ITU-R BT.601, BT.709 and BT.2020 for the matrices, H.273 for their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from erc_cli.pictures import is_turned
from erc_format_video.scene import Patch, Screen

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from erc_cli.pictures import Matrix
    from erc_cli.types import ByteArray, FloatArray

FORMAT, FULL_FORMAT = "yuv420p", "yuvj420p"
_FULL_RANGE = 2  # of H.273: AVCOL_RANGE_JPEG
_RGB, _BT709, _UNKNOWN, _BT601 = 0, 1, 2, 6
#: red and blue in luma, by the number of the matrix
_LUMA = {_BT709: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_LUMA_601 = (0.299, 0.114)
_HD = 720  # lines from which BT.709 is meant where nothing is said
_SWS_601 = 5  # libswscale's own number for BT.601


@dataclass(frozen=True, slots=True)
class Look:
    """How frames of a file look: as coded (`width`, `height`), and how they are turned for the viewer.

    `aspect`: width of a pixel over its height, as coded. Numbers of colours are those of H.273.
    """

    width: int
    height: int
    aspect: float
    matrix: Matrix | None
    full: bool
    colorspace: int
    primaries: int
    transfer: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as they are seen, in the pixels of the file."""
        return (self.height, self.width) if is_turned(self.matrix) else (self.width, self.height)

    @property
    def even(self) -> tuple[int, int]:
        """The same, with the column or line more that H.264 needs of an odd size."""
        width, height = self.upright
        return width + width % 2, height + height % 2

    @property
    def upright_aspect(self) -> float:
        """Width of a pixel over its height, as seen."""
        return 1 / self.aspect if is_turned(self.matrix) else self.aspect

    @property
    def screen(self) -> Screen:
        """What is drawn on: square pixels."""
        width, height = self.upright
        return Screen(max(round(width * self.upright_aspect), 1), height)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A patch in the colours of a frame: luma and its cover [h, w], and chromas [2, h/2, w/2] and theirs.

    `left` and `top` are even; cover from 0 to 1.
    """

    left: int
    top: int
    luma: FloatArray
    cover: FloatArray
    chroma: FloatArray
    chroma_cover: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """One frame: `flat` uint8 holds luma [h, w] and the two chromas [h/2, w/2], one after the other."""

    flat: ByteArray
    width: int
    height: int

    @property
    def luma(self) -> ByteArray:
        """[h, w]."""
        return self.flat[: self.width * self.height].reshape(self.height, self.width)

    @property
    def chroma(self) -> ByteArray:
        """[2, h/2, w/2]."""
        return self.flat[self.width * self.height :].reshape(2, self.height // 2, self.width // 2)

    def lay(self, layer: Layer) -> None:
        """Draw a layer over the frame, as far as it is inside."""
        _lay(self.luma, layer.luma, layer.cover, layer.left, layer.top)
        for plane, values in zip(self.chroma, layer.chroma, strict=True):
            _lay(plane, values, layer.chroma_cover, layer.left // 2, layer.top // 2)

    def frame(self) -> VideoFrame:
        """The frame as PyAV has it."""
        return av.VideoFrame.from_ndarray(self.flat.reshape(-1, self.width), format=FORMAT)


def planes_of(frame: VideoFrame, look: Look) -> Planes:
    """A frame's planes, upright and of even size; one of another size than the first is scaled."""
    kept = FULL_FORMAT if frame.format.name == FULL_FORMAT else FORMAT
    if (frame.width, frame.height, frame.format.name) != (look.width, look.height, kept):
        rgb = frame.format.is_rgb
        frame = frame.reformat(look.width, look.height, format=kept, dst_colorspace=_SWS_601 if rgb else None)
    width, height = look.even
    made = Planes(np.empty(width * height * 3 // 2, np.uint8), width, height)
    for target, plane in zip((made.luma, *made.chroma), frame.planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
            :, : plane.width
        ]
        turned = _turned(rows, look.matrix)
        target[: turned.shape[0], : turned.shape[1]] = turned
        target[turned.shape[0] :] = target[turned.shape[0] - 1]
        target[:, turned.shape[1] :] = target[:, turned.shape[1] - 1 : turned.shape[1]]
    return made


def layer_of(patch: Patch, look: Look) -> Layer | None:
    """A patch in the frame's colours and pixels, cut to the frame; None where nothing of it is inside."""
    aspect, rgba = look.upright_aspect, patch.rgba
    left, top = round(patch.left / aspect), patch.top
    if aspect != 1:
        size = (max(round(rgba.shape[1] / aspect), 1), rgba.shape[0])
        rgba = np.asarray(Image.fromarray(rgba).resize(size, Image.Resampling.BOX))
    width, height = look.even
    from_x, from_y = max(-left, 0), max(-top, 0)
    rgba = rgba[from_y : max(height - top, 0), from_x : max(width - left, 0)]
    if not rgba.size:
        return None
    left, top = left + from_x, top + from_y
    high, wide = rgba.shape[:2]
    before_x, before_y = left % 2, top % 2
    after_x, after_y = (before_x + wide) % 2, (before_y + high) % 2
    padded = np.pad(rgba, ((before_y, after_y), (before_x, after_x), (0, 0)))
    cover = np.asarray(padded[..., 3] / 255, dtype=np.float32)
    yuv = _yuv(padded[..., :3].astype(np.float32), look)
    weights = _quarter(cover)
    weighted = np.stack([_quarter(yuv[..., k] * cover) for k in (1, 2)])
    chroma = np.asarray(weighted / np.maximum(weights, 1e-6), dtype=np.float32)
    return Layer(left - before_x, top - before_y, yuv[..., 0], cover, chroma, weights)


def _lay(plane: ByteArray, values: FloatArray, cover: FloatArray, left: int, top: int) -> None:
    part = plane[top : top + values.shape[0], left : left + values.shape[1]]
    high, wide = part.shape
    share = cover[:high, :wide]
    mixed = part + (values[:high, :wide] - part) * share
    part[...] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _quarter(values: FloatArray) -> FloatArray:
    """Means of two by two [h, w] -> [h/2, w/2]."""
    high, wide = values.shape
    made: FloatArray = values.reshape(high // 2, 2, wide // 2, 2).mean((1, 3))
    return made


def _yuv(rgb: FloatArray, look: Look) -> FloatArray:
    """Red, green, blue 0..255 [h, w, 3] as luma and chromas in the frame's matrix and range."""
    space = look.colorspace
    if space == _UNKNOWN and max(look.even) > _HD and min(look.even) >= _HD:
        space = _BT709
    red, blue = _LUMA.get(space, _LUMA_601)
    luma = rgb @ np.array([red, 1 - red - blue, blue], np.float32)
    both = ((rgb[..., 2] - luma) / (2 * (1 - blue)), (rgb[..., 0] - luma) / (2 * (1 - red)))
    scale, start, spread = (1.0, 0.0, 1.0) if look.full else (219 / 255, 16.0, 224 / 255)
    made: FloatArray = np.stack(
        [luma * scale + start, *(one * spread + 128 for one in both)], axis=-1
    ).astype(np.float32)
    return made


def _turned(rows: ByteArray, matrix: Matrix | None) -> ByteArray:
    if matrix is None:
        return rows
    a, b, c, d = matrix
    if is_turned(matrix):
        rows, flip_x, flip_y = rows.T, c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return rows[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
