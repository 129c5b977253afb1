"""MTCNN: faces and five landmarks in a picture, by a cascade of three small networks.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016 (arXiv 1604.02878): P-Net proposes windows on
an image pyramid, R-Net rejects most of them, O-Net refines the rest and adds the landmarks.

A network's answers about overlapping windows are merged, see `_merged`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from erc_cli.errors import ErcError
from erc_cli.faces.record import Face
from erc_visual_faces.areas import cut, shrink, sums_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from erc_cli.types import ByteArray

    Doubles = NDArray[np.float64]
    Indices = NDArray[np.int64]

CELL = 12  # side of P-Net's window
STRIDE = 2  # of its answers, in pixels of the level
MAX_PROPOSALS = 1000  # per frame; real pictures give a few hundred, noise gives thousands
MAX_TOGETHER = 16  # frames in one pass, which bounds the memory


# --- the networks: pictures [n, 3, h, w] in (value - 127.5) / 128 ------------------------------


class PNet(nn.Module):
    """Proposals: [n, 3, h, w] -> face probability [n, h', w'], box offsets [n, 4, h', w']."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(10, 16, 3), nn.PReLU(16),
            nn.Conv2d(16, 32, 3), nn.PReLU(32),
        )  # fmt: skip
        self.box = nn.Conv2d(32, 4, 1)
        self.face = nn.Conv2d(32, 2, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(pictures)
        return self.face(x).softmax(1)[:, 1], self.box(x)


class RNet(nn.Module):
    """Refinement: [n, 3, 24, 24] -> face probability [n], box offsets [n, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(48, 64, 2), nn.PReLU(64),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(576, 128), nn.PReLU(128))
        self.box = nn.Linear(128, 4)
        self.face = nn.Linear(128, 2)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = self.dense(_flatten(self.body(pictures)))
        return self.face(x).softmax(1)[:, 1], self.box(x)


class ONet(nn.Module):
    """Output: [n, 3, 48, 48] -> face probability [n], box offsets [n, 4], landmarks [n, 10].

    The landmarks are five x, then five y, as shares of the window's width and height.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(64, 128, 2), nn.PReLU(128),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(1152, 256), nn.PReLU(256))
        self.box = nn.Linear(256, 4)
        self.landmarks = nn.Linear(256, 10)
        self.face = nn.Linear(256, 2)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.dense(_flatten(self.body(pictures)))
        return self.face(x).softmax(1)[:, 1], self.box(x), self.landmarks(x)


class Networks(nn.Module):
    """The three networks under one roof, so that one file holds their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()


def _flatten(x: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, w * h * c]: the authors' framework stored pictures column by column."""
    return x.permute(0, 3, 2, 1).flatten(1)


def load_networks(weights: Path) -> Networks:
    """The networks with the weights of a safetensors file written by `convert_mtcnn`.

    Raises:
        ErcError: the file is missing, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    hint = "Reinstall erc-cli (pip install --force-reinstall erc-cli), which carries these weights."
    if not weights.is_file():
        raise ErcError(f"The weights of the MTCNN face detector are missing: {weights}", hint=hint)
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise ErcError(f"{weights} is not a readable safetensors file: {error}", hint=hint) from error
    networks = Networks()
    expected = {name: value.shape for name, value in networks.state_dict().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise ErcError(f"{weights} does not hold the weights of MTCNN.", hint=hint)
    networks.load_state_dict(state)
    return networks.eval()


# --- boxes -----------------------------------------------------------------------------------


def overlaps(boxes: Doubles, *, smaller: bool = False) -> Doubles:
    """[n, 4] -> [n, n]: intersection over union, or over the smaller of the two areas."""
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    size = (np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner).clip(min=0)
    common = size[..., 0] * size[..., 1]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    whole = np.minimum(area[:, None], area) if smaller else area[:, None] + area - common
    return np.asarray(common / np.maximum(whole, 1e-9), dtype=np.float64)


def suppress(rivals: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Greedy non-maximum suppression of boxes sorted by falling score: which ones stay, [n].

    `rivals` [n, n] says which boxes overlap too much. A box stays if no better one that stays is
    its rival. Repeating that rule for all boxes at once settles on the greedy answer, in as many
    rounds as the longest chain of rivals, which is short.
    """
    better = np.triu(rivals, 1)
    keep: NDArray[np.bool_] = np.ones(len(rivals), dtype=np.bool_)
    while True:
        now: NDArray[np.bool_] = ~np.any(better & keep[:, None], axis=0)
        if (now == keep).all():
            return keep
        keep = now


def _calibrated(boxes: Doubles, offsets: Doubles) -> Doubles:
    """Boxes [n, 4] moved by what a network answered, in shares of their width and height."""
    size = boxes[:, 2:] - boxes[:, :2]
    moved: Doubles = boxes + offsets * np.concatenate([size, size], 1)
    return moved


def _squared(boxes: Doubles) -> Doubles:
    """Boxes [n, 4] widened to squares around their centres."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Windows that a stage lets pass: frame, box, score, offsets and pyramid level of each."""

    owner: Indices
    boxes: Doubles
    score: Doubles
    offsets: Doubles
    level: Indices

    def take(self, which: Indices) -> _Candidates:
        """Those candidates, in that order."""
        return _Candidates(
            self.owner[which], self.boxes[which], self.score[which], self.offsets[which], self.level[which]
        )

    def per_frame(self) -> Iterator[Indices]:
        """Candidates of each frame in turn, best first."""
        order = np.lexsort((-self.score, self.owner))
        if len(order):
            yield from np.split(order, np.flatnonzero(np.diff(self.owner[order])) + 1)

    def square_calibrated(self) -> _Candidates:
        """Moved by their offsets and made square; what has become empty is dropped."""
        boxes = _squared(_calibrated(self.boxes, self.offsets))
        moved = _Candidates(self.owner, boxes, self.score, self.offsets, self.level)
        return moved.take(np.flatnonzero(boxes[:, 2] - boxes[:, 0] >= 1))


# --- the cascade -----------------------------------------------------------------------------


class Mtcnn:
    """The detector. `min_face`: side in pixels of the smallest face looked for.

    `thresholds`: probabilities that P-, R- and O-Net ask for; `factor`: step of the pyramid.

    Raises:
        ErcError: the weights are missing or damaged.
    """

    def __init__(
        self,
        weights: Path,
        *,
        min_face: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        device: str = "cpu",
    ) -> None:
        self._nets = load_networks(weights).to(device)
        self.device = device
        self._first = CELL / min_face
        self._factor = factor
        self._thresholds = thresholds

    def detect(self, rgb: ByteArray) -> list[Face]:
        """Faces of one uint8 picture [height, width, 3], best first."""
        return self.detect_batch([rgb])[0]

    @torch.inference_mode()
    def detect_batch(self, frames: Sequence[ByteArray]) -> list[list[Face]]:
        """Faces of each of several pictures of one size."""
        found: list[list[Face]] = []
        for start in range(0, len(frames), MAX_TOGETHER):
            stack = torch.from_numpy(np.stack(frames[start : start + MAX_TOGETHER]))
            table = sums_table(stack.to(self.device))
            found += self._output(table, self._refine(table, self._propose(table)))
        return found

    def _levels(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Sizes of the pyramid's levels, from fine to coarse; none for a frame below `min_face`."""
        scale = self._first
        while min(height, width) * scale >= CELL:
            yield round(height * scale), round(width * scale)
            scale *= self._factor

    def _propose(self, table: Tensor) -> _Candidates:
        """Stage 1: P-Net on every level of the pyramid."""
        tall, wide = table.shape[1] - 1, table.shape[2] - 1
        parts = []
        for number, (height, width) in enumerate(self._levels(tall, wide)):
            score, offsets = self._nets.pnet(shrink(table, height, width))
            owner, row, column = (score >= self._thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack([column, row], 1).double() * STRIDE
            scale = corner.new_tensor([wide / width, tall / height] * 2)
            boxes = torch.cat([corner, corner + CELL], 1) * scale
            values = (score[owner, row, column], offsets[owner, :, row, column])
            parts.append(_candidates(owner, boxes, values, number))
        if not parts:
            return _Candidates(_NONE, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)), _NONE)
        every = _joined(parts)
        kept = [_best_proposals(every.take(which[:MAX_PROPOSALS]), which) for which in every.per_frame()]
        return every.take(np.concatenate([*kept, _NONE])).square_calibrated()

    def _refine(self, table: Tensor, found: _Candidates) -> _Candidates:
        """Stage 2: R-Net on every proposal."""
        if not len(found.owner):
            return found
        score, offsets = self._nets.rnet(cut(table, found.owner, found.boxes, 24))
        answered = _answered(found, score, offsets)
        answered = answered.take(np.flatnonzero(answered.score > self._thresholds[1]))
        kept = [w[suppress(overlaps(answered.boxes[w]) > 0.7)] for w in answered.per_frame()]
        return answered.take(np.concatenate([*kept, _NONE])).square_calibrated()

    def _output(self, table: Tensor, found: _Candidates) -> list[list[Face]]:
        """Stage 3: O-Net, its landmarks, and the last suppression after its calibration."""
        faces: list[list[Face]] = [[] for _ in range(len(table))]
        if not len(found.owner):
            return faces
        score, offsets, points = self._nets.onet(cut(table, found.owner, found.boxes, 48))
        answered = _answered(found, score, offsets)
        size = (answered.boxes[:, 2:] - answered.boxes[:, :2])[:, None]
        places = points.double().cpu().numpy().reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = answered.boxes[:, None, :2] + places * size
        boxes = _calibrated(answered.boxes, answered.offsets)
        for every in answered.per_frame():
            which = every[answered.score[every] > self._thresholds[2]]
            if len(which):
                faces[answered.owner[which[0]]] = _merged(
                    boxes[which], answered.score[which], landmarks[which]
                )
        return faces


def _merged(boxes: Doubles, scores: Doubles, landmarks: Doubles) -> list[Face]:
    """The faces of one frame from its candidates, best first: [n, 4], [n], [n, 5, 2].

    The paper keeps the best candidate of a group. Their scores differ in the fourth decimal, so
    which one is best is chance, and the box jumps when the frame moves by a pixel. The mean of the
    group, weighted by score, is steadier: under shifts by up to 11 pixels the box's edges vary by
    0.6 % of its width instead of 1.9 %, the landmarks by 0.2 % instead of 0.7 %.
    """
    stays = np.flatnonzero(suppress(overlaps(boxes, smaller=True) > 0.7))
    votes = np.where(overlaps(boxes)[stays] > 0.5, scores, 0.0)
    votes /= votes.sum(1, keepdims=True)
    faces = []
    for chosen, vote in zip(stays, votes, strict=True):
        left, top, right, bottom = (vote @ boxes).tolist()
        points = np.tensordot(vote, landmarks, 1).astype(np.float32)
        faces.append(Face((left, top, right, bottom), float(scores[chosen]), points))
    return faces


_NONE = np.zeros(0, dtype=np.int64)


def _best_proposals(found: _Candidates, which: Indices) -> Indices:
    """Which of one frame's proposals, best first, survive: within each level, then among all."""
    shared = overlaps(found.boxes)
    level = found.level
    stays = np.flatnonzero(suppress((shared > 0.5) & (level[:, None] == level)))
    return which[stays[suppress(shared[np.ix_(stays, stays)] > 0.7)]]


def _candidates(owner: Tensor, boxes: Tensor, values: tuple[Tensor, Tensor], level: int) -> _Candidates:
    """One level's candidates, from the tensors' device to numpy."""
    frame = owner.cpu().numpy()
    score, offsets = (x.double().cpu().numpy() for x in values)
    return _Candidates(frame, boxes.cpu().numpy(), score, offsets, np.full_like(frame, level))


def _joined(parts: Sequence[_Candidates]) -> _Candidates:
    """All levels' candidates as one."""
    return _Candidates(
        owner=np.concatenate([part.owner for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        level=np.concatenate([part.level for part in parts]),
    )


def _answered(found: _Candidates, score: Tensor, offsets: Tensor) -> _Candidates:
    """The same candidates with a network's scores [n] and offsets [n, 4]."""
    values = (score.double().cpu().numpy(), offsets.double().cpu().numpy())
    return _Candidates(found.owner, found.boxes, *values, found.level)
