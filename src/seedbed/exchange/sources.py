"""Where files of other projects lie: a folder or a zip, both read in place, nothing extracted."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from seedbed.errors import UserError

MOST_MEMBERS = 2_000_000
"""The most files that a source may have."""
MOST_BYTES = 2**28
"""The most bytes that one file may unpack to."""

_ENCRYPTED = 1  # bit of a zip member's flags
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Member:
    """One file of a source; small, so that it can be handed to another process, which reads it."""

    source: Path
    path: str
    """Its place in the source, posix."""
    index: int | None = None
    """Its place in the list of the zip's members; None in a folder."""

    def __str__(self) -> str:
        path = "".join(letter if letter.isprintable() else "?" for letter in self.path)  # a zip names files as it likes
        return f"{self.source.name}/{path}"

    @property
    def stem(self) -> str:
        """Its name without folder and suffix."""
        return PurePosixPath(self.path).stem

    def size(self) -> int:
        """Return its size in bytes, unpacked, as the folder or the zip has it."""
        if self.index is None:
            return (self.source / self.path).lstat().st_size
        return _opened(self.source, self.source.stat().st_mtime_ns).infolist()[self.index].file_size

    def read(self) -> bytes:
        """Return its content. Raises UserError for links, devices, encrypted, damaged and far too large files."""
        try:
            return self._from_folder() if self.index is None else self._from_zip(self.index)
        except _DAMAGE as error:
            raise UserError(f"cannot be read ({error})") from None

    def _from_folder(self) -> bytes:
        place = self.source / self.path
        found = place.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError("is a link or a device, not a file")
        _check_size(found.st_size)
        return place.read_bytes()

    def _from_zip(self, index: int) -> bytes:
        archive = _opened(self.source, self.source.stat().st_mtime_ns)
        member = archive.infolist()[index]
        mode = member.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise UserError("is a link or a device, not a file")
        if member.flag_bits & _ENCRYPTED:
            raise UserError("is encrypted")
        _check_size(member.file_size)
        with archive.open(member) as stream:
            content = stream.read(MOST_BYTES + 1)  # the header's size may be a lie
        _check_size(len(content))
        return content


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise UserError(f"unpacks to more than {MOST_BYTES >> 20} MiB")


@lru_cache(maxsize=1)
def _opened(path: Path, changed: int) -> zipfile.ZipFile:
    """Return the zip, opened once per process: its list of members is long. `changed` tells it from an older one."""
    return zipfile.ZipFile(path)


def members(source: Path, suffixes: Collection[str]) -> list[Member]:
    """Return the files of a folder (with its subfolders) or a zip that end in one of `suffixes`, in order of path.

    Hidden files and the __MACOSX folder do not count. Raises UserError when `source` is missing or damaged, has far too
    many files, or none of these.
    """
    found = [Member(source, path, index) for path, index in _everything(source) if _counts(path, suffixes)]
    if not found:
        raise UserError(f"{source} holds no files that end in {', '.join(suffixes)}")
    if len(found) > MOST_MEMBERS:
        raise UserError(f"{source} holds more than {MOST_MEMBERS} files")
    return sorted(found, key=lambda member: member.path)


def digest(source: Path) -> str:
    """Return the SHA-256 of a file; of a folder or a zip that of its files' names and sizes: they may be a million."""
    if source.is_file() and not zipfile.is_zipfile(source):
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    files = (Member(source, path, index) for path, index in sorted(_everything(source)) if not _hidden(path))
    named = "".join(f"{member.path}\t{member.size()}\n" for member in files)
    return hashlib.sha256(named.encode("utf-8", "surrogateescape")).hexdigest()


def _everything(source: Path) -> Iterator[tuple[str, int | None]]:
    """Yield the place of every file of a folder or zip, and its place in the zip's list."""
    if source.is_dir():
        return ((path, None) for path in _walk(source))
    if source.is_file():
        return _listed(source)
    raise UserError(f"{source} does not exist", "give the folder or the zip with the files to import")


def _walk(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        yield from (Path(place, name).relative_to(folder).as_posix() for name in files)


def _listed(archive: Path) -> Iterator[tuple[str, int | None]]:
    try:
        listed = _opened(archive, archive.stat().st_mtime_ns).infolist()
    except zipfile.BadZipFile as error:
        fix = "give a folder or a zip; unpack archives of other kinds first"
        raise UserError(f"{archive} is no intact zip ({error})", fix) from None
    return ((member.filename.replace("\\", "/"), index) for index, member in enumerate(listed) if not member.is_dir())


def _counts(path: str, suffixes: Collection[str]) -> bool:
    return not _hidden(path) and PurePosixPath(path).suffix.lower() in suffixes


def _hidden(path: str) -> bool:
    place = PurePosixPath(path)
    return place.name.startswith(".") or "__MACOSX" in place.parts


@dataclass(frozen=True)
class Matches:
    """Which files belong to which image."""

    of_image: dict[str, list[Member]]
    """id -> its files, in the order of the ids: more than one is a doubt that only the user can settle."""
    missed: list[str]
    """Ids without a file."""
    extra: int
    """Files of other images."""


def match(found: Iterable[Member], ids: Collection[str], endings: Collection[str] = ()) -> Matches:
    """Match files with images by name: `<id>.*`, or `<id><ending>.*` with one of the `endings`."""
    wanted = set(ids)
    files: dict[str, list[Member]] = defaultdict(list)
    extra = 0
    for member in found:
        stems = (member.stem, *(member.stem.removesuffix(end) for end in endings if member.stem.endswith(end)))
        image_id = next((stem for stem in stems if stem in wanted), None)
        if image_id is None:
            extra += 1
        else:
            files[image_id].append(member)
    return Matches(
        {image_id: files[image_id] for image_id in ids if image_id in files},
        [image_id for image_id in ids if image_id not in files],
        extra,
    )
