"""Trees of files: what is below a folder, how two trees differ, hashes, links instead of copies, room on the disk, and
one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from seedbed.errors import UserError
from seedbed.files import disk_errors

RESERVE = 64_000_000
"""Bytes that stay free: a disk filled to the brim stops more than Seedbed."""

_CLUTTER = re.compile(r"__MACOSX|\.DS_Store|Thumbs\.db|\._.*", re.DOTALL)
_ODD = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_FICLONE = 0x40049409  # Linux: share the blocks of another file
_REFUSED = {
    errno.EACCES, errno.EINVAL, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.ENOTTY, errno.EPERM, errno.EXDEV
}  # fmt: skip
"""What a file system answers that cannot make such a link, or not between these two places."""
_AT_ONCE = 4096  # files handed to the threads together: enough to keep them busy, few enough to hold

Kind = Literal["file", "link", "other", "odd"]
"""A file; a symbolic link; a FIFO, socket or device; whatever has a name that is not UTF-8 or has control characters
in it, a folder too: DVC, lists of files and JSON would stumble over it."""
Digest = Literal["md5", "blake2b"]
"""MD5, as DVC has it, or BLAKE2b of 16 bytes."""


class Entry(NamedTuple):
    """Something below a folder that is no folder."""

    path: str
    """Relative to the folder, with slashes; of a file of an odd name, with that escaped so that it can be shown."""
    kind: Kind
    size: int
    """Bytes."""
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True)
class Differences:
    """How a tree differs from what it should be, as sorted paths; false where it does not."""

    modified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files)

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.modified, *self.missing, *self.added)

    def __str__(self) -> str:
        kinds = {"modified": self.modified, "missing": self.missing, "added": self.added}
        return ", ".join(f"{len(files)} {kind}" for kind, files in kinds.items() if files) or "nothing"


def walk(root: Path) -> Iterator[Entry]:
    """Yield what is below the folder `root`, which may be missing, sorted by path; clutter is left out.

    No link is followed. Raises UserError when a folder may not be read.
    """
    return _walk(root, "") if root.is_dir() else iter(())


def _walk(folder: Path | str, prefix: str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as scanned:
            # With the slash, a folder stands where its files do among the sorted paths.
            entries = sorted((one.name + "/" * one.is_dir(follow_symlinks=False), one) for one in scanned)
    except PermissionError:
        raise UserError(f"the folder {folder} may not be read", f"ls -ld {folder}") from None
    for name, one in entries:
        if is_clutter(one.name):
            continue
        if name.endswith("/") and not _ODD.search(name):
            yield from _walk(one.path, prefix + name)
        else:
            yield _entry(one, prefix)


def _entry(one: os.DirEntry[str], prefix: str) -> Entry:
    said = one.stat(follow_symlinks=False)
    path, kind = prefix + one.name, _kind(said.st_mode)
    if _ODD.search(one.name):
        path, kind = prefix + ascii(one.name)[1:-1], "odd"
    return Entry(path, kind, said.st_size, said.st_mtime_ns, said.st_ctime_ns, said.st_ino)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    return "link" if stat.S_ISLNK(mode) else "other"


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this `name` is what desktops leave behind (`.DS_Store`, `._x`, `Thumbs.db`, ...)."""
    return _CLUTTER.fullmatch(name) is not None


def compare(wanted: Mapping[str, object], found: Mapping[str, object]) -> Differences:
    """Return how `found` differs from `wanted`: both path -> whatever tells one content from another."""
    return Differences(
        tuple(sorted(path for path in wanted.keys() & found.keys() if wanted[path] != found[path])),
        tuple(sorted(wanted.keys() - found.keys())),
        tuple(sorted(found.keys() - wanted.keys())),
    )


def hash_file(path: Path, digest: Digest) -> str:
    """Return the hash of the content of `path`, hexadecimal."""
    with path.open("rb") as stream:
        if digest == "md5":
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def hash_files(paths: Iterable[Path], digest: Digest, jobs: int = 0) -> Iterator[str]:
    """Yield the hash of every file, in order, read by `jobs` threads (0 = one per core).

    Threads do: hashing lets go of the interpreter's lock. Raises OSError for a file that cannot be read.
    """
    with ThreadPoolExecutor(jobs or len(os.sched_getaffinity(0))) as pool:
        pending = iter(paths)
        while some := list(islice(pending, _AT_ONCE)):
            yield from pool.map(lambda path: hash_file(path, digest), some)


def link_or_copy(source: Path, target: Path) -> Literal["hard link", "reflink", "copy"]:
    """Make `target`, which must not exist, a file of the same content as `source` in the cheapest way; return which."""
    try:
        target.hardlink_to(source)
        return "hard link"
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    with disk_errors(target), source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            return "reflink"
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        shutil.copyfileobj(reader, writer)
    return "copy"


def check_space(folder: Path, needed: int, purpose: str, otherwise: str = "") -> None:
    """Raise UserError when the disk of `folder`, which need not exist yet, lacks room for `needed` bytes and a reserve.

    Nothing needed always fits. `purpose` says what for, `otherwise` what helps besides freeing space.
    """
    there = existing(folder)
    free = shutil.disk_usage(there).free
    if needed and needed + RESERVE > free:
        raise UserError(
            f"not enough space in {folder}: {purpose} takes {in_words(needed)}, {in_words(free)} are free, and "
            f"{in_words(RESERVE)} of them stay free",
            f"free some space (df -h {there}){otherwise}",
        )


def existing(folder: Path) -> Path:
    """Return `folder`, or the nearest folder above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


@contextlib.contextmanager
def alone(folder: Path, busy: str) -> Iterator[None]:
    """Hold `folder` (made if need be) for this process, by a lock on `<folder>/.lock` that a dying process lets go.

    Programs that it runs with `close_fds=False` hold it too: they may outlive it. Raises UserError, which says `busy`,
    when another process holds it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy, "wait for it to end, then run the same command again") from None
        os.set_inheritable(lock.fileno(), True)
        yield


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: 1 file, 2 files."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_words(size: int) -> str:
    """Return a number of bytes as a reader has it: 512 bytes, 3.3 MB, 1.9 GB."""
    power = min((len(str(size)) - 1) // 3, 4)
    return f"{size / 1000**power:.1f} {('', 'kB', 'MB', 'GB', 'TB')[power]}" if power else f"{size} bytes"
