"""Miniatures of MS COCO's instance annotations, folders and archives as their host publishes them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers import picture
from pycocotools import mask as rle

from seedbed.data.classes import COCO_CLASSES

GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORIES = [
    {"id": category_id, "name": name, "supercategory": "thing"}
    for category_id, name in zip(sorted(set(range(1, 91)) - GAPS), COCO_CLASSES, strict=True)
]
"""The 80 categories under their real ids, 1..90 with ten gaps."""

Json = dict[str, Any]


def image_name(year: int, split: str, number: int) -> str:
    """Return the real form of a file name: COCO_train2014_000000000009.jpg, or 000000000009.jpg in 2017."""
    return f"COCO_{split}2014_{number:012d}.jpg" if year == 2014 else f"{number:012d}.jpg"


def image_entry(number: int, file_name: str, size: tuple[int, int] = (40, 30)) -> Json:
    return {"id": number, "file_name": file_name, "width": size[0], "height": size[1], "license": 1}


def instance(number: int, image: int, category: int, segmentation: Any, crowd: bool = False) -> Json:
    """Return one annotation; its area and box are not read by anyone here."""
    return {
        "id": number, "image_id": image, "category_id": category, "iscrowd": int(crowd), "area": 1.0,
        "bbox": [0.0, 0.0, 1.0, 1.0], "segmentation": segmentation,
    }  # fmt: skip


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """Return a polygon of one ring."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs(mask: np.ndarray) -> Json:
    """Return `mask`, bool [H,W], as the uncompressed RLE that crowds have."""
    flat = mask.astype(np.uint8).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0)) if len(flat) else np.zeros(0, int)
    counts = np.diff(np.concatenate([[0], edges, [len(flat)]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def compressed(mask: np.ndarray) -> Json:
    """Return `mask`, bool [H,W], as compressed RLE."""
    packed = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def instances(images: Sequence[Json], annotations: Sequence[Json], categories: Sequence[Json] = CATEGORIES) -> Json:
    """Return the content of an instances_*.json, its lists in COCO's order."""
    return {
        "info": {"year": 2014}, "images": list(images), "licenses": [{"id": 1, "name": "Attribution"}],
        "annotations": list(annotations), "categories": list(categories),
    }  # fmt: skip


def scene(year: int, split: str, first: int = 9) -> Json:
    """Return five images: two overlapping objects; one of two parts; a crowd alone; an object in a crowd; nothing."""
    numbers = range(first, first + 5)
    crowd = np.zeros((30, 40), bool)
    crowd[5:25, 10:35] = True
    found = [
        (numbers[0], 1, box(2, 2, 30, 25), False),
        (numbers[0], 18, box(10, 10, 20, 20), False),
        (numbers[1], 90, box(1, 1, 8, 8) + box(20, 12, 31, 22), False),
        (numbers[2], 1, runs(crowd), True),
        (numbers[3], 1, runs(crowd), True),
        (numbers[3], 3, compressed(np.roll(crowd, 6, axis=1)), False),
    ]
    return instances(
        [image_entry(number, image_name(year, split, number)) for number in numbers],
        [instance(100 + index, *words) for index, words in enumerate(found)],
    )


def write_instances(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_images(folder: Path, content: Json) -> Path:
    """Write a picture of the named size for every image of an instances_*.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in content["images"]:
        picture(entry["width"], entry["height"], entry["id"]).save(folder / entry["file_name"])
    return folder


def write_coco(parent: Path, year: int) -> Path:
    """Write train<year>/, val<year>/ and annotations/ below `parent` as COCO's archives unpack, and return it."""
    for split, first in (("train", 9), ("val", 42)):
        content = scene(year, split, first)
        write_images(parent / f"{split}{year}", content)
        write_instances(parent / "annotations" / f"instances_{split}{year}.json", content)
        write_instances(parent / "annotations" / f"captions_{split}{year}.json", {"images": [], "annotations": []})
    return parent


def pack_coco(folder: Path, scratch: Path, year: int) -> list[Path]:
    """Write train<year>.zip, val<year>.zip and annotations_trainval<year>.zip into `folder`."""
    write_coco(scratch, year)
    places = {"train": f"train{year}", "val": f"val{year}", "annotations_trainval": "annotations"}
    archives = []
    for name, place in places.items():
        archives.append(folder / f"{name}{year}.zip")
        with zipfile.ZipFile(archives[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((scratch / place).iterdir()):
                archive.write(path, f"{place}/{path.name}")
    return archives
