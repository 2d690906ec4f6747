"""Confusion matrices, one per image: what every mIoU, interval and comparison is computed from."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.errors import UserError
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


def save_confusions(path: Path, ids: Sequence[str], per_image: Confusion) -> None:
    """Write the confusion matrices [N,K,K+1] of the images `ids` as a compressed .npz of their non-zero cells.

    Equal input gives equal bytes. An image holds few classes: 1,000 VOC images take tens of kB.
    """
    if len(ids) != len(per_image):
        raise ValueError(f"{len(ids)} ids for {len(per_image)} matrices")
    cells = np.nonzero(per_image)
    arrays: dict[str, Any] = {
        "ids": np.array(ids, dtype=np.str_),
        "num_ids": np.int64(per_image.shape[1]),
        "cells": np.stack(cells).astype(np.uint32),
        "counts": per_image[cells],
    }
    write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))


def load_confusions(path: Path) -> tuple[list[str], Confusion]:
    """Read what `save_confusions` wrote: the ids and int64 [N,K,K+1]. Raises UserError when missing or unreadable."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            ids = stored["ids"].tolist()
            num_ids = int(stored["num_ids"])
            per_image = np.zeros((len(ids), num_ids, num_ids + 1), np.int64)
            per_image[tuple(stored["cells"])] = stored["counts"]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "dvc repro") from None
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is no file of confusion matrices ({error})", f"rm {path} && dvc repro") from None
    return ids, per_image
