"""Saliency data sets in the layout of DUTS (`Images`, `Masks`), and folders of saliency maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data.images import Size, read_grey, read_rgb
from seedbed.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SALIENT = 128
"""Grey level from which a pixel of a mask counts as salient."""


@dataclass(frozen=True)
class SaliencySet:
    """Pairs of photographs and grey masks: `root`/Images/<id>.jpg and `root`/Masks/<id>.png.

    Raises UserError, on first use, when a folder is missing or empty, or when an image has no mask.
    """

    root: Path

    @property
    def name(self) -> str:
        """Name of the set: that of its folder."""
        return self.root.name

    def ids(self) -> list[str]:
        """Return the ids of all pairs, sorted."""
        missing = sorted(self.image_paths.keys() - self.mask_paths.keys())
        if missing:
            raise UserError(f"{self.root / 'Images'}: {missing[0]} and {len(missing) - 1} more have no mask in Masks")
        return sorted(self.image_paths)

    def image_path(self, image_id: str) -> Path:
        """Return the file of the image `image_id`."""
        return _known(self.image_paths, image_id, self.root / "Images")

    def mask_path(self, image_id: str) -> Path:
        """Return the file of the mask of `image_id`."""
        return _known(self.mask_paths, image_id, self.root / "Masks")

    def image(self, image_id: str) -> Image.Image:
        """Return the image `image_id` as RGB."""
        return read_rgb(self.image_path(image_id))

    def mask(self, image_id: str, size: Size | None = None) -> NDArray[np.uint8]:
        """Return the mask of `image_id`, grey uint8 [H,W]; must be of `size` (width, height) where that is given."""
        return read_grey(self.mask_path(image_id), size)

    def salient(self, image_id: str, size: Size | None = None) -> NDArray[np.uint8]:
        """Return the mask of `image_id` as 0 and 1, uint8 [H,W]."""
        return (self.mask(image_id, size) >= SALIENT).astype(np.uint8)

    @cached_property
    def image_paths(self) -> dict[str, Path]:
        """Files of the images by id."""
        return _by_stem(self.root / "Images")

    @cached_property
    def mask_paths(self) -> dict[str, Path]:
        """Files of the masks by id."""
        return _by_stem(self.root / "Masks")


def load_map(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """Return the saliency map in `path`, uint8 [H,W], 0..255; must be of `size` (width, height) where that is given."""
    return read_grey(path, size)


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"saliency folder {folder} does not exist", "seedbed data sample, or seedbed data use PATH")
    paths = sorted(folder.iterdir(), key=lambda path: path.name)  # comparing whole paths takes twice the time
    found = {path.stem: path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
    if not found:
        raise UserError(f"saliency folder {folder} holds no images ({', '.join(IMAGE_SUFFIXES)})", "seedbed data check")
    return found


def _known(paths: dict[str, Path], image_id: str, folder: Path) -> Path:
    try:
        return paths[image_id]
    except KeyError:
        raise UserError(f"{folder} has no file for id '{image_id}'", "seedbed data check") from None
