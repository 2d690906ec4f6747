"""Putting a data set together beside its place: extraction, what the user got by hand, conversion, the counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.acquire.archive import Rule, extract, lay
from seedbed.acquire.catalogue import CATALOGUE_VARIABLE, Archive, DataSet
from seedbed.acquire.coco import convert_coco
from seedbed.acquire.manifest import sizes
from seedbed.acquire.sbd import convert_sbd
from seedbed.errors import UserError
from seedbed.files import read_json, write_json

LABELS = "image_labels.json"
_SPLITS = ("train", "val")


@dataclass(frozen=True)
class Assembly:
    """The folder in which a data set is put together, so that a killed command goes on with what is complete.

    `tree` becomes the data set, `raw` is what its conversion reads, `work` the conversion's running state.
    """

    name: str
    entry: DataSet
    folder: Path

    @property
    def tree(self) -> Path:
        """What becomes the data set."""
        return self.folder / "tree"

    @property
    def raw(self) -> Path:
        """What the conversion reads."""
        return self.folder / "raw"

    def begin(self, given: Sequence[Path]) -> None:
        """Start, or go on with what an earlier run left, if that was made of the same: same entry, same files given."""
        inputs = {"entry": self.entry.digest, "given": sorted(str(path.absolute()) for path in given)}
        record = self.folder / "inputs.json"
        if not record.is_file() or read_json(record) != inputs:
            self.discard()
            write_json(record, inputs)

    def adopt(self, folder: Path, given: Sequence[Path]) -> None:
        """Start from `folder`, of which all that is damaged was removed."""
        self.discard()
        self.begin(given)
        folder.rename(self.tree)

    def discard(self) -> None:
        """Remove all that was put together."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    @property
    def bytes(self) -> int:
        """Bytes that were put together already."""
        return sum(sizes(self.folder).values())

    def take(self, archive: Archive, source: Path) -> int:
        """Put the files of `source`, an archive or an unpacked folder, where `archive` wants them; return how many."""
        target = self.raw if archive.raw else self.tree
        rules = [Rule(pattern, place) for pattern, place in archive.layout.items()]
        if source.is_dir():
            return lay(source, target, rules).files
        return extract(source, target, rules, progress=True).files

    def convert(self, needed: Mapping[str, Path], jobs: int) -> None:
        """Run the set's conversion, if it has one, in `jobs` processes; `needed`: folders of the sets that it reads."""
        if self.entry.convert is not None:
            _CONVERSIONS[self.entry.convert](self, needed, jobs)

    def counts(self) -> dict[str, int]:
        """Return the counts found where the catalogue expects some. Raises UserError when they are not those."""
        for left in self.tree.rglob(".*.part"):  # what a process that was killed in the middle of a file left
            left.unlink()
        found = {place: _count(self.tree / place) for place in self.entry.expected}
        wrong = [
            f"{place} holds {found[place]:,}, expected {number:,}"
            for place, number in self.entry.expected.items()
            if found[place] != number
        ]
        if wrong:
            self.discard()  # what is wrong in it would stay wrong
            raise UserError(
                f"{self.name} is not complete: {'; '.join(wrong)}; nothing was put in place",
                "get its archives anew (seedbed data list) or give a complete folder with --from; if your "
                f"copy of the set is meant to differ, put other expected counts into a file that {CATALOGUE_VARIABLE} "
                "names",
            )
        return found


def _count(place: Path) -> int:
    """Return how many files a folder holds, or how many lines a list."""
    if place.suffix == ".txt":
        return sum(bool(line.strip()) for line in place.read_text().splitlines()) if place.is_file() else 0
    return len(sizes(place)) if place.is_dir() else 0


def _sbd(assembly: Assembly, needed: Mapping[str, Path], jobs: int) -> None:
    place = assembly.entry.place
    convert_sbd(assembly.raw, needed["voc12"] / place, assembly.tree / place, jobs)


def _coco(assembly: Assembly, needed: Mapping[str, Path], jobs: int) -> None:
    target = assembly.tree / assembly.entry.place
    for split in _SPLITS:
        convert_coco(
            assembly.raw / f"instances_{split}.json",
            target,
            split,
            labels=assembly.tree / LABELS,
            work=assembly.folder / "work" / split,
            images=target / "JPEGImages",
            jobs=jobs,
        )


_CONVERSIONS: dict[str, Callable[[Assembly, Mapping[str, Path], int], None]] = {"sbd": _sbd, "coco": _coco}
