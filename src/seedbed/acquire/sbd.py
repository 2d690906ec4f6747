"""SBD's masks and VOC's in one folder: the 12,031 masks and the 10,582 training ids that the literature trains on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.acquire.conversion import check_header, work_off
from seedbed.acquire.matlab import read_bytes_field
from seedbed.data.classes import VOC_CLASSES
from seedbed.data.masks import check_ids, read_mask, write_mask
from seedbed.errors import UserError
from seedbed.files import write_text

_ID = re.compile(r"\d{4}_\d{6}")
FETCH_SBD = "fetch benchmark.tgz of SBD again"
FETCH_VOC = "fetch VOCtrainval_11-May-2012.tar again"


@dataclass(frozen=True)
class SbdCounts:
    """What a conversion holds: `masks` in SegmentationClassAug, of which `own` are VOC's, and ids in `train_aug`."""

    masks: int
    own: int
    train_aug: int


def convert_sbd(benchmark: Path, voc: Path, target: Path, jobs: int = 1) -> SbdCounts:
    """Write `target`/SegmentationClassAug/<id>.png and `target`/ImageSets/Segmentation/train_aug.txt.

    `benchmark`: folder of benchmark.tgz with dataset/cls/<id>.mat, dataset/train.txt and dataset/val.txt (Hariharan et
    al., ICCV 2011). `voc`: folder VOC2012 with JPEGImages, SegmentationClass and the lists train and val. Masks are
    VOC's where VOC has one, for they are finer and mark borders by 255, else SBD's. train_aug, ascending, is VOC train,
    SBD train and SBD val together, less VOC val: 10,582 of 12,031 on the real data.

    Works in `jobs` processes (0 = one per core); a mask that is there is passed over, so a killed conversion goes on.
    Raises UserError for a list, mask or image that is missing or damaged, and for a mask not of its image's size.
    """
    dataset, lists = benchmark / "dataset", voc / "ImageSets" / "Segmentation"
    held_out = _ids(lists / "val.txt", FETCH_VOC)
    own = _ids(lists / "train.txt", FETCH_VOC) | held_out
    everything = own | _ids(dataset / "train.txt", FETCH_SBD) | _ids(dataset / "val.txt", FETCH_SBD)
    train_aug = sorted(everything - held_out)
    masks = target / "SegmentationClassAug"
    missing = sorted(everything - {path.stem for path in masks.glob("*.png")})
    work = _WriteMask(dataset / "cls", voc, masks, frozenset(own))
    work_off(work, missing, title="masks of SBD", unit="masks", done=len(everything) - len(missing), jobs=jobs)
    write_text(target / "ImageSets" / "Segmentation" / "train_aug.txt", "".join(f"{name}\n" for name in train_aug))
    return SbdCounts(masks=len(everything), own=len(own), train_aug=len(train_aug))


def _ids(path: Path, fix: str) -> set[str]:
    """Return the ids in the list `path`. Raises UserError when it is missing, empty, or holds anything but ids."""
    try:
        ids = path.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        raise UserError(f"image list {path} does not exist", fix) from None
    wrong = [word for word in ids if not _ID.fullmatch(word)]
    if wrong or not ids:
        raise UserError(f"image list {path} " + (f"holds {wrong[0]!r}, which is no id" if wrong else "is empty"), fix)
    return set(ids)


def _read_mat(path: Path) -> NDArray[np.uint8]:
    """Return the class mask in SBD's `path` (dataset/cls/<id>.mat), uint8 [H,W] of 0..20.

    Raises UserError when the file is missing, damaged, or another one.
    """
    try:
        return read_bytes_field(path.read_bytes(), "GTcls", "Segmentation")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", FETCH_SBD) from None
    except ValueError as error:
        raise UserError(f"{path} is damaged, or no mask of SBD: {error}", FETCH_SBD) from None


@dataclass(frozen=True)
class _WriteMask:
    """Writes one mask into `target`: of `voc` for the ids in `own`, else of `cls`."""

    cls: Path
    voc: Path
    target: Path
    own: frozenset[str]

    def __call__(self, image_id: str) -> None:
        """Write the mask of `image_id`. Raises UserError when it is damaged or not of its image's size."""
        own = image_id in self.own
        source = self.voc / "SegmentationClass" / f"{image_id}.png" if own else self.cls / f"{image_id}.mat"
        try:
            mask = read_mask(source) if own else _read_mat(source)
            check_ids(source, mask, len(VOC_CLASSES))
        except UserError as error:
            raise UserError(error.message, FETCH_VOC if own else FETCH_SBD) from None
        check_header(self.voc / "JPEGImages" / f"{image_id}.jpg", (mask.shape[1], mask.shape[0]), source, FETCH_VOC)
        write_mask(self.target / f"{image_id}.png", mask)
