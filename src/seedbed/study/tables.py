"""The exact sweep: every threshold of every fusion rule made of gates, evaluated in one pass over the images.

Such a rule compares the strongest score and the saliency of a pixel with thresholds, and nothing else
(`seedbed.seeds.gates`). So for a fixed grid of thresholds it is enough to know, per image, how many pixels have a
given true id, strongest class, number of class score thresholds exceeded (*cam bin*) and number of saliency thresholds
exceeded (*saliency bin*). Those counts give the confusion matrix of every setting on the grid, equal to the one that
re-evaluating the masks gives, ties included.

An image keeps only its non-zero counts, 8 bytes each: up to some 30 kB for a photograph of VOC's size.
"""

from __future__ import annotations

import functools
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from seedbed import IGNORE
from seedbed.errors import UserError
from seedbed.evaluate.confusion import Confusions
from seedbed.files import write_atomic
from seedbed.seeds.fusion import find_gate_rule
from seedbed.seeds.gates import Gate
from seedbed.seeds.rules import Values
from seedbed.study.counting import Counted, count, count_on
from seedbed.study.grid import Grid
from seedbed.study.sparse import confuse

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint8]


class ImageMaps(NamedTuple):
    """One image: maps [K,H,W] (float16, float32) of 0-based classes [K]; ground truth and saliency uint8 [H,W].

    Only a grid with saliency thresholds needs the saliency map.
    """

    name: str
    cams: Array
    classes: Array
    truth: Mask
    saliency: Mask | None


def count_cells(image: ImageMaps, num_ids: int, grid: Grid, device: torch.device | None = None) -> Counted:
    """Return the non-zero counts of one image: codes int32 [M], ascending, and counts, as `seedbed.study.counting`.

    On a `device` other than the CPU in torch. Raises UserError naming the image when sizes differ, an id is unknown or
    a map holds NaN.
    """
    _check_sizes(image, grid)
    if (image.truth + np.uint8(1)).max(initial=0) > num_ids:  # wraps: 0 = ignore
        raise _unknown_ids(image, num_ids)
    cams, ids = image.cams, np.asarray(image.classes, np.int64) + 1
    if (np.diff(ids) < 0).any():
        order = np.argsort(ids)
        cams, ids = cams[order], ids[order]
    counter = count if device is None or device.type == "cpu" else functools.partial(count_on, device)
    try:
        return counter(cams, ids, image.truth, image.saliency if grid.saliency else None, grid, num_ids)
    except FloatingPointError as error:
        raise UserError(
            f"{image.name}: {error}", "dvc repro -f seeds, after a look at the localiser's loss curve"
        ) from None


def _check_sizes(image: ImageMaps, grid: Grid) -> None:
    size = image.truth.shape
    maps = {"class maps": image.cams.shape[1:]}
    if grid.saliency:
        if image.saliency is None:
            raise UserError(f"{image.name}: no saliency map", "dvc repro predict-saliency")
        maps["saliency map"] = image.saliency.shape
    for what, shape in maps.items():
        if shape != size:
            raise UserError(
                f"{image.name}: {what} of {shape[1]} x {shape[0]} pixels, mask of {size[1]} x {size[0]}",
                "seedbed data check",
            )


def _unknown_ids(image: ImageMaps, num_ids: int) -> UserError:
    unknown = sorted({int(value) for value in np.unique(image.truth) if num_ids <= value < IGNORE})
    return UserError(
        f"{image.name}: the mask holds unknown class ids {unknown} (known: 0..{num_ids - 1}, and {IGNORE} = ignore)",
        "check data.classes in params.yaml against the masks (seedbed data check)",
    )


