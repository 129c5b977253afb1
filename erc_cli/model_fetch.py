"""One file over HTTP into a part file, resumed where it was cut. The only code of erc with network."""

from __future__ import annotations

import errno
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from erc_cli import __version__
from erc_cli.errors import ErcError
from erc_cli.model_lock import LockedFile

#: told how many bytes of the file are there
Told = Callable[[int], None]

_TIMEOUT = 30.0
_CHUNK = 1 << 18
#: attempts in a row that bring not one byte
_TRIES = 4
_PAUSE = 0.5
_AGAIN = "Type the same command again: it goes on where it was. Without network: --from DIR"
_OTHER = "Get the file in another way, then: erc models pull NAME --from DIR"
_RETRIED = {408, 429, 500, 502, 503, 504}
_NO_RANGE = 416
_REFUSALS = {
    401: "it asks for an account",
    403: "access is denied",
    404: "there is no such file",
    410: "the file is gone",
}
_CUT = (http.client.HTTPException, ConnectionError, TimeoutError)


class _CutError(Exception):
    """The connection broke or did not come about; another try may do."""


class _SameSafety(urllib.request.HTTPRedirectHandler):
    """Follows redirects within http and https, and none from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or urlsplit(req.full_url).scheme == "https"):
            fp.close()
            raise ErcError(f"{req.full_url} leads to {newurl}, which is not https.", hint=_AGAIN)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(file: LockedFile, part: Path, told: Told) -> None:
    """Fill `part` up to the file's size; what is there already is kept. The hash is not checked here.

    Raises:
        ErcError: no connection, the server refuses, sends something else, or the disk is full; the
            part stays, to go on with later, unless it is of something else.
    """
    if _size(part) > file.size:
        part.unlink()
    failures = 0
    while _size(part) < file.size:
        before = _size(part)
        try:
            _fetch(file, part, told)
        except _CutError as cut:
            failures = failures + 1 if _size(part) <= before else 0
            if failures >= _TRIES:
                raise ErcError(
                    f"{file.url}: {cut} (at {_size(part)} of {file.size} bytes).", hint=_AGAIN
                ) from None
            time.sleep(_PAUSE * 2**failures)
    told(file.size)


def _fetch(file: LockedFile, part: Path, told: Told) -> None:
    start = _size(part)
    headers = {"User-Agent": f"erc/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(file.url, headers=headers)
    try:
        answer = urllib.request.build_opener(_SameSafety).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(file, part, error.code) from None
    except urllib.error.URLError as error:
        raise _CutError(f"no connection ({error.reason})") from None
    except _CUT as error:
        raise _CutError(f"no connection ({error or type(error).__name__})") from None
    with answer:
        resumed = answer.status == 206
        if resumed and not _goes_on(answer, start, file.size):
            part.unlink()  # it sends another piece than was asked for: begin anew
            raise _CutError("the server does not resume")
        _check_kind(answer, file)
        with _open(part, "ab" if resumed else "wb") as stream:
            _copy(answer, stream, file, told)


def _open(part: Path, mode: str) -> IO[bytes]:
    try:
        return part.open(mode)
    except OSError as error:
        raise ErcError(
            f"{part} cannot be written: {error.strerror}.", hint="Another place: ERC_MODELS=FOLDER"
        ) from None


def _goes_on(answer: Any, start: int, size: int) -> bool:
    return (
        re.fullmatch(rf"bytes {start}-\d+/({size}|\*)", answer.headers.get("Content-Range", "")) is not None
    )


def _refused(file: LockedFile, part: Path, code: int) -> _CutError | ErcError:
    if code == _NO_RANGE:
        part.unlink(missing_ok=True)
        return _CutError("the server does not resume")
    if code in _RETRIED:
        return _CutError(f"the server answers {code}")
    return ErcError(
        f"{file.url}: {_REFUSALS.get(code, 'the server refuses')} ({code}).",
        hint=_OTHER,
    )


def _check_kind(answer: Any, file: LockedFile) -> None:
    """Refuse what is seen to be something else before it is written over a good part."""
    length = answer.headers.get("Content-Length", "")
    whole = length.isdecimal() and answer.status == 200
    kind = answer.headers.get_content_type()
    if kind == "text/html" and (not whole or int(length) != file.size):
        page = title(answer.read(1 << 16))
        raise ErcError(f"{file.url} answers with a web page{page}, not with the file.", hint=_OTHER)
    if whole and int(length) != file.size:
        raise ErcError(f"{file.url} has {length} bytes, the lock says {file.size}.", hint=_OTHER)


def title(content: bytes) -> str:
    """` ("The title")` of a web page, for a message; empty without one."""
    found = re.search(rb"<title[^>]*>([^<]{1,200})", content, re.IGNORECASE)
    text = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
    return f' ("{text[:80]}")' if text.isprintable() and text else ""


def _copy(answer: Any, stream: IO[bytes], file: LockedFile, told: Told) -> None:
    done = stream.tell()
    while done < file.size:
        try:
            chunk = answer.read1(min(_CHUNK, file.size - done))
        except _CUT as error:
            raise _CutError(f"the connection broke ({error or type(error).__name__})") from None
        if not chunk:
            raise _CutError("the connection ended early")
        try:
            stream.write(chunk)
        except OSError as error:
            raise no_room(error, stream.name) from None
        done += len(chunk)
        told(done)


def no_room(error: OSError, path: object) -> ErcError:
    """What to say when a file cannot be written on."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "Make room and type the same command again" if full else "Type the same command again"
    return ErcError(
        f"{path} could not be written: {error.strerror or error}.",
        hint=f"{hint}, or choose another place: ERC_MODELS=FOLDER",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
