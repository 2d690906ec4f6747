"""What a fetched data set consists of: every file with its size and hash, and how a folder differs from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seedbed import trees
from seedbed.files import write_text
from seedbed.progress import Meter
from seedbed.trees import Differences

_NO_FILE = -1
"""Size of a link or a device: no file of a set is one."""


class Item(NamedTuple):
    """One file: bytes, and BLAKE2b (16 bytes, hexadecimal) of its content."""

    size: int
    digest: str


Manifest = dict[str, Item]
"""Files by their path below the folder, with slashes."""


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file below `folder`, by path with slashes; of anything else -1."""
    return {one.path: one.size if one.kind == "file" else _NO_FILE for one in trees.walk(folder)}


def measure(folder: Path, title: str, jobs: int = 0) -> Manifest:
    """Return the manifest of `folder` as it is; `jobs` threads read it, 0 = one per core."""
    found = sizes(folder)
    return {path: Item(found[path], digest) for path, digest in _digests(folder, list(found), title, jobs)}


def compare(folder: Path, manifest: Manifest, title: str, verify: bool = False, jobs: int = 0) -> Differences:
    """Return how `folder` differs from `manifest`: by names and sizes, with `verify` by content too."""
    found: dict[str, object] = dict(sizes(folder))
    wanted: dict[str, object] = {path: one.size for path, one in manifest.items()}
    if verify:
        same = [path for path, size in wanted.items() if found.get(path) == size]
        found |= _digests(folder, same, title, jobs)
        wanted |= {path: manifest[path].digest for path in same}
    return trees.compare(wanted, found)


def _digests(folder: Path, paths: Sequence[str], title: str, jobs: int) -> Iterator[tuple[str, str]]:
    with Meter(title, len(paths), unit="files") as meter:
        digests = trees.hash_files((folder / path for path in paths), "blake2b", jobs)
        for path, digest in zip(paths, digests, strict=True):
            yield path, digest
            meter.advance(1)


def write(path: Path, manifest: Manifest) -> None:
    """Write `manifest` as lines of path, size and hash, with tabs between."""
    write_text(path, "".join(f"{name}\t{one.size}\t{one.digest}\n" for name, one in sorted(manifest.items())))


def read(path: Path) -> Manifest | None:
    """Read what `write` wrote; None when there is no such file, or one that is no manifest."""
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: Item(int(size), digest) for name, size, digest in rows}
    except (FileNotFoundError, ValueError):
        return None
