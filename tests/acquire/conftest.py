"""A server on loopback that behaves as badly as real ones do, and libraries that reach no further than it."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from acquire.made_archives import EVERYTHING
from acquire.made_files import FIX, QUICK
from acquire.miniature import only, served, write_additions, write_archives

from seedbed.acquire.archive import ExtractLimits, extract
from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.acquire.checksums import Checksums
from seedbed.acquire.library import Library
from seedbed.acquire.transfer import fetch_file


@dataclass
class Behaviour:
    """How the server answers for one file."""

    content: bytes = b""
    ranges: bool = True
    """Whether Range is understood; without it every answer is the whole file."""
    etag: str | None = None
    modified: str | None = None
    cut: int | None = None
    """Bytes of a body after which the connection breaks off."""
    cuts: int = 10**9
    """How many answers break off."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the first answers, in order; the following ones are good."""
    retry_after: str | None = None
    location: str | None = None
    """Where to redirect to."""
    drip: float = 0.0
    """Seconds between two bytes."""
    drips: int = 10**9
    """How many answers drip."""
    chunked: bool = False
    """Whether the length is left open."""
    claimed: int | None = None
    """Content-Length, where it is not the truth."""
    shift: int = 0
    """Bytes by which ranges are off."""
    ignore_if_range: bool = False
    kind: str = "application/octet-stream"
    at_request: Callable[[Behaviour], None] | None = None
    """Called with the behaviour at every request."""


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    path: str
    range: str | None
    if_range: str | None
    encoding: str | None


class Server:
    """Files by name, what was asked for, and the URL of a name."""

    def __init__(self) -> None:
        self.files: dict[str, Behaviour] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                _answer(server, self)

            def log_message(self, *_: object) -> None:
                pass

        class Threading(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """Clients that hang up are part of the tests."""

        self._http = Threading(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{name}"

    def add(self, name: str, content: bytes = b"", **behaviour: object) -> str:
        """Serve `content` as `name`; return its URL."""
        self.files[name] = Behaviour(content, **behaviour)
        return self.url(name)

    def asked(self) -> Counter[str]:
        """How often each name was asked for."""
        return Counter(request.path for request in self.requests)

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _answer(server: Server, handler: http.server.BaseHTTPRequestHandler) -> None:
    name = handler.path.lstrip("/")
    asked = (handler.headers.get(key) for key in ("Range", "If-Range", "Accept-Encoding"))
    server.requests.append(Request(name, *asked))
    behaviour = server.files.get(name)
    if behaviour is None:
        _send(handler, 404, {}, b"no such file")
        return
    if behaviour.at_request:
        behaviour.at_request(behaviour)
    if behaviour.location is not None:
        _send(handler, 302, {"Location": behaviour.location}, b"")
        return
    if behaviour.statuses:
        pause = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
        _send(handler, behaviour.statuses.pop(0), pause, b"not now")
        return
    _send_file(server, handler, behaviour)


def _send_file(server: Server, handler: http.server.BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
    content, begin, status = behaviour.content, 0, 200
    headers = {"Content-Type": behaviour.kind, "ETag": behaviour.etag, "Last-Modified": behaviour.modified}
    headers = {key: value for key, value in headers.items() if value is not None}
    asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
    fits = condition in {None, behaviour.etag, behaviour.modified} or behaviour.ignore_if_range
    if asked and behaviour.ranges and fits:
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) + behaviour.shift
        if begin >= len(content):
            _send(handler, 416, {**headers, "Content-Range": f"bytes */{len(content)}"}, b"")
            return
        status = 206
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    body = content[begin:]
    claimed = len(body) if behaviour.claimed is None else behaviour.claimed
    if behaviour.cut is not None and behaviour.cuts > 0:
        behaviour.cuts -= 1
        body = body[: behaviour.cut]
    _send(handler, status, headers, body, claimed, behaviour, server)


def _send(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    claimed: int | None = None,
    behaviour: Behaviour | None = None,
    server: Server | None = None,
) -> None:
    handler.send_response(status)
    handler.send_header("Connection", "close")
    for key, value in headers.items():
        handler.send_header(key, value)
    chunked = behaviour is not None and behaviour.chunked
    if chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(len(body) if claimed is None else claimed))
    handler.end_headers()
    if behaviour and server and behaviour.drip and behaviour.drips > 0:
        behaviour.drips -= 1
        for i in range(len(body)):
            handler.wfile.write(body[i : i + 1])
            handler.wfile.flush()
            if server.closing.wait(behaviour.drip):
                return
    elif chunked:
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        if claimed == len(body):
            handler.wfile.write(b"0\r\n\r\n")
    else:
        handler.wfile.write(body)


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def dead_url() -> str:
    """A URL of a port that nobody listens on."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as unused:
        port = unused.server_port
    return f"http://127.0.0.1:{port}/file.tar"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library" / "downloads"


@pytest.fixture
def checksums(tmp_path):
    return Checksums(tmp_path / "library" / "checksums.json")


@pytest.fixture
def fetch(folder, checksums):
    """Fetch file.tar from the given URLs."""

    def _fetch(*sources, known=None, size=None, limits=QUICK):
        return fetch_file(
            "file.tar",
            sources,
            folder,
            known=known,
            size=size,
            checksums=checksums,
            fix=FIX,
            limits=limits,
            progress=False,
        )

    return _fetch


@pytest.fixture
def unpack(tmp_path):
    """Write an archive and extract it."""

    def _unpack(content: bytes, layout=EVERYTHING, limits=ExtractLimits()):  # noqa: B008
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        return extract(archive, tmp_path / "target", layout, limits)

    return _unpack


@pytest.fixture(scope="session")
def archives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder / "served", folder / "scratch")
    return folder / "served"


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> dict[str, DataSet]:
    return load_catalogue({"SEEDBED_CATALOGUE": str(write_additions(tmp_path_factory.mktemp("user") / "mine.yaml"))})


@pytest.fixture
def mirror(archives):
    with served(archives) as running:
        yield running


@pytest.fixture
def asked(mirror) -> Counter[str]:
    return mirror[1]


@pytest.fixture
def library(tmp_path, catalogue, mirror) -> Library:
    """A library that fetches from the mirror and from nowhere else."""
    return Library(tmp_path / "library", only(catalogue, mirror[0]), jobs=1)


@pytest.fixture
def lonely(tmp_path, catalogue) -> Library:
    """A library that can fetch nothing: all must be given."""
    silent = {
        name: entry.model_copy(
            update={"archives": {k: one.model_copy(update={"sources": []}) for k, one in entry.archives.items()}}
        )
        for name, entry in catalogue.items()
    }
    return Library(tmp_path / "library", silent, jobs=1)
