"""Which files there are below a folder, what tells that one has changed, and what DVC could not record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seedbed.errors import UserError
from seedbed.trees import Kind, walk

Stamp = tuple[int, int, int, int]
"""Size (bytes), times of the last change of content and of anything (ns), and inode of a file.

The second time is the kernel's: no program can set it back.
"""

REFUSED: Mapping[Kind, str] = {
    "link": "is a symbolic link: of what it points to, DVC records nothing",
    "other": "is neither a file nor a folder, but a pipe, a socket or a device: DVC cannot record it",
    "odd": "has a name that is not UTF-8 or holds a control character: DVC cannot record it",
}
"""What must not be below data/, and why."""
_MEND: Mapping[Kind, str] = {
    "link": "put a copy of what it points to in its place (cp -rL copies a whole folder so)",
    "other": "remove it",
    "odd": "rename it",
}


@dataclass(frozen=True)
class Inventory:
    """What is below a folder, sorted by path relative to it, but for the clutter of desktops."""

    files: Mapping[str, Stamp]
    refused: Mapping[str, Kind]
    """What is no plain file of a plain name. Nothing here is ever followed or opened."""


def take_inventory(root: Path) -> Inventory:
    """List the folder `root`, which may be missing. Raises UserError when a folder may not be read."""
    files: dict[str, Stamp] = {}
    refused: dict[str, Kind] = {}
    for one in walk(root):
        if one.kind == "file":
            files[one.path] = (one.size, one.mtime_ns, one.ctime_ns, one.inode)
        else:
            refused[one.path] = one.kind
    return Inventory(files, refused)


def list_files(root: Path) -> list[str]:
    """Return the files below `root`. Raises UserError when there is anything else."""
    found = take_inventory(root)
    for name, kind in found.refused.items():
        more = f"; and {len(found.refused) - 1} more such" if len(found.refused) > 1 else ""
        raise UserError(f"{root / name} {REFUSED[kind]}{more}", _MEND[kind])
    return list(found.files)
