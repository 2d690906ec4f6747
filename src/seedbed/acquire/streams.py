"""Bytes of an archive as a stream that only runs forward, is counted, and never holds more than a chunk."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

CHUNK = 1 << 18
"""Bytes read at once; also the longest header of a tar, which tarfile would read whole whatever length it claims."""
_MAGIC = b"\x1f\x8b"


def plain(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of `stream`."""
    while chunk := stream.read(CHUNK):
        yield chunk


def gunzip(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what the gzip members of `stream` hold, their checksums checked; what follows the last one is ignored.

    Raises zlib.error for damage and EOFError for a stream that ends too early. (gzip.GzipFile refuses bytes behind the
    last member, which archives on the web do have.)
    """
    data = stream.read(CHUNK)
    while data.startswith(_MAGIC):
        inflate = zlib.decompressobj(wbits=31)
        while not inflate.eof:
            data = data or stream.read(CHUNK)
            chunk = inflate.decompress(data, CHUNK)
            if not data and not chunk:
                raise EOFError("it ends too early")
            data = inflate.unconsumed_tail
            yield chunk
        data = inflate.unused_data
        if len(data) < len(_MAGIC):
            data += stream.read(CHUNK)


class Forward:
    """What tarfile needs of a file, over `chunks`. `count` is told how many bytes have come, and may raise.

    Seeking back, and reading more than a chunk at once, only hostile archives ask for: tarfile.ReadError.
    """

    def __init__(self, chunks: Iterator[bytes], count: Callable[[int], None]) -> None:
        self._chunks, self._count = chunks, count
        self._come, self._rest = 0, memoryview(b"")

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._come - len(self._rest)

    def seek(self, position: int) -> None:
        """Go forward to `position`, or to the end."""
        if position < self.tell():
            raise tarfile.ReadError("a member begins before the end of another")
        while position > self._come and self._more():
            pass
        self._rest = self._rest[max(len(self._rest) - (self._come - position), 0) :]

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        parts = []
        while size:
            if not self._rest and not self._more():
                break
            parts.append(self._rest[:size])
            self._rest = self._rest[len(parts[-1]) :]
            size -= len(parts[-1])
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end, where the checksum is."""
        while self._more():
            pass

    def _more(self) -> bool:
        """Replace the rest by the next bytes; return whether there are any."""
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        self._come += len(chunk)
        self._rest = memoryview(chunk)
        self._count(self._come)
        return bool(chunk)
