"""Layouts that are folders of files: masks, lists of images, class maps and saliency maps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from seedbed import IGNORE
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.exchange.exports.material import Images, Material, missing, read_checked
from seedbed.exchange.exports.objects import object_npy
from seedbed.exchange.work import work_through
from seedbed.files import disk_errors, write_atomic, write_bytes
from seedbed.seeds.store import MapStore

JPEGS, SEEDS, SALIENCY = "JPEGImages", "seeds", "saliency"
"""Folders of the photographs (below the root of a layout), of class maps and of saliency maps (below the export)."""


@dataclass(frozen=True)
class Tree:
    """A layout of folders below `root`: photographs in JPEGImages, masks in `masks`.

    `files(material)`: content of the lists and other small files by their path in the export. `grey`: masks are grey
    index PNGs, for readers that would take a palette for colours; else files as they are. `val`: validation images are
    part of it, with their true masks. `needs_seeds`: so are class maps.
    """

    name: str
    summary: str
    usage: str
    masks: str
    files: Callable[[Material], dict[str, bytes]]
    root: str = ""
    grey: bool = False
    val: bool = False
    needs_seeds: bool = False

    @property
    def photographs(self) -> str:
        """Folder of the photographs."""
        return (PurePosixPath(self.root) / JPEGS).as_posix()

    def write(self, material: Material, folder: Path) -> str:
        """Write everything but the card into `folder`.

        Raises UserError for a file that is missing or damaged, and for another id to ignore where masks stay as they
        are.
        """
        if material.ignore != IGNORE and not self.grey:
            raise UserError(
                f"{self.name} reads {IGNORE} as ignore, not {material.ignore}", "leave --ignore out for this layout"
            )
        writer = _Writer(
            folder,
            folder / self.photographs,
            folder / self.root / self.masks,
            self.grey,
            material.voc,
            material.images,
            material.pseudo,
            material.seeds,
            material.saliency,
            material.ignore,
        )
        writer.make_folders()
        for _ in work_through("export", writer.training, material.train, material.jobs):
            pass
        if self.val and material.val:
            for _ in work_through("export validation", writer.validation, material.val, material.jobs):
                pass
        for name, content in self.files(material).items():
            write_bytes(folder / name, content)
        return ""


@dataclass(frozen=True)
class _Writer:
    """Writes the files of some images. Small and picklable: every worker process gets one."""

    folder: Path
    photographs: Path
    masks: Path
    grey: bool
    voc: VocData
    images: Images
    pseudo: Path
    seeds: Path | None
    saliency: Path | None
    ignore: int

    def make_folders(self) -> None:
        """Make the folders that there will be files for."""
        wanted = {
            self.masks: True,
            self.photographs: self.images != "none",
            self.folder / SEEDS: self.seeds is not None,
            self.folder / SALIENCY: self.saliency is not None,
        }
        for folder in (folder for folder, needed in wanted.items() if needed):
            folder.mkdir(parents=True, exist_ok=True)

    def training(self, ids: Sequence[str]) -> None:
        """Write photographs, pseudo-labels, class maps and saliency maps."""
        store = None if self.seeds is None else MapStore(self.seeds)
        for image_id in ids:
            self._photograph(image_id)
            self._mask(self.pseudo / f"{image_id}.png")
            if store is not None:
                maps, classes = store.maps(image_id)
                write_class_maps(self.folder / SEEDS / f"{image_id}.npy", maps, classes)
            if self.saliency is not None:
                _copy(self.saliency / f"{image_id}.png", self.folder / SALIENCY)

    def validation(self, ids: Sequence[str]) -> None:
        """Write photographs and true masks."""
        for image_id in ids:
            self._photograph(image_id)
            self._mask(self.voc.mask_path(image_id))

    def _photograph(self, image_id: str) -> None:
        source = self.voc.image_path(image_id)
        if self.images == "copy":
            _copy(source, self.photographs)
        elif self.images == "link":
            try:
                os.link(source, self.photographs / source.name)
            except FileNotFoundError:
                raise missing(source) from None
            except OSError as error:
                message = f"{source} cannot be linked from the export ({error.strerror})"
                raise UserError(message, "--images copy, or --out on the same disk as data/") from None

    def _mask(self, source: Path) -> None:
        if not self.grey:
            _copy(source, self.masks)
            return
        mask = read_checked(source, self.voc.num_classes)
        image = Image.fromarray(np.where(mask == IGNORE, np.uint8(self.ignore), mask))
        write_atomic(self.masks / source.name, lambda stream: image.save(stream, "PNG"), durable=False)


def write_class_maps(path: Path, maps: np.ndarray, classes: np.ndarray) -> None:
    """Write class maps [K,H,W] as PSA, SEAM and EPS do: a pickled dict, 0-based class -> float32 [H,W]."""
    content = {int(number): one for number, one in zip(classes, maps.astype(np.float32, copy=False), strict=True)}
    write_atomic(path, lambda stream: stream.write(object_npy(content)), durable=False)


def _copy(source: Path, folder: Path) -> None:
    """Copy a file into `folder`. The export is renamed into place as a whole, so a half of one is never seen."""
    if not source.is_file():
        raise missing(source)
    with disk_errors(folder / source.name):
        shutil.copyfile(source, folder / source.name)
