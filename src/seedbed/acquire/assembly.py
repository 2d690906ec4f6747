"""Putting a data set together beside its place: extraction, what the user got by hand, conversion, the counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.acquire.archive import extract, lay
from seedbed.acquire.catalogue import CATALOGUE_VARIABLE, Archive, DataSet
from seedbed.acquire.coco import convert_coco
from seedbed.acquire.counting import count, findings
from seedbed.acquire.given import Source
from seedbed.acquire.library import read_record
from seedbed.acquire.manifest import sizes
from seedbed.acquire.sbd import convert_sbd
from seedbed.errors import UserError
from seedbed.files import write_json

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

    def begin(self, contents: Mapping[str, Any]) -> None:
        """Start, or go on with what an earlier run left, if that was made of the same: same recipe, same contents.

        `contents`: what each archive is, by its hash, or which files of a folder are taken in its place.
        """
        inputs = {"recipe": self.entry.recipe, "archives": contents}
        record = self.folder / "inputs.json"
        if read_record(record) != inputs:
            self.discard()
            write_json(record, inputs)

    def adopt(self, folder: Path, damaged: Sequence[str], contents: Mapping[str, Any]) -> None:
        """Begin with `folder`, a set that was complete once and made of `contents`, without its `damaged` files."""
        self.discard()
        self.begin(contents)
        for path in damaged:
            (folder / path).unlink()
        folder.rename(self.tree)

    def discard(self) -> None:
        """Remove all that was put together."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    @property
    def bytes(self) -> int:
        """Bytes that were put together already."""
        return sum(sizes(self.folder).values())

    def take(self, archive: Archive, source: Source) -> int:
        """Put the files of `source` where `archive` wants them; return how many."""
        target = self.raw if archive.raw else self.tree
        if source.files is not None:
            return lay(source.path, source.files, target, archive.rules).files
        return extract(source.path, target, archive.rules, source.limits, progress=True).files

    def convert(self, needed: Mapping[str, Path], jobs: int) -> None:
        """Run the set's conversion, if it has one, in `jobs` processes; `needed`: folders of the sets that it reads."""
        if self.entry.convert is not None:
            _CONVERSIONS[self.entry.convert](self, needed, jobs)

    def counts(self) -> dict[str, int]:
        """Return the counts found where the catalogue expects some. Raises UserError when they are not those."""
        for left in self.tree.rglob(".*.part"):  # what a process that was killed in the middle of a file left
            left.unlink()
        found = findings(self.tree, self.entry.expected)
        if found:
            raise UserError(
                f"{self.name} is not complete: {'; '.join(found)}; what there is stays in {self.folder}",
                f"get its archives anew (seedbed data list {self.name}) or give a complete folder with --from; if your "
                f"copy of the set is meant to differ, put other expected counts into a file that {CATALOGUE_VARIABLE} "
                "names, then the same command again",
            )
        return count(self.tree, self.entry.expected)


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
            labels=target / LABELS,
            work=assembly.folder / "work" / split,
            images=target / "JPEGImages",
            jobs=jobs,
        )


_CONVERSIONS: dict[str, Callable[[Assembly, Mapping[str, Path], int], None]] = {"sbd": _sbd, "coco": _coco}
