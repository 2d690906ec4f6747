"""Confusion matrices, one per image: what every mIoU, interval and comparison is computed from."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.errors import UserError
from seedbed.evaluate.scores import Areas, Ignore
from seedbed.files import write_atomic

Mask = npt.NDArray[np.uint8]
Confusion = npt.NDArray[np.int64]

_VALUES = 256  # of a uint8


def confusion(truth: Mask, prediction: Mask, num_ids: int, name: str = "image") -> Confusion:
    """Count the pixels of one image by true and predicted id.

    `truth`, `prediction`: uint8 [H,W] with ids 0..num_ids-1 (0 = background) and 255 = ignore.
    Returns int64 [num_ids, num_ids+1]: rows are true ids, columns predicted ids, the last column predictions of ignore.
    Pixels whose truth is ignore are left out.
    Raises UserError, beginning with `name`, when the sizes differ or an id is none of these.
    """
    if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
        raise TypeError(f"masks must be uint8, not {truth.dtype} and {prediction.dtype}")
    if truth.shape != prediction.shape:
        raise UserError(f"{name}: the ground truth is {_size(truth)} pixels, the prediction {_size(prediction)}")
    pairs = truth.astype(np.intp) * _VALUES + prediction
    counts = np.bincount(pairs.ravel(), minlength=_VALUES**2).reshape(_VALUES, _VALUES)
    _check_ids(np.flatnonzero(counts.any(axis=1)), num_ids, f"{name}: the ground truth")
    _check_ids(np.flatnonzero(counts.any(axis=0)), num_ids, f"{name}: the prediction")
    return counts[:num_ids, [*range(num_ids), IGNORE]]


def fit_to(prediction: Mask, shape: tuple[int, int]) -> Mask:
    """Crop `prediction` uint8 [h,w], or pad it by background, at the bottom right: uint8 of `shape` (H, W).

    What EPS's evaluator does about predictions of another size (evaluate_png.py). Nothing here does it unasked.
    """
    fitted = np.zeros(shape, np.uint8)
    height, width = (min(sides) for sides in zip(prediction.shape, shape, strict=True))
    fitted[:height, :width] = prediction[:height, :width]
    return fitted


def _size(mask: Mask) -> str:
    return " x ".join(str(side) for side in reversed(mask.shape))


def _check_ids(ids: npt.NDArray[np.intp], num_ids: int, where: str) -> None:
    unknown = ids[(ids >= num_ids) & (ids != IGNORE)]
    if unknown.size:
        raise UserError(
            f"{where} holds unknown class ids {unknown.tolist()} (known: 0..{num_ids - 1}, and {IGNORE} = ignore)",
            "check data.classes in params.yaml against the masks (seedbed data check)",
        )


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices [K,K+1] of N images by their non-zero cells: an image holds few of many classes.

    `cells` uint32 [3,M]: image, true id and predicted id (K = ignore) of every cell, in this order ascending; `counts`
    int64 [M]. 1,000 VOC images take some 100 kB, where a dense array [N,K,K+1] takes 4 MB (COCO: 50 MB).
    """

    images: int
    num_ids: int
    cells: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, per_image: Iterable[Confusion], num_ids: int) -> Confusions:
        """Keep the non-zero cells of matrices [K,K+1], read one at a time."""
        collected = Collected(num_ids)
        for number, matrix in enumerate(per_image):
            collected.add(str(number), matrix)
        return collected.confusions(collected.names)

    def __len__(self) -> int:
        return self.images

    def total(self) -> Confusion:
        """Return the sum over the images, int64 [K,K+1]."""
        total = np.zeros((self.num_ids, self.num_ids + 1), np.int64)
        np.add.at(total, tuple(self.cells[1:]), self.counts)
        return total

    def dense(self) -> Confusion:
        """Return int64 [N,K,K+1]."""
        per_image = np.zeros((self.images, self.num_ids, self.num_ids + 1), np.int64)
        per_image[tuple(self.cells)] = self.counts
        return per_image

    def areas(self, ignore: Ignore) -> Areas:
        """Return what `seedbed.evaluate.scores.areas` returns of the dense matrices: float64 [N,K] each, exact."""
        image, true, predicted = self.cells.astype(np.int64)
        labelled, correct = predicted < self.num_ids, predicted == true
        counted = labelled if ignore == "drop" else np.ones_like(labelled)
        return Areas(
            *(self._sum(image, ids, at) for ids, at in ((true, correct), (true, counted), (predicted, labelled)))
        )

    def _sum(self, image: Confusion, ids: Confusion, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Add up the cells `where`, by image and id: float64 [N,K], exact below 2^53."""
        flat = image[where] * self.num_ids + ids[where]
        shape = (self.images, self.num_ids)
        sums: npt.NDArray[Any] = np.bincount(flat, self.counts[where], minlength=math.prod(shape))
        return sums.reshape(shape)


@dataclass
class Collected:
    """Confusion matrices [K,K+1] of images as they come, in any order: only their non-zero cells are kept."""

    num_ids: int
    _cells: dict[str, tuple[npt.NDArray[np.uint32], Confusion]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The images so far, in the order in which they came."""
        return list(self._cells)

    def add(self, name: str, matrix: Confusion) -> None:
        """Keep the `matrix` of image `name`."""
        occupied = np.flatnonzero(matrix)
        self._cells[name] = occupied.astype(np.uint32), matrix.ravel()[occupied]

    def confusions(self, names: Sequence[str]) -> Confusions:
        """Return the matrices of the images `names`, in this order. KeyError for one that was not added."""
        found = [self._cells[name] for name in names]
        occupied = np.concatenate([np.zeros(0, np.uint32), *(cells for cells, _ in found)])
        images = np.repeat(np.arange(len(found), dtype=np.uint32), [len(cells) for cells, _ in found])
        counts = np.concatenate([np.zeros(0, np.int64), *(counts for _, counts in found)])
        cells = np.stack([images, *np.divmod(occupied, np.uint32(self.num_ids + 1))])
        return Confusions(len(found), self.num_ids, cells, counts)


PerImage = Confusion | Confusions
"""Confusion matrices of images: dense [N,K,K+1], or by their non-zero cells."""


def save_confusions(path: Path, ids: Sequence[str], per_image: PerImage) -> None:
    """Write the confusion matrices of the images `ids` as a compressed .npz of their non-zero cells.

    Equal input gives equal bytes, dense or not. 1,000 VOC images take tens of kB.
    """
    if len(ids) != len(per_image):
        raise ValueError(f"{len(ids)} ids for {len(per_image)} matrices")
    if isinstance(per_image, Confusions):
        num_ids, cells, counts = per_image.num_ids, per_image.cells, per_image.counts
    else:
        occupied = np.nonzero(per_image)
        num_ids, cells, counts = per_image.shape[1], np.stack(occupied).astype(np.uint32), per_image[occupied]
    arrays: dict[str, Any] = {
        "ids": np.array(ids, dtype=np.str_),
        "num_ids": np.int64(num_ids),
        "cells": cells,
        "counts": counts,
    }
    write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))


def load_confusions(path: Path) -> tuple[list[str], Confusion]:
    """Read what `save_confusions` wrote: the ids and int64 [N,K,K+1]. Raises UserError when missing or unreadable."""
    ids, per_image = load_sparse(path)
    return ids, per_image.dense()


def load_sparse(path: Path) -> tuple[list[str], Confusions]:
    """Do what `load_confusions` does, in memory that grows with the non-zero cells alone."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            ids, num_ids, cells = stored["ids"].tolist(), int(stored["num_ids"]), stored["cells"]
            per_image = Confusions(len(ids), num_ids, cells, stored["counts"])
            if cells.size and (cells.max(axis=1) >= (len(ids), num_ids, num_ids + 1)).any():
                raise ValueError("a cell lies outside")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "dvc repro") from None
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is no file of confusion matrices ({error})", f"rm {path} && dvc repro") from None
    return ids, per_image
