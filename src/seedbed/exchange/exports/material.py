"""What there is to export: the images of a data set and everything that was made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from seedbed import IGNORE
from seedbed.data.labels import Labels
from seedbed.data.masks import check_ids, read_mask
from seedbed.data.voc import VocData
from seedbed.errors import UserError

Images = Literal["none", "link", "copy"]
"""What becomes of the photographs: left out, hard-linked, or copied."""


@dataclass(frozen=True)
class Material:
    """The files that a layout arranges.

    `train`: ids of the training images; `val`: those of the validation images that have a mask; `labels`: image labels
    of the training images, id -> float32 [C]. `pseudo`: folder of pseudo-labels `<id>.png`; `seeds`: map store, and
    `saliency`: folder of `<id>.png`, each None when it is not to be exported. `ignore`: the id that grey index masks
    get where there is nothing to learn. `jobs`: worker processes.
    """

    voc: VocData
    train: Sequence[str]
    val: Sequence[str]
    labels: Labels
    pseudo: Path
    seeds: Path | None
    saliency: Path | None
    images: Images = "none"
    ignore: int = IGNORE
    jobs: int = 1


class Layout(Protocol):
    """How a project wants its files: an entry of the registry of layouts.

    `summary` says what reads it, `usage` (Markdown) how; `needs_seeds`: class maps are part of it, asked for or not.
    """

    @property
    def name(self) -> str:
        """Name that the command line knows it by."""

    @property
    def summary(self) -> str:
        """What reads it, in a line."""

    @property
    def usage(self) -> str:
        """Where the files are and how they are read, in Markdown."""

    @property
    def needs_seeds(self) -> bool:
        """Whether class maps are part of it."""

    @property
    def photographs(self) -> str | None:
        """Folder of the export that its lists expect photographs in; None where they are inside tables."""

    def write(self, material: Material, folder: Path) -> str:
        """Write everything but the card into `folder`. Returns what the card must begin with, mostly nothing."""


def lines(items: Iterable[str]) -> str:
    """Return `items` as the text of a list file, one per line."""
    return "".join(f"{item}\n" for item in items)


def read_checked(path: Path, num_classes: int) -> NDArray[np.uint8]:
    """Return the mask in `path`, uint8 [H,W]. Raises UserError when it is damaged or holds other ids than 0..C, 255."""
    mask = read_mask(path)
    check_ids(path, mask, num_classes)
    return mask


def missing(path: Path) -> UserError:
    """Return the error for a file that is to be exported but is not there."""
    return UserError(f"{path} does not exist", "seedbed data check, or dvc repro for what is made here")
