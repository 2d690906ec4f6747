"""The library: a folder of public data sets, fetched once and used by any number of projects.

Inside: `downloads/<set>/<archive>`, `checksums.json` (recorded at first use), one folder per complete set,
`state/<set>.json` and `state/<set>.files` (what it was made of, and every file with size and hash), and `<set>.part` of
sets under way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.acquire import manifest
from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.acquire.checksums import Checksums
from seedbed.acquire.manifest import Manifest
from seedbed.errors import UserError, unknown_name
from seedbed.files import read_json, write_json
from seedbed.trees import Differences, in_words


@dataclass(frozen=True)
class Status:
    """What of a data set is in the library."""

    here: bool
    """Whether its folder is there."""
    intact: bool
    """Whether it is what the catalogue says, every file as it was fetched, by size or (if verified) by content."""
    files: int
    bytes: int
    finding: str | None
    """What is there instead of an intact set; None for one that is intact, and when nothing of it is here."""
    outdated: bool = False
    """Whether every file is as it was fetched, but the catalogue's entry has changed since."""


class Library:
    """Data sets below `root`, as the `catalogue` (default: the built-in one with the user's additions) describes them.

    `jobs`: threads that hash and processes that convert, 0 = one per core.
    """

    def __init__(self, root: Path, catalogue: Mapping[str, DataSet] | None = None, jobs: int = 0) -> None:
        self.root, self.jobs = root, jobs
        self.catalogue = load_catalogue() if catalogue is None else catalogue

    def downloads(self, name: str) -> Path:
        """Return the folder of the archives of the set `name`."""
        return self.root / "downloads" / name

    def checksums(self, name: str) -> Checksums:
        """Return the checksums of the archives of the set `name` that were recorded at first use."""
        return Checksums(self.root / "checksums.json", prefix=f"{name}/")

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
        known, state = self.manifest(name), self.state(name)
        if known is None:
            return Status(True, False, 0, 0, "not made by seedbed data fetch, or the list of its files is damaged")
        found = self.compare(name, known, verify)
        outdated = not found and state is not None and state["entry"] != entry.digest
        finding = None
        if found:
            finding = f"{found}, as {found.files[0]}"
        elif state is None:
            finding = "its record is missing or damaged"
        elif outdated:
            finding = "the catalogue's entry has changed since it was fetched"
        return Status(True, finding is None, len(known), _bytes(known), finding, outdated)

    def state(self, name: str) -> dict[str, Any] | None:
        """Return what the set `name` was made of, and its counts; None when nothing is recorded that can be read."""
        state = read_record(self._record(name))
        return state if state.keys() >= {"entry", "archives"} and isinstance(state["archives"], dict) else None

    def manifest(self, name: str) -> Manifest | None:
        """Return the files of the set `name` as they were when it was complete; None when no list can be read."""
        return manifest.read(self._files(name))

    def compare(self, name: str, known: Manifest, verify: bool = False) -> Differences:
        """Return how the folder of the set `name` differs from `known`, by size or by content."""
        return manifest.compare(self.folder(name), known, f"{name}: verifying", verify, self.jobs)

    def record(
        self, name: str, files: Manifest, archives: Mapping[str, Any], counts: Mapping[str, int]
    ) -> dict[str, Any]:
        """Record that the set `name` consists of `files`, and what it was made of; return the record."""
        state = {
            "entry": self.entry(name).digest,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "archives": archives,
            "counts": counts,
            "files": len(files),
            "bytes": _bytes(files),
        }
        manifest.write(self._files(name), files)
        write_json(self._record(name), state)
        return state

    def downloaded(self, name: str, file: str) -> int:
        """Return the bytes of the archive `file` of the set `name` that are downloaded already."""
        here = (self.downloads(name) / file, self.downloads(name) / f"{file}.part")
        return sum(path.stat().st_size for path in here if path.is_file())

    def _record(self, name: str) -> Path:
        return self.root / "state" / f"{name}.json"

    def _files(self, name: str) -> Path:
        return self.root / "state" / f"{name}.files"

    def _under_way(self, name: str) -> str | None:
        """Say what of a set that is not here was begun; None for nothing."""
        archives = self.entry(name).archives
        begun = sum(self.downloaded(name, file) for file in archives)
        whole = sum((self.downloads(name) / file).is_file() for file in archives)
        if begun:
            return f"{whole} of {counted(len(archives), 'archive')} downloaded, {in_words(begun)}"
        return "begun" if self.part(name).is_dir() else None


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, an empty one where there is none that can be read."""
    with contextlib.suppress(UserError):
        content = read_json(path)
        if isinstance(content, dict):
            return content
    return {}


def counted(number: int, noun: str) -> str:
    """Return how many there are, as `1 file`, `2,000 files`."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def _bytes(files: Manifest) -> int:
    return sum(one.size for one in files.values())
