"""What the tests of models share: a web server that resumes, breaks and lies; locks; an isolated store."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from erc_cli import main

COMMIT = "ab" * 20


@dataclass
class Site:
    """What the server has, and how it behaves; `asked` are (path, Range header) as they came."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    cut_after: list[int] = field(
        default_factory=list
    )  # bytes of each of the next answers, then it breaks off
    resumes: bool = True
    status: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    url: str = ""


@contextmanager
def serving() -> Iterator[Site]:
    """A site on this computer, until the block ends."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, asked = self.path, self.headers.get("Range", "")
            site.asked.append((path, asked))
            if path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = site.files.get(path)
            code = site.status.get(path, 200 if content is not None else 404)
            if code >= 400:
                self._head(code, 5)
                self.wfile.write(b"sorry")
                return
            self._send(content or b"", asked, site.kinds.get(path, "application/octet-stream"))

        def _send(self, content: bytes, asked: str, kind: str) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", asked) if site.resumes else None
            start = int(wanted[1]) if wanted else 0
            if wanted and start >= len(content):
                self._head(416, 0)
                return
            body = content[start:]
            extra = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
            self._head(206 if wanted else 200, len(body), {"Content-Type": kind, **extra})
            if site.cut_after:
                self.wfile.write(body[: site.cut_after.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body)

        def _head(self, code: int, length: int, extra: dict[str, str] | None = None) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(length))
            for name, value in (extra or {}).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(content: bytes, url: str, path: str = "", **more: Any) -> dict[str, Any]:
    """A file of a lock, described truly."""
    about = {"url": url, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**({"path": path} if path else {}), **about, **more}


def write_lock(path: Path, **models: Any) -> Path:
    """A lock; a model is its list of files, or its whole entry."""
    entries = {
        name.replace("_", "-"): one
        if isinstance(one, dict)
        else {"summary": "for tests", "licence": "MIT", "files": one}
        for name, one in models.items()
    }
    path.write_text(yaml.safe_dump({"schema": "erc.models/1", "models": entries}, sort_keys=False))
    return path


def tree(folder: Path) -> list[str]:
    """Every file and folder below, hidden ones too, but not the file that keeps two pulls apart."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.name != ".busy")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ERC_LOCK", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERC_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "store"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, list(map(str, arguments)), standalone_mode=False)
