"""A text file of unknown making as a `str`: encodings, and clear words for what is no text.

Sources: the byte order marks of Unicode (section 23.8); Windows-1252 as mapped by the WHATWG
encoding standard, which also says what a stray C1 control character was meant to be.
"""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from erc_cli.errors import UsageError, nearest

LARGEST = 64 * 1024 * 1024
_HEAD = 1 << 16

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive, or an office document (docx, xlsx, odt)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "a rich-text document (RTF)"),
    (b"\xd0\xcf\x11\xe0", "an old office document (doc, xls)"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"RIFF", "an AVI video or a WAV sound"),
    (b"OggS", "an Ogg sound"),
    (b"ID3", "an MP3 sound"),
    (b"fLaC", "a FLAC sound"),
)
# Marks of cp1252 that its texts are full of: euro, quotes, dashes, dots, and the signs of A0-BF.
_SIGNS = frozenset((0x80, 0x84, 0x85, 0x8B, *range(0x91, 0x98), 0x99, 0x9B, *range(0xA0, 0xC0)))
_TEXT_HINT = (
    "Give the transcript as text: SubRip (.srt), WebVTT (.vtt), .ass, .eaf, .TextGrid, .rttm, .json, .csv "
    "or .tsv."
)
_C1 = {code: bytes([code]).decode("cp1252", errors="ignore") or None for code in range(0x80, 0xA0)}


def read_bytes_as_text(path: Path) -> str:
    r"""The file's text with `\n` line ends and no byte order mark.

    Tried in order: byte order marks, UTF-16 and UTF-32 without one, UTF-8 (a few broken bytes
    are replaced by U+FFFD), cp1252, and what charset-normalizer thinks where too many letters
    lie outside ASCII for a western European text.

    Raises:
        UsageError: no such file, a directory, unreadable, empty, too large, or not text.
    """
    data = read_bytes(path)
    text = _decode(data)
    if text is None:
        what = _kind(data)
        raise UsageError(f"{path} is not a text file{f': it is {what}' if what else ''}.", hint=_TEXT_HINT)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise UsageError(f"{path} is empty.", hint=_TEXT_HINT)
    return text


def tidy(text: str) -> str:
    """`text` without invisible characters, each line's white space collapsed; lines are kept.

    C1 control characters become what cp1252 meant by them, lone surrogates U+FFFD, so that the
    text can be written as UTF-8. Zero-width joiners stay: emoji and several scripts need them.
    """
    text = text.translate(_C1)
    text = re.sub(
        r"[\x00-\x08\x0e-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]", "", text
    )
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    lines = (" ".join(line.split()) for line in re.split(r"[\n\v\f\u2028\u2029]", text))
    return "\n".join(line for line in lines if line)


def read_bytes(path: Path) -> bytes:
    """The bytes of a transcript that says its encoding itself.

    Raises:
        UsageError: no such file, a directory, unreadable, empty or too large.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no transcript {path}.", hint=_other_names(path)) from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory, not a transcript.", hint="Name one file inside it.")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a regular file.", hint="Save the transcript to a file first.")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        hint = "Check the file's permissions."
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.", hint=hint) from error
    if len(data) > LARGEST:
        what = _kind(data) or "too large for a transcript"
        raise UsageError(f"{path} is not a transcript: it is {what}.", hint=_TEXT_HINT)
    if not data:
        raise UsageError(f"{path} is empty (0 bytes).", hint=_TEXT_HINT)
    return data


def _other_names(path: Path) -> str:
    """What to type instead of a name that does not exist."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return f"Check the path: the folder {path.parent} cannot be read either."
    return f"Check the path.{nearest(path.name, names)}"


def _kind(data: bytes) -> str:
    """A name for well-known files that are not text, else the empty string."""
    if data[4:8] == b"ftyp":
        return "an MP4 or MOV video, or its sound"
    return next((what for magic, what in _MAGIC if data.startswith(magic)), "")


def _decode(data: bytes) -> str | None:
    """The text, or None where these bytes are no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _unless_binary(data[len(mark) :].decode(encoding, errors="replace"))
    if _kind(data):
        return None
    if b"\0" in data[:_HEAD]:
        wide = _wide(data[:_HEAD])
        return _unless_binary(data.decode(wide, errors="replace")) if wide else None
    try:
        return _unless_binary(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _unless_binary(_eight_bit(data))


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: in most texts the high bytes are zero."""
    shares = [head[offset::4].count(0) / max(1, len(head[offset::4])) for offset in range(4)]
    if min(shares[2:]) > 0.9 and shares[0] < 0.2:
        return "utf-32-le"
    if min(shares[:2]) > 0.9 and shares[3] < 0.2:
        return "utf-32-be"
    if min(shares[1], shares[3]) > 0.4 and max(shares[0], shares[2]) < 0.1:
        return "utf-16-le"
    if min(shares[0], shares[2]) > 0.4 and max(shares[1], shares[3]) < 0.1:
        return "utf-16-be"
    return ""


def _eight_bit(data: bytes) -> str:
    """Text in a legacy encoding, or UTF-8 with a few broken bytes."""
    loose = data.decode("utf-8", errors="replace")
    broken = loose.count("\ufffd")
    whole = sum(char > "\x7f" for char in loose) - broken
    if whole > 3 * broken:
        return loose
    high = sum(byte > 0x7F and byte not in _SIGNS for byte in data)
    letters = high + sum(chr(byte).isalpha() for byte in data if byte < 0x80)
    # Western European languages accent at most about one letter in eight.
    if high <= 0.2 * letters:
        return data.decode("cp1252", errors="replace")
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_HEAD]).best()
    return data.decode(best.encoding if best else "cp1252", errors="replace")


def _unless_binary(text: str) -> str | None:
    """`text`, or None when it holds zeros or many control characters."""
    head = text[:_HEAD]
    controls = len(re.findall(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]", head))
    return None if "\0" in head or controls > 0.02 * len(head) else text
