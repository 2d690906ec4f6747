"""Reader of data sets in the layout of the VOC devkit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data import labels as image_labels
from seedbed.data.classes import COCO_CLASSES, VOC_CLASSES
from seedbed.data.images import Size, read_rgb
from seedbed.data.masks import check_ids, read_mask
from seedbed.errors import UserError
from seedbed.params import DataParams

FETCH = "seedbed data sample (writes the embedded sample), or seedbed data use PATH (takes your own data)"
"""What mends a missing data folder."""

_LIST = "seedbed data check lists every such id"

JSON_LABELS = "image_labels.json"
NPY_LABELS = "cls_labels.npy"
_LABEL_SOURCES = ("json", "npy", "xml", "masks")


@dataclass(frozen=True)
class VocData:
    """Images, masks, lists and image labels below `root` (the data folder), laid out as `params` says.

    Nothing is read before it is asked for. Every failure is a UserError that names the file.
    """

    root: Path
    params: DataParams

    @property
    def voc(self) -> Path:
        """Folder with JPEGImages, the masks and ImageSets."""
        return self.root / self.params.voc

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the object classes in id order, without background."""
        named = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}
        given = self.params.classes
        return named[given] if isinstance(given, str) else tuple(given)

    @property
    def num_classes(self) -> int:
        """Number C of object classes."""
        return len(self.classes)

    def ids(self, split: str) -> list[str]:
        """Return the image ids of the list `split` (a file name without .txt), in its order.

        A line may also hold paths, as in PSA's lists (`/JPEGImages/<id>.jpg /SegmentationClassAug/<id>.png`).
        """
        path = self.voc / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not self.voc.is_dir():
            raise UserError(f"data folder {self.voc} does not exist", FETCH)
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            known = ", ".join(sorted(found.stem for found in path.parent.glob("*.txt"))) or "none"
            fix = "set data.train and data.val in params.yaml"
            raise UserError(f"image list {path} does not exist (lists there: {known})", fix) from None
        ids = [_id(line) for line in lines if line.strip()]
        if not ids:
            raise UserError(f"image list {path} is empty", f"write one image id per line into {path}")
        repeated = len(ids) - len(set(ids))
        if repeated:
            raise UserError(f"image list {path} names {repeated} ids more than once", f"sort -u {path}")
        return ids

    def image_path(self, image_id: str) -> Path:
        """Return where the image `image_id` lies."""
        return self.voc / "JPEGImages" / f"{image_id}.jpg"

    def mask_path(self, image_id: str) -> Path:
        """Return where the mask of `image_id` lies."""
        return self.voc / self.params.masks / f"{image_id}.png"

    @property
    def has_masks(self) -> bool:
        """Whether there is a folder of masks at all; training needs none, only studies and evaluation do."""
        return (self.voc / self.params.masks).is_dir()

    def masked(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that have a mask, in their order, by one look at the folder of masks."""
        if not self.has_masks:
            return []
        with os.scandir(self.voc / self.params.masks) as entries:
            there = {entry.name for entry in entries}
        return [image_id for image_id in ids if f"{image_id}.png" in there]

    def image(self, image_id: str) -> Image.Image:
        """Return the image `image_id` as RGB."""
        path = self.image_path(image_id)
        if not path.exists():
            raise UserError(f"id '{image_id}' has no image: {path} does not exist", _LIST)
        return read_rgb(path)

    def mask(self, image_id: str, size: Size | None = None) -> NDArray[np.uint8]:
        """Return the mask of `image_id`, uint8 [H,W] of 0..C and 255; must be of `size` where that is given."""
        path = self.mask_path(image_id)
        if not path.exists():
            raise UserError(f"id '{image_id}' has no mask: {path} does not exist", _LIST)
        mask = read_mask(path, size)
        check_ids(path, mask, self.num_classes)
        return mask

    def label_source(self) -> str:
        """Return where image labels come from: json, npy, xml or masks; `auto` takes the first that exists."""
        if self.params.labels != "auto":
            return self.params.labels
        for source in _LABEL_SOURCES:
            if self.label_path(source).exists():
                return source
        listed = ", ".join(str(self.label_path(source)) for source in _LABEL_SOURCES)
        raise UserError(f"no image labels: none of {listed} exists", FETCH)

    def label_path(self, source: str) -> Path:
        """Return the file or folder that the image labels of `source` (json, npy, xml or masks) lie in.

        JSON labels may lie beside their images, so that several sets can share the data folder, or at its root.
        """
        beside = self.voc / JSON_LABELS
        return {
            "json": beside if beside.exists() else self.root / JSON_LABELS,
            "npy": self.root / NPY_LABELS,
            "xml": self.voc / "Annotations",
            "masks": self.voc / self.params.masks,
        }[source]

    def labels(self, ids: Sequence[str] | None = None) -> image_labels.Labels:
        """Return id -> float32 [C] for `ids` (default: the training list), from `label_source`.

        Raises UserError when an id has no entry.
        """
        ids = self.ids(self.params.train) if ids is None else ids
        source = self.label_source()
        path = self.label_path(source)
        if source == "xml":
            return image_labels.xml_labels(path, ids, self.classes)
        if source == "masks":
            return image_labels.mask_labels(self.mask, ids, self.num_classes)
        if source == "json":
            known = image_labels.json_labels(path, self.classes)
        else:
            known = image_labels.npy_labels(path, self.num_classes)
        missing = [image_id for image_id in ids if image_id not in known]
        if missing:
            message = f"{path} has no labels for {len(missing)} of {len(ids)} images, the first is '{missing[0]}'"
            raise UserError(message, _LIST)
        return {image_id: known[image_id] for image_id in ids}


def _id(line: str) -> str:
    """Return the image id that a line of a list names: its first word, or the stem of the path it is."""
    word = line.split()[0]
    return Path(word).stem if "/" in word else word
