"""Methods that others have run: their class maps or pseudo-labels, brought in by `seedbed import`.

Nothing is trained. Imported class maps (`seeds`) take the way of our own from the fusion on; imported pseudo-labels are
taken as they are, so no rule applies to them and no threshold is chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from seedbed.data.batches import image_size
from seedbed.data.images import Size
from seedbed.data.masks import check_ids, read_mask
from seedbed.errors import UserError
from seedbed.methods.base import Entry
from seedbed.params import Block
from seedbed.paths import Paths

Kind = Literal["seeds", "pseudo"]
ImportName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ImportedOptions(Block):
    """What was imported: exactly one of the two."""

    seeds: ImportName | None = Field(
        None, description="name of imported class maps, in data/imported/seeds: fused by any rule, like our own"
    )
    pseudo: ImportName | None = Field(
        None, description="name of imported pseudo-labels, in data/imported/pseudo: taken as they are"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.seeds is None) == (self.pseudo is None):
            raise ValueError("give either seeds: NAME or pseudo: NAME (`seedbed import list` shows the names)")
        return self


@dataclass(frozen=True)
class Import:
    """What `seedbed import` made of other projects' files: class maps (`seeds`) or pseudo-labels (`pseudo`)."""

    kind: Kind
    name: str

    def folder(self, paths: Paths) -> Path:
        """Return where it lies."""
        return paths.imported(self.kind, self.name)

    def describe(self) -> dict[str, str]:
        """Return the entry `imported` of configs and metrics."""
        return {self.kind: self.name}

    @property
    def fix(self) -> str:
        """The command that makes it anew."""
        return f"seedbed import {self.kind} SOURCE --as {self.name}"


@dataclass(frozen=True)
class ImportedMethod(Entry):
    """A method of which there are results, and no network."""

    def content(self, given: Mapping[str, Any], block: str | None = None) -> Import:
        """Return the import that the options name; `block` as in `check_options`."""
        options = cast(ImportedOptions, self.check_options(given, block))
        return Import("seeds", options.seeds) if options.seeds else Import("pseudo", str(options.pseudo))


IMPORTED = ImportedMethod(
    name="imported",
    summary="class maps or pseudo-labels of others, nothing is trained",
    source="seedbed import seeds, seedbed import pseudo, seedbed import cues",
    options=ImportedOptions,
)


def check_class_maps(
    name: str, maps: NDArray[Any], classes: NDArray[np.int64], label: NDArray[np.float32], size: Size
) -> None:
    """Raise UserError unless `maps` are what our own localisers make of image `name`.

    That is [K,H,W] in 0..1 at the image's `size` (width, height), for 0-based `classes` [K] of the image's `label` [C].
    """
    width, height = size
    unlabelled = sorted(set(classes.tolist()) - set(np.flatnonzero(label).tolist()))
    if maps.shape != (len(classes), height, width):
        found = " x ".join(map(str, maps.shape))
        message = f"class maps of {found} for {len(classes)} classes and an image of {height} x {width} (height, width)"
    elif unlabelled:
        message = f"class maps of the classes {unlabelled} (from 0), which the image labels lack"
    elif maps.size and not (maps.min() >= 0 and maps.max() <= 1):  # false for NaN too
        message = "the class maps hold values that are not in 0..1"
    else:
        return
    raise UserError(f"{name}: {message}", "import the class maps again: `seedbed import seeds` fits or drops such maps")


def check_complete(given: Import, folder: Path, missing: list[str], images: int) -> None:
    """Raise UserError when of so many `images` some are `missing` in the import in `folder`."""
    if missing:
        kind = {"seeds": "class maps", "pseudo": "pseudo-label"}[given.kind]
        few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{len(missing)} of {images} training images have no {kind} in {folder}: {few}",
            f"{given.fix}, from a source that has them, or take these images out of the list data.train",
        )


def listing(folder: Path) -> frozenset[str]:
    """Return the ids that `folder` holds a `<id>.png` of, by one look at it; none where it is not there."""
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name.removesuffix(".png") for entry in entries if entry.name.endswith(".png"))


def ready_made(
    given: Import, folder: Path, images: Mapping[str, Path], num_classes: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (id, pseudo-label uint8 [H,W]) of the `images` (id -> file) from `folder`/<id>.png.

    Raises UserError naming the images without one, before the first; and for one that is damaged, not of its image's
    size, or of ids other than 0..num_classes and 255.
    """
    there = listing(folder)
    check_complete(given, folder, [name for name in images if name not in there], len(images))
    for name, image in images.items():
        path = folder / f"{name}.png"
        mask = read_mask(path, image_size(image))
        check_ids(path, mask, num_classes)
        yield name, mask
