"""Which files there are below a folder, and what tells that one has changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from seedbed.errors import UserError

Stamp = tuple[int, int, int]
"""Size (bytes), time of the last change (ns) and inode of a file."""


@dataclass(frozen=True)
class Inventory:
    """The files below a folder, by path relative to it, and its symbolic links."""

    files: dict[str, Stamp]
    links: tuple[str, ...]


def take_inventory(root: Path) -> Inventory:
    """List the folder `root`, which may be missing. A link to a file counts as that file; one to a folder does not.

    Raises UserError when a folder may not be read.
    """
    files: dict[str, Stamp] = {}
    links: list[str] = []
    pending = [""] if root.is_dir() else []
    while pending:
        prefix = pending.pop()
        with _scanned(root / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink():
                    links.append(name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif entry.is_file():
                    stat = entry.stat()
                    files[name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return Inventory(dict(sorted(files.items())), tuple(sorted(links)))


def _scanned(folder: Path) -> os._ScandirIterator[str]:
    try:
        return os.scandir(folder)
    except PermissionError:
        raise UserError(f"the folder {folder} may not be read", f"ls -ld {folder}") from None
