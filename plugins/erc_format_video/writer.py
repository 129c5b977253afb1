"""The recording once through: each frame decoded, drawn on, encoded at its own time; the sound goes along."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import av

from erc_cli.decoding import Decoder, Reader, open_media, origin_of, streams_of
from erc_cli.errors import ErcError, UsageError
from erc_cli.learning import Progress, Report
from erc_cli.result import NOTICE
from erc_cli.types import MediaInfo, Result
from erc_format_video.drawing import Drawing
from erc_format_video.picture import PictureTrack, look_at
from erc_format_video.planes import Look
from erc_format_video.refusals import with_pictures
from erc_format_video.sound import SoundTrack, sound_track

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame

Say = Callable[[str], None]
_FORMATS = {".mkv": "matroska", ".mov": "mov"}
_HINT = "Name the recording: erc report RESULT.json -o out.mp4 --media FILE"


def write(result: Result, path: Path, *, report: Report, say: Say) -> None:
    """Write the annotated recording to `path`; its ending chooses the container, MP4 where it says none.

    Raises:
        UsageError: there is no recording with pictures, it is gone, or it is another file than it was.
        ErcError: it cannot be decoded or written.
    """
    media = with_pictures(result.media)
    _check_file(media)
    look = look_at(media.path)
    kind = _FORMATS.get(path.suffix.lower(), "mp4")
    options = {} if kind == "matroska" else {"movflags": "+faststart"}
    try:
        with (
            closing(open_media(media.path)) as source,
            av.open(f"file:{path.absolute()}", "w", format=kind, options=options) as target,
        ):
            target.metadata["comment"] = NOTICE
            _convert(source, target, result, look, report, say)
    except av.FFmpegError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise OSError(error.errno, error.strerror) from error
        raise ErcError(
            f"The annotated video cannot be written: {error.strerror}.", hint="Try another ending: -o out.mkv"
        ) from error


def _check_file(media: MediaInfo) -> None:
    """It must be there, and be the one that the result is about."""
    if not media.path.is_file():
        raise UsageError(f"The recording {media.path} is not there.", hint=_HINT)
    with media.path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == media.sha256
    if not same:
        raise UsageError(
            f"{media.path} is another file than the one that the result is about (its SHA-256 differs).",
            hint=_HINT,
        )


def _convert(
    source: InputContainer, target: OutputContainer, result: Result, look: Look, report: Report, say: Say
) -> None:
    video, audio = streams_of(source)
    if video is None:
        raise UsageError("The recording has changed while it was read.", hint="Run the command again.")
    origin, total = origin_of(source), max(round(result.media.duration), 1) if result.media else 1
    pictures = PictureTrack(target, video, look, Drawing(result, look), origin)
    sound: SoundTrack | None = sound_track(target, audio, origin, say) if audio is not None else None
    decoder: Decoder[VideoFrame] = Decoder(video, lambda: None)
    shown = -1
    for packet in Reader(source).packets([video] if audio is None else [video, audio]):
        if packet.stream.index == video.index:
            for frame in decoder.decode(packet):
                pictures.add(frame)
        elif sound is not None:
            sound.add(packet)
        if int(pictures.time) > shown:
            shown = int(pictures.time)
            report(Progress("video", min(shown, total), total, "seconds"))
    for frame in decoder.decode(None):
        pictures.add(frame)
    pictures.finish()
    if sound is not None:
        sound.finish()
    report(Progress("video", total, total, ""))
