"""Which face embedding the option `identity_weights` means."""

from __future__ import annotations

from pathlib import Path

from erc_cli.errors import UsageError
from erc_cli.faces.record import Embedder


def make_identifier(weights: Path | None, device: str) -> Embedder:
    """What tells faces apart: MobileFaceNet's tensors, or an ArcFace network; a file, or a folder with one.

    A file is known by how it begins: in a cache it may be a link to one without an ending.

    Raises:
        UsageError: there is none, or it is something else.
        ErcError: a library is missing.
    """
    if weights is None:
        raise UsageError(
            "visual.faces: speaker needs a face embedding.",
            hint="Type: --set visual.identity_weights=FILE  (MobileFaceNet's safetensors, or ArcFace's ONNX)",
        )
    inside = sorted(weights.glob("*.safetensors")) if weights.is_dir() else []
    if len(inside) == 1:
        weights = inside[0]
    start = b"" if weights.is_dir() else _start(weights)
    if start[8:9] == b"{":
        from erc_visual_faces.mobilefacenet import FaceEmbedder

        return FaceEmbedder(weights, device=device)
    if start[:1] == b"\x80" or start[:2] == b"PK":
        raise UsageError(
            f"{weights} is a pickle or an archive, as PyTorch saves them; erc opens no such file.",
            hint=f"Type: erc models convert {weights}",
        )
    from erc_cli.faces.arcface import ArcFace

    return ArcFace(weights, device=device)


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(9)
