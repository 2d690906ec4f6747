"""Miniatures of PASCAL VOC 2012 and of SBD, folders and archives as their hosts publish them."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers import picture
from scipy.io import savemat
from scipy.sparse import csc_matrix

from seedbed.data.masks import write_mask

SIZE = (20, 16)  # width, height
XML = "<annotation><filename>{0}.jpg</filename><object><name>{1}</name></object></annotation>\n"


@dataclass(frozen=True)
class Ids:
    """Which images are in which list of which set; `unlisted` are images of VOC that no segmentation list names."""

    train: Sequence[str] = ("2007_000032", "2007_000039", "2007_000063")
    val: Sequence[str] = ("2007_000033", "2007_000042")
    sbd_train: Sequence[str] = ("2007_000032", "2008_000002", "2008_000007", "2008_000008")
    sbd_val: Sequence[str] = ("2007_000033", "2008_000009", "2008_000015")
    unlisted: Sequence[str] = ("2009_000001",)

    @property
    def masks(self) -> set[str]:
        """Images that SegmentationClassAug has a mask of: 10 here."""
        return {*self.train, *self.val, *self.sbd_train, *self.sbd_val}

    @property
    def train_aug(self) -> list[str]:
        """The list that every paper trains on: 8 here."""
        return sorted(self.masks - set(self.val))


IDS = Ids()


def mask_of(image_id: str, border: bool) -> np.ndarray:
    """Return a mask of one object whose class follows from the id; with a `border` of 255 as VOC's own masks have."""
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    mask[3:12, 4:15] = 255 if border else 0
    mask[4:11, 5:14] = class_of(image_id)
    return mask


def class_of(image_id: str) -> int:
    return int(image_id[-4:]) % 20 + 1


def write_voc(parent: Path, ids: Ids = IDS) -> Path:
    """Write `parent`/VOCdevkit/VOC2012 as VOCtrainval_11-May-2012.tar holds it, and return that folder."""
    voc = parent / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject", "ImageSets/Main"):
        (voc / folder).mkdir(parents=True)
    for seed, image_id in enumerate(sorted({*ids.masks, *ids.unlisted})):
        picture(*SIZE, seed).save(voc / "JPEGImages" / f"{image_id}.jpg")
        (voc / "Annotations" / f"{image_id}.xml").write_text(XML.format(image_id, "person"))
    for image_id in (*ids.train, *ids.val):
        write_mask(voc / "SegmentationClass" / f"{image_id}.png", mask_of(image_id, border=True))
        write_mask(voc / "SegmentationObject" / f"{image_id}.png", mask_of(image_id, border=True) // 255)
    (voc / "ImageSets" / "Main" / "person_train.txt").write_text("2007_000032  1\n")
    lists = voc / "ImageSets" / "Segmentation"
    write_list(lists / "train.txt", ids.train)
    write_list(lists / "val.txt", ids.val)
    write_list(lists / "trainval.txt", sorted({*ids.train, *ids.val}))
    return voc


def write_sbd(parent: Path, ids: Ids = IDS) -> Path:
    """Write `parent`/benchmark_RELEASE as benchmark.tgz holds it, and return that folder."""
    dataset = parent / "benchmark_RELEASE" / "dataset"
    for folder in ("cls", "img", "inst"):
        (dataset / folder).mkdir(parents=True)
    for seed, image_id in enumerate(sorted({*ids.sbd_train, *ids.sbd_val})):
        picture(*SIZE, seed).save(dataset / "img" / f"{image_id}.jpg")
        write_mat(dataset / "cls" / f"{image_id}.mat", mask_of(image_id, border=False))
        savemat(dataset / "inst" / f"{image_id}.mat", {"GTinst": {"Segmentation": np.zeros((2, 2), np.uint8)}})
    write_list(dataset / "train.txt", ids.sbd_train)
    write_list(dataset / "val.txt", ids.sbd_val)
    (dataset.parent / "README").write_text("Semantic Boundaries Dataset and Benchmark\n")
    return dataset.parent


def write_mat(path: Path, mask: np.ndarray) -> None:
    """Write a `GTcls` structure: boundaries of the 20 classes (sparse, in cells), the mask, the classes in it."""
    boundaries = np.empty((20, 1), object)
    for index in range(20):
        boundaries[index, 0] = csc_matrix((mask == index + 1).astype(float))
    present = [[index] for index in np.unique(mask) if index]
    truth = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
    savemat(path, {"GTcls": truth}, do_compression=True)


def write_list(path: Path, ids: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image_id}\n" for image_id in ids))


def pack_voc(folder: Path, scratch: Path, ids: Ids = IDS) -> Path:
    """Write VOCtrainval_11-May-2012.tar into `folder`."""
    write_voc(scratch, ids)
    return pack(folder / "VOCtrainval_11-May-2012.tar", scratch / "VOCdevkit")


def pack_sbd(folder: Path, scratch: Path, ids: Ids = IDS) -> Path:
    """Write benchmark.tgz into `folder`."""
    return pack(folder / "benchmark.tgz", write_sbd(scratch, ids))


def pack(archive: Path, folder: Path) -> Path:
    """Write the tree `folder`, under its name, into a tar (compressed when it is called .tgz)."""
    with tarfile.open(archive, "w:gz" if archive.suffix == ".tgz" else "w") as tar:
        tar.add(folder, folder.name)
    return archive
