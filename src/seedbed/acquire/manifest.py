"""What a fetched data set consists of: every file with its size and hash, and how a folder differs from that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import joblib

from seedbed.errors import UserError
from seedbed.files import write_text
from seedbed.progress import Meter

_AT_ONCE = 4096  # files handed to the threads together: enough to keep them busy, few enough for a bar that moves


class Item(NamedTuple):
    """One file: bytes, and BLAKE2b (16 bytes, hexadecimal) of its content."""

    size: int
    digest: str


Manifest = dict[str, Item]
"""Files by their path below the folder, with slashes."""


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its manifest, as sorted paths."""

    missing: list[str]
    changed: list[str]
    added: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.added)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("changed", self.changed), ("never fetched", self.added))
        return "; ".join(f"{len(paths)} {kind}, the first is {paths[0]}" for kind, paths in kinds if paths)


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file below `folder`, by path with slashes; hidden files of the desktop are no files."""
    return {path: entry.stat(follow_symlinks=False).st_size for path, entry in _walk(folder, "")}


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.name not in (".DS_Store", "Thumbs.db"):
                yield prefix + entry.name, entry


def measure(folder: Path, title: str, jobs: int = 0) -> Manifest:
    """Return the manifest of `folder` as it is; `jobs` threads read it, 0 = one per core."""
    found = sizes(folder)
    digests = _digests(folder, sorted(found), title, jobs)
    return {path: Item(found[path], digest) for path, digest in digests}


def compare(folder: Path, manifest: Manifest, title: str, verify: bool = False, jobs: int = 0) -> Differences:
    """Return how `folder` differs from `manifest`: by names and sizes, with `verify` by content too."""
    found = sizes(folder)
    both = sorted(manifest.keys() & found.keys())
    changed = {path for path in both if found[path] != manifest[path].size}
    if verify:
        digests = _digests(folder, [path for path in both if path not in changed], title, jobs)
        changed |= {path for path, digest in digests if digest != manifest[path].digest}
    return Differences(sorted(manifest.keys() - found.keys()), sorted(changed), sorted(found.keys() - manifest.keys()))


def _digests(folder: Path, paths: list[str], title: str, jobs: int) -> Iterable[tuple[str, str]]:
    """Yield every path with its hash. Threads do: hashing lets go of the interpreter's lock."""
    with ThreadPoolExecutor(jobs or joblib.cpu_count()) as pool, Meter(title, len(paths), unit="files") as meter:
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            yield from zip(some, pool.map(lambda path: _digest(folder / path), some), strict=True)
            meter.advance(len(some))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write(path: Path, manifest: Manifest) -> None:
    """Write `manifest` as lines of path, size and hash, with tabs between."""
    write_text(path, "".join(f"{name}\t{one.size}\t{one.digest}\n" for name, one in sorted(manifest.items())))


def read(path: Path) -> Manifest:
    """Read what `write` wrote. Raises UserError when the file is no manifest."""
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: Item(int(size), digest) for name, size, digest in rows}
    except ValueError:
        raise UserError(f"{path} is damaged: it is no list of files", f"rm {path}, then fetch the set again") from None
