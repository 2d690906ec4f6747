"""One mask of SegmentationClassAug: VOC's own, or SBD's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.acquire.headers import check_header
from seedbed.acquire.matlab import read_bytes_field
from seedbed.data.classes import VOC_CLASSES
from seedbed.data.masks import check_ids, read_mask, write_mask
from seedbed.errors import UserError

FETCH_SBD = "fetch benchmark.tgz of SBD again"
FETCH_VOC = "fetch VOCtrainval_11-May-2012.tar again"


def read_mat(path: Path) -> NDArray[np.uint8]:
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
class WriteMask:
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
            mask = read_mask(source) if own else read_mat(source)
            check_ids(source, mask, len(VOC_CLASSES))
        except UserError as error:
            raise UserError(error.message, FETCH_VOC if own else FETCH_SBD) from None
        check_header(self.voc / "JPEGImages" / f"{image_id}.jpg", (mask.shape[1], mask.shape[0]), source, FETCH_VOC)
        write_mask(self.target / f"{image_id}.png", mask)
