"""One file from one server over HTTP, continued where it broke off."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3

from seedbed.acquire.meter import ByteMeter
from seedbed.files import disk_errors, write_json

CHUNK = 1 << 20
GAIN = 1 << 20
"""An attempt that brings as many new bytes is none of those that `Limits.attempts` counts."""
LONGEST_WAIT = 60.0
"""Seconds; a server that asks for a longer pause (Retry-After) does not get it."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses that may be others in a moment."""
_PAGE = "sends a web page instead of the file"
_TAKEN = {200, 206, 416}
_NO_HOST = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


@dataclass(frozen=True)
class Limits:
    """What is put up with from a server."""

    attempts: int = 4
    """Tries per source that bring nothing."""
    backoff: float = 1.0
    """Seconds before the second try; doubled before each further one."""
    connect: float = 15.0
    """Seconds until a host that does not answer is given up."""
    patience: float = 60.0
    """Seconds of silence, or of less than `rate`, until the connection is given up."""
    rate: float = 1024.0
    """Bytes per second that a server must reach."""
    redirects: int = 10


class SourceError(Exception):
    """A source did not deliver. The message is the reason; `again`: the same source may do so at the next try."""

    def __init__(self, reason: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


def shown(url: str) -> str:
    """Return `url` as it may be written down: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass(frozen=True)
class Note:
    """Where the bytes of a part are from, and of which version of the file they are."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What a server can tell versions by (RFC 9110, If-Range: a weak ETag cannot)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True)
class Part:
    """What has come of a file so far, `<name>.part`, and its note, `<name>.part.json`."""

    file: Path

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def _note_file(self) -> Path:
        return self.file.with_name(f"{self.file.name}.json")

    @property
    def note(self) -> Note | None:
        """The note; None where there is none that can be read."""
        try:
            return Note(**json.loads(self._note_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, note: Note) -> None:
        """Take bytes of `note` from now on."""
        write_json(self._note_file, asdict(note))

    def clear(self) -> None:
        """Forget everything that has come."""
        self.file.unlink(missing_ok=True)
        self._note_file.unlink(missing_ok=True)

    @property
    def whole(self) -> bool:
        """Whether all has come that the server announced."""
        return self.note is not None and 0 < self.size == self.note.total


@dataclass(frozen=True)
class Wanted:
    """What is known of a file before it comes."""

    checked: bool
    """Whether a checksum will tell: only then are bytes of different servers put together."""
    size: int | None
    """About how many bytes; a file that is more than twice as large or small is another one."""


def download(url: str, part: Part, wanted: Wanted, limits: Limits, meter: ByteMeter) -> bool:
    """Fetch `url` into `part`, which is whole afterwards; return whether bytes of an earlier call or try are in it.

    A passing failure is tried again `limits.attempts` times, and for ever as long as every try brings more. Raises
    SourceError when this source does not deliver; what has come stays in `part`, as it does when the process dies.
    """
    client, failures, furthest = _Client(limits), 0, part.size
    with client.session:
        while True:
            try:
                return _attempt(client, url, part, wanted, meter)
            except SourceError as error:
                grown = part.size >= furthest + GAIN
                furthest = max(furthest, part.size)
                failures = 1 if grown else failures + 1
                if not error.again:
                    raise
                if failures >= limits.attempts:
                    raise SourceError(f"{error} (tried {failures} times)") from None
                time.sleep(min(max(error.wait, limits.backoff * 2 ** (failures - 1)), LONGEST_WAIT))


def _attempt(client: _Client, url: str, part: Part, wanted: Wanted, meter: ByteMeter) -> bool:
    note = part.note
    same = note is not None and note.url == shown(url)
    if part.size and not (wanted.checked or (same and note and (note.validator or part.whole))):
        part.clear()
    if part.whole:
        return True
    offset = part.size
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and same and note and note.validator:
        headers["If-Range"] = note.validator
    with client.get(url, headers) as response:
        offset, total = _place(response, part, offset, same)
        _check_size(response, total, wanted)
        if response.status_code != 416:
            if not offset:
                part.clear()  # before the new note: bytes of one version must never lie beside the note of another
            fresh = response.headers
            part.begin(Note(shown(url), fresh.get("ETag"), fresh.get("Last-Modified"), total))
            _save(client, response, part, offset, wanted, meter)
    return offset > 0


def _place(response: requests.Response, part: Part, offset: int, same: bool) -> tuple[int, int | None]:
    """Return where in the file the body of `response` begins, and the size of the whole file if it is announced.

    Raises SourceError, and forgets the part, when the answer is none to what was asked or of another version.
    """
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    start = int(found[1]) if found and found[1] else None
    total = int(found[2]) if found and found[2] != "*" else None
    note = part.note
    if response.status_code == 416 and total is not None and total == offset > 0:
        return offset, total
    if response.status_code == 416 or start != offset:
        part.clear()
        raise SourceError(f"does not continue at byte {offset}", again=True)
    etag = response.headers.get("ETag")
    changed = note is not None and same and note.etag is not None and etag is not None and etag != note.etag
    if changed or (note is not None and None not in (note.total, total) and note.total != total):
        part.clear()
        raise SourceError("has another file now than the one begun", again=True)
    return offset, total


def _check_size(response: requests.Response, total: int | None, wanted: Wanted) -> None:
    if total is not None and wanted.size and not wanted.size / 2 <= total <= wanted.size * 2:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise SourceError(_PAGE)
        raise SourceError(f"offers {total:,} bytes where about {wanted.size:,} are expected")


def _save(
    client: _Client, response: requests.Response, part: Part, offset: int, wanted: Wanted, meter: ByteMeter
) -> None:
    note = part.note
    total = note.total if note else None
    most = total if total is not None else wanted.size and 2 * wanted.size
    done = offset
    meter.begin(offset, total or wanted.size)
    with disk_errors(part.file), part.file.open("ab") as stream:
        for chunk in client.chunks(response):
            if not done and chunk.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
                raise SourceError(_PAGE)
            done += len(chunk)
            if most and done > most:
                part.clear()
                raise SourceError(f"sends more than {most:,} bytes")
            stream.write(chunk)
            stream.flush()  # what has come survives a SIGKILL
            meter.at(done)
        os.fsync(stream.fileno())
    if total is not None and done != total:
        raise SourceError(f"broke off after {done:,} of {total:,} bytes", again=True)
    if not done:
        raise SourceError("sends nothing")


class _Client:
    """Asks a server, and puts what goes wrong into words."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.session, self.alive = limits, requests.Session(), False
        # Bytes as they lie on the server: a transparent compression would shift ranges and spoil checksums.
        self.session.headers.update({"User-Agent": "seedbed", "Accept-Encoding": "identity"})

    def get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Return the answer, 200, 206 or 416, after redirects.

        They are followed here because requests reads the body of a redirect, however long, into memory.
        """
        for _ in range(self.limits.redirects + 1):
            response = self._ask(url, headers)
            target = self.session.get_redirect_target(response)
            if target is None:
                return self._answer(response)
            response.close()
            url = redirected(url, target)
        raise SourceError(f"redirects more than {self.limits.redirects} times, a loop")

    def _ask(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        timeout = (self.limits.connect, self.limits.patience)
        try:
            response = self.session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
        except (requests.ConnectionError, requests.Timeout) as error:
            cause = getattr(error.args[0], "reason", error.args[0]) if error.args else error
            # A host that never answered gives way to the next source at once; one that did is waited for.
            raise SourceError(_words(cause), again=self.alive or not isinstance(cause, _NO_HOST)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise SourceError(_words(error)) from error
        self.alive = True
        return response

    def _answer(self, response: requests.Response) -> requests.Response:
        status = response.status_code
        if status in _TAKEN:
            return response
        response.close()
        wait = response.headers.get("Retry-After", "")
        raise SourceError(
            f"answers {status} {response.reason}",
            again=status in PASSING,
            wait=float(wait) if wait.isdecimal() else 0.0,
        )

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as it comes. Raises SourceError when the server is silent, slow or gone."""
        began, count = time.monotonic(), 0
        while True:
            try:
                # read1: whatever has come, where read would wait for the whole chunk however slowly it drips.
                chunk = response.raw.read1(CHUNK, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise SourceError(f"broke off: {_words(error)}", again=True) from error
            if not chunk:
                return
            yield chunk
            count += len(chunk)
            seconds = time.monotonic() - began
            if seconds >= self.limits.patience:
                if count < self.limits.rate * seconds:
                    raise SourceError(f"sends no more than {count / seconds:.0f} bytes per second", again=True)
                began, count = time.monotonic(), 0


def redirected(url: str, target: str) -> str:
    """Return the URL that `url` redirects to. Raises SourceError where that leaves the web, or encryption."""
    place = requests.utils.requote_uri(urljoin(url, target))
    before, after = urlsplit(url).scheme.lower(), urlsplit(place).scheme.lower()
    if after not in {"http", "https"} or (before, after) == ("https", "http"):
        raise SourceError(f"redirects to {shown(place)}: refused")
    return place


def _words(error: object) -> str:
    """Return the reason of a network error: urllib3 puts the object that met it in front."""
    return re.sub(r"^<[^>]*>: |^\w+\(host=[^)]*\): ", "", str(error)) or type(error).__name__
