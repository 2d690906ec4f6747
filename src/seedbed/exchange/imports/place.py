"""Where an import is written: beside the data first, put in its place when it is complete."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.paths import Paths
from seedbed.seeds.store import MapStore

KINDS = ("saliency", "seeds", "pseudo")
"""Kinds of imports that have a name and a folder; image labels are one file."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Place:
    """The folder `target` of an import, and `scratch`, outside data/ so that a killed import leaves nothing there."""

    target: Path
    scratch: Path

    @classmethod
    def of(cls, paths: Paths, kind: str, name: str) -> Place:
        """Return the place of the import `name`. Raises UserError when that is no name for a folder."""
        if not _NAME.fullmatch(name):
            raise UserError(
                f"'{name}' cannot name an import", "take letters, digits, '.', '_' and '-', a letter or a digit first"
            )
        return cls(paths.imported(kind, name), paths.root / ".seedbed" / "imports" / f"{kind}-{name}")

    @contextmanager
    def filled(self) -> Iterator[Path]:
        """Yield an empty folder to write to; it becomes `target`, in the place of the former, if the body ends well.

        A failure, or a kill at any moment, leaves the former import where it was, or in `scratch`, from where the next
        import of that name puts it back first.
        """
        fresh, old = self.scratch / "fresh", self.scratch / "old"
        with disk_errors(self.target):
            if old.exists() and not self.target.exists():
                old.rename(self.target)
            shutil.rmtree(self.scratch, ignore_errors=True)
            fresh.mkdir(parents=True)
            try:
                yield fresh
                self.target.parent.mkdir(parents=True, exist_ok=True)
                if self.target.exists():
                    self.target.rename(old)
                fresh.rename(self.target)
            except BaseException:
                if old.exists() and not self.target.exists():
                    old.rename(self.target)
                raise
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass(frozen=True)
class Listed:
    """An import below data/: its kind, its name, and the number of images that it has something of."""

    kind: str
    name: str
    images: int


def list_imports(paths: Paths) -> list[Listed]:
    """Return the imports below data/imported, by kind and name."""
    found = []
    for kind in KINDS:
        parent = paths.imported(kind, "x").parent
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if folder.is_dir():
                found.append(Listed(kind, folder.name, _count(kind, folder)))
    return found


def _count(kind: str, folder: Path) -> int:
    if kind == "seeds":
        return len(MapStore(folder, "import the seeds again"))
    return sum(1 for _ in folder.glob("*.png"))
