"""Whether a media file is whole, told from its frame in microseconds: nothing is decoded.

Sources: ISO/IEC 14496-12 (boxes of MP4), Microsoft's RIFF, RFC 3533 (Ogg).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_RIFF_OPEN = (0, 0xFFFFFFFF)  # a length that whoever recorded never filled in


def damage(path: Path) -> str:
    """What is wrong with the file; empty when nothing is seen."""
    try:
        with path.open("rb") as stream:
            return _damage(stream, path.stat().st_size)
    except OSError as error:
        return error.strerror or "cannot be read"


def _damage(stream: BinaryIO, size: int) -> str:
    if not size:
        return "is empty"
    head = stream.read(12)
    if head[:4] == b"RIFF":
        length = struct.unpack("<I", head[4:8].ljust(4, b"\0"))[0]
        return "is cut short" if length not in _RIFF_OPEN and length + 8 > size + 1 else ""
    if head[4:8] in _BOXES:
        return _boxes(stream, size)
    # a pointer of Git LFS, or a page that says why there is no download, is saved under a clip's name
    return "is text, no sound or video" if head.isascii() and head.decode().isprintable() else ""


def _boxes(stream: BinaryIO, size: int) -> str:
    """MP4: a chain of boxes, each with its length, one of them the index (`moov`)."""
    at, index = 0, False
    while at < size:
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:16])[0]
        index |= kind == b"moov"
        if length == 0:  # to the end of the file
            break
        if length < 8 or at + length > size:
            return "is cut short"
        at += length
    return "" if index else "is cut short: it has no index"
