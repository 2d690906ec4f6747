"""Reading archives that nobody vouches for: every member is judged before it is handed out."""

from __future__ import annotations

import contextlib
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Protocol, Self, cast

from seedbed.acquire.streams import CHUNK, Forward, gunzip, plain
from seedbed.errors import UserError

_HAND = "unpack it by hand, then give the folder: --from FOLDER"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # zipfile: a compression or version it does not know
    RecursionError,  # tarfile: header upon header upon header
    ValueError,  # headers with numbers or names that are none
)
_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1
_SMALL = 64 << 20
"""Bytes that come out of any archive without a question about the ratio."""


@dataclass(frozen=True)
class ExtractLimits:
    """What an archive may hold."""

    bytes: int = 64 << 30
    """Bytes of all members together, the skipped ones too."""
    members: int = 1_000_000
    """Members, folders too."""
    ratio: float = 100.0
    """Bytes that come out per byte of the archive. Images hardly shrink; what shrinks to a hundredth fills disks."""


class RefusedError(Exception):
    """A member that an honest archive does not hold."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member!r}: {reason}")


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path with `/`, its size in bytes, and its content, which is read once, in order."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    crc: int | None = None
    """CRC-32 of the content, where the archive says it beforehand."""


class Archive(Protocol):
    """An open archive."""

    listed: bool
    """Whether all members are known, and judged, before the first is read."""
    size: int
    """Bytes until the end, and ..."""

    @property
    def position(self) -> int:
        """... where it is read."""

    def members(self) -> Iterator[Member]:
        """Yield the files. Raises RefusedError."""


def safe_path(name: str) -> PurePosixPath | None:
    """Return the path that `name` is, None when it is none inside a folder (absolute, `..`, drives, backslashes)."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or _DRIVE.match(name) or path.is_absolute() or ".." in path.parts:
        return None
    return path


@contextlib.contextmanager
def open_archive(path: Path, limits: ExtractLimits) -> Iterator[Archive]:
    """Open a tar, a gzipped tar or a zip, told by its content. A context manager.

    Whatever is met inside, also by the caller, becomes a UserError that names `path`: a refused member, damage.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            stream.seek(0)
            if head.startswith(b"PK"):
                yield _Zip(stream, path.stat().st_size, limits)
            elif head.startswith((b"Rar!", b"7z\xbc\xaf\x27\x1c")):
                raise UserError(f"{path} is a RAR or 7-Zip archive, which is not read here", _HAND)
            elif head.lstrip().startswith(b"<"):
                raise UserError(f"{path} is a web page, not an archive", "fetch the file that the page leads to")
            else:
                yield _Tar(stream, path.stat().st_size, limits, gzipped=head.startswith(b"\x1f\x8b"))
    except RefusedError as error:
        raise UserError(f"{path} is refused: {error}", "get the archive from a source that you trust") from None
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise UserError(f"{path} is damaged, or no archive: {what}", f"rm {path}, then fetch it again") from None


@dataclass
class _Judge:
    """Judges names, kinds and numbers of members."""

    limits: ExtractLimits
    packed: int
    """Bytes of the archive."""
    count: int = 0

    @property
    def most(self) -> int:
        """Bytes that may come out."""
        return min(self.limits.bytes, max(_SMALL, int(self.limits.ratio * self.packed)))

    def name(self, name: str) -> str:
        """Return the member's path in its plain form."""
        self.count += 1
        if self.count > self.limits.members:
            raise RefusedError(name, f"there are more than {self.limits.members:,} members")
        path = safe_path(name)
        if path is None:
            raise RefusedError(name, "its path leads out of the folder, or is none")
        return str(path)

    def too_much(self, name: str) -> RefusedError:
        """Return the error for more bytes than may come out."""
        return RefusedError(name, f"more than {self.most:,} bytes come out of an archive of {self.packed:,}")


class _Zip:
    listed = True

    def __init__(self, stream: BinaryIO, packed: int, limits: ExtractLimits) -> None:
        try:
            self._zip = zipfile.ZipFile(stream)
        except OSError as error:  # a directory of members that would begin before the file does
            raise zipfile.BadZipFile(str(error)) from None
        self._judge = _Judge(limits, packed)
        self.size = sum(info.file_size for info in self._zip.infolist())
        self.position = 0

    def members(self) -> Iterator[Member]:
        for info in self._zip.infolist():
            name = self._judge.name(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise RefusedError(info.filename, "it is a link or a device")
            if info.flag_bits & _ENCRYPTED:
                raise RefusedError(info.filename, "it is encrypted")
            if self.size > self._judge.most:
                raise self._judge.too_much(info.filename)
            if not 0 <= info.header_offset < self._judge.packed:
                raise zipfile.BadZipFile(f"{info.filename!r} would begin at byte {info.header_offset:,}")
            if not info.is_dir():
                yield Member(name, info.file_size, partial(self._chunks, info), info.CRC)

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._zip.open(info) as stream:
            while chunk := stream.read(CHUNK):
                self.position += len(chunk)
                if self.position > self._judge.most:
                    raise self._judge.too_much(info.filename)
                yield chunk


class _Tar:
    listed = False

    def __init__(self, stream: BinaryIO, packed: int, limits: ExtractLimits, *, gzipped: bool) -> None:
        self._stream, self._judge, self._name = stream, _Judge(limits, packed), ""
        self._forward = Forward(gunzip(stream) if gzipped else plain(stream), self._count)
        self.size = packed

    @property
    def position(self) -> int:
        return self._stream.tell()

    def members(self) -> Iterator[Member]:
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], self._forward), tarinfo=_StrictInfo)
        while info := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps them all
            self._name = info.name
            name = self._judge.name(info.name)
            if info.issparse() or not (info.isreg() or info.isdir()):
                raise RefusedError(info.name, "it is a link, a device or has holes")
            if info.size < 0:
                raise tarfile.ReadError(f"{info.name!r} claims {info.size} bytes")
            if info.isreg():
                yield Member(name, info.size, partial(self._chunks, info))
        self._forward.drain()

    def _chunks(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        self._forward.seek(info.offset_data)
        left = info.size
        while left:
            chunk = self._forward.read(min(left, CHUNK))
            if not chunk:
                raise tarfile.ReadError(f"it ends in the middle of {info.name!r}")
            left -= len(chunk)
            yield chunk

    def _count(self, come: int) -> None:
        if come > self._judge.most:
            raise self._judge.too_much(self._name)


class _StrictInfo(tarfile.TarInfo):
    """A member whose header must be right: tarfile takes a damaged one, and none at all, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset:,}") from None