@dataclass(frozen=True)
class Tables:
    """Counts of N images: image n has `codes` and `counts` (int32) from `offsets[n]` to `offsets[n + 1]` (int64)."""

    ids: tuple[str, ...]
    num_ids: int
    grid: Grid
    offsets: Array
    codes: Array
    counts: Array

    @classmethod
    def build(cls, images: Iterable[ImageMaps], num_ids: int, grid: Grid, device: torch.device | None = None) -> Tables:
        """Count `images`, one at a time, for ids 0..num_ids-1. `device` and errors as in `count_cells`."""
        ids, codes, counts = [], [], []
        for image in images:
            image_codes, image_counts = count_cells(image, num_ids, grid, device)
            ids.append(image.name)
            codes.append(image_codes)
            counts.append(image_counts)
        offsets = np.cumsum([0, *map(len, codes)], dtype=np.int64)
        empty = np.zeros(0, np.int32)
        return cls(
            tuple(ids), num_ids, grid, offsets, np.concatenate([empty, *codes]), np.concatenate([empty, *counts])
        )

    def select(self, ids: Iterable[str]) -> Tables:
        """Return the tables of the images `ids`, in that order."""
        position = {name: index for index, name in enumerate(self.ids)}
        chosen = [position[name] for name in ids]
        spans = [slice(self.offsets[index], self.offsets[index + 1]) for index in chosen]
        lengths = [span.stop - span.start for span in spans]
        where = np.concatenate([np.zeros(0, np.int64), *(np.arange(span.start, span.stop) for span in spans)])
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        return Tables(
            tuple(self.ids[index] for index in chosen),
            self.num_ids,
            self.grid,
            offsets,
            self.codes[where],
            self.counts[where],
        )

    def confusions_at(self, rule: str, values: Values) -> Confusions:
        """Return the confusion matrix of every image for `values` of `rule` on the grid.

        Layout as `seedbed.evaluate.confusion`. Raises ValueError for a threshold that is not on the grid.
        """
        inner, outer = (self.grid.bins(gate) for gate in _gates(rule, values))
        return Confusions(len(self.ids), self.num_ids, *confuse(*self.sparse, inner, outer))

    def totals(self) -> Totals:
        """Add up the images."""
        # bincount adds in float64, exact for pixel counts below 2^53
        counts = np.bincount(self.codes, self.counts, minlength=math.prod(self.shape)).astype(np.int64)
        return Totals(self.grid, suffix_sums(counts.reshape(self.shape), (2, 3)).transpose(2, 3, 1, 0))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of winning ids, true ids, cam bins and saliency bins: what codes are made of."""
        return (self.num_ids, self.num_ids, *self.grid.shape)

    @property
    def sparse(self) -> tuple[Array, Array, Array, tuple[int, int, int, int]]:
        """The counts as `seedbed.study.sparse` takes them."""
        return self.offsets, self.codes, self.counts, self.shape

    def save(self, path: Path) -> None:
        """Write a compressed .npz; equal tables give equal bytes."""
        arrays: dict[str, Any] = {
            "ids": np.array(self.ids, dtype=np.str_),
            "num_ids": np.int64(self.num_ids),
            "grid": np.array(self.grid.text),
            "offsets": self.offsets,
            "codes": self.codes,
            "counts": self.counts,
        }
        write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))

    @classmethod
    def load(cls, path: Path) -> Tables:
        """Read what `save` wrote. Raises UserError when the file is missing, is no table, or one of other rules."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                ids, num_ids = tuple(stored["ids"].tolist()), int(stored["num_ids"])
                grid = Grid.parse(str(stored["grid"]))
                return cls(ids, num_ids, grid, stored["offsets"], stored["codes"], stored["counts"])
        except FileNotFoundError:
            raise UserError(f"{path} does not exist", "seedbed study --method METHOD") from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{path} is no table of a study ({error})", f"rm {path}, then seedbed study --method METHOD"
            ) from None


@dataclass(frozen=True)
class Totals:
    """All images: `exceeding` int64 [cam bin, saliency bin, true id, winning id], pixels in these bins or above."""

    grid: Grid
    exceeding: Counts

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the grid and the counts: of everything a choice of thresholds depends on."""
        return hashlib.sha256(f"{self.grid.text}{self.exceeding.shape}".encode() + self.exceeding.tobytes()).hexdigest()

    def without(self, part: Totals) -> Totals:
        """Take away the images of `part`."""
        return Totals(self.grid, self.exceeding - part.exceeding)

    def confusion_at(self, rule: str, values: Values) -> Counts:
        """Return the confusion matrix int64 [K,K+1] for `values` on the grid: a look-up."""
        inner, outer = _gates(rule, values)
        return self.confusion(self.exceeding[self.grid.bins(inner)], self.exceeding[self.grid.bins(outer)])

    def sweep(self, rule: str) -> Counts:
        """Return the confusion matrix of every band-free setting of `rule`, in the order of `grid.axes[rule]`.

        int64 [T,K,K+1] over the T values on class scores, or [T,S,K,K+1] over those and the S values on the saliency
        for a rule that needs it. KeyError for a rule that is not swept.
        """
        inside = self.inside(rule)
        if not find_gate_rule(rule).needs_saliency:
            inside = inside[:, 0]
        return self.confusion(inside, inside)

    def inside(self, rule: str) -> Counts:
        """Return the pixels [T,S,K,K] (true id, winning id) that pass the gate of every band-free setting of `rule`."""
        cam, saliency = self.grid.places(rule)
        return self.exceeding[np.ix_(cam, saliency)]

    def confusion(self, inner: Counts, outer: Counts) -> Counts:
        """Return matrices [...,K,K+1] from the pixels [...,K,K] (true id, winning id) inside each gate."""
        conf = np.concatenate([inner, (outer - inner).sum(axis=-1, keepdims=True)], axis=-1)
        conf[..., 0] += self.exceeding[0, 0].sum(axis=-1) - outer.sum(axis=-1)
        return conf


def _gates(rule: str, values: Values) -> tuple[Gate, Gate]:
    entry = find_gate_rule(rule)
    return entry.gates(entry.resolve(values))


def suffix_sums(counts: Array, axes: tuple[int, ...]) -> Array:
    """Replace every entry by the sum of those at or behind it on the `axes`."""
    for axis in axes:
        counts = np.flip(np.flip(counts, axis).cumsum(axis=axis), axis)
    return counts
