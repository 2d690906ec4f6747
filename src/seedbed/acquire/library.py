"""The library: a folder of public data sets, fetched once and used by any number of projects.

Inside: `downloads/<archive>`, `checksums.json` (recorded at first use), one folder per complete set, `state/<set>.json`
and `state/<set>.files` (what it was made of, and every file with size and hash), and `<set>.part` of sets under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.acquire import manifest
from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.acquire.checksums import Checksums
from seedbed.acquire.manifest import Differences
from seedbed.errors import UserError, unknown_name
from seedbed.files import read_json, write_json


@dataclass(frozen=True)
class Status:
    """What of a data set is in the library."""

    here: bool
    """Whether its folder is there."""
    intact: bool
    """Whether every file of it is there as it was fetched, by size or (if verified) by content."""
    files: int
    bytes: int
    finding: str | None
    """What is there instead of an intact set; None for one that is intact, and when nothing of it is here."""


class Library:
    """Data sets below `root`, as the `catalogue` (default: the built-in one with the user's additions) describes them.

    `jobs`: threads that hash and processes that convert, 0 = one per core.
    """

    def __init__(self, root: Path, catalogue: Mapping[str, DataSet] | None = None, jobs: int = 0) -> None:
        self.root, self.jobs = root, jobs
        self.catalogue = load_catalogue() if catalogue is None else catalogue

    @property
    def downloads(self) -> Path:
        """Folder of the archives."""
        return self.root / "downloads"

    @property
    def checksums(self) -> Checksums:
        """Checksums that were recorded at first use."""
        return Checksums(self.root / "checksums.json")

    def entry(self, name: str) -> DataSet:
        """Return the catalogue's entry of the set `name`. Raises UserError if there is none."""
        if name not in self.catalogue:
            raise unknown_name("data set", name, self.catalogue)
        return self.catalogue[name]

    def folder(self, name: str) -> Path:
        """Return where the set `name` lies, or would; its tree is laid over data/ as it is."""
        return self.root / name

    def part(self, name: str) -> Path:
        """Return the folder in which the set `name` is put together."""
        return self.root / f"{name}.part"

    def in_order(self, names: Sequence[str]) -> list[str]:
        """Return `names` and what they need, each once, what is needed first. Raises UserError for an unknown name."""
        ordered: dict[str, None] = {}
        for name in names:
            ordered |= dict.fromkeys([*self.in_order(self.entry(name).needs), name])
        return list(ordered)

    def status(self, name: str, verify: bool = False) -> Status:
        """Say whether the set `name` is here and intact: by names and sizes, with `verify` by content."""
        entry = self.entry(name)
        if not self.folder(name).is_dir():
            return Status(False, False, 0, 0, self._under_way(name))
        state = self.state(name)
        if state is None:
            return Status(True, False, 0, 0, "not made by seedbed data fetch")
        current = state["entry"] == entry.digest
        finding = str(self.differences(name, verify)) if current else "made after another entry of the catalogue"
        return Status(True, not finding, state["files"], state["bytes"], finding or None)

    def state(self, name: str) -> dict[str, Any] | None:
        """Return what was recorded when the set `name` was complete: what it was made of, counts; None if nothing."""
        record, fix = self._record(name), f"rm {self._record(name)}, then seedbed data fetch {name}"
        if not (record.is_file() and self._files(name).is_file()):
            return None
        state = read_json(record, fix)
        if not (isinstance(state, dict) and state.keys() >= {"entry", "files", "bytes"}):
            raise UserError(f"{record} is no record of a data set", fix)
        return state

    def differences(self, name: str, verify: bool = False) -> Differences:
        """Return how the folder of the set `name` differs from what was recorded, by size or by content."""
        known = manifest.read(self._files(name))
        return manifest.compare(self.folder(name), known, f"{name}: verifying", verify, self.jobs)

    def record(self, name: str, tree: Path, archives: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
        """Record `tree` as what the set `name` consists of, and what it was made of; return the record."""
        files = manifest.measure(tree, f"{name}: recording", self.jobs)
        state = {
            "entry": self.entry(name).digest,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "archives": archives,
            "counts": counts,
            "files": len(files),
            "bytes": sum(one.size for one in files.values()),
        }
        manifest.write(self._files(name), files)
        write_json(self._record(name), state)
        return state

    def downloaded(self, file: str) -> int:
        """Return the bytes of the archive `file` that are downloaded already."""
        here = (self.downloads / file, self.downloads / f"{file}.part")
        return sum(path.stat().st_size for path in here if path.is_file())

    def _record(self, name: str) -> Path:
        return self.root / "state" / f"{name}.json"

    def _files(self, name: str) -> Path:
        return self.root / "state" / f"{name}.files"

    def _under_way(self, name: str) -> str | None:
        """Say what of a set that is not here was begun; None for nothing."""
        archives = self.entry(name).archives
        begun = sum(self.downloaded(file) for file in archives)
        whole = sum((self.downloads / file).is_file() for file in archives)
        if begun:
            return f"{whole} of {len(archives)} archives downloaded, {begun / 1e6:,.1f} MB"
        return "begun" if self.part(name).is_dir() else None
