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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.errors import UserError, named
from seedbed.files import write_atomic
from seedbed.seeds.fusion import find_gate_rule, find_rule
from seedbed.seeds.gates import SALIENCY_LEVELS, Gate, GateRule
from seedbed.seeds.rules import Values, strongest

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint8]

_UNUSED_BITS = 13  # a float16 read as float32 leaves the last 13 bits of the mantissa zero


@dataclass(frozen=True)
class Grid:
    """The swept thresholds, ascending, distinct in float32: on the class score and, unless empty, on the saliency."""

    cam: tuple[float, ...]
    saliency: tuple[float, ...] = ()

    @classmethod
    def of(cls, rules: Sequence[str], cam_steps: int, saliency_steps: int) -> Grid:
        """Return so many thresholds evenly in [0, 1) on each axis that `rules` are swept over, and published ones too.

        Those are the published values, and what a first release tried on class scores.
        """
        swept = [entry for entry in map(find_rule, rules) if isinstance(entry, GateRule)]
        tried = {threshold for entry in swept for threshold in entry.first_release}
        axes = {}
        for axis, steps, more in (("cam", cam_steps, tried), ("saliency", saliency_steps, set())):
            published = [one.published for entry in swept for one in entry.parameters if one.axis == axis]
            even = [round(step / steps, 6) for step in range(steps)]
            axes[axis] = tuple(sorted({*even, *published, *more})) if published else ()
        return cls(**axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cam bins and of saliency bins: bin n holds what exceeds exactly the n lowest thresholds."""
        return len(self.cam) + 1, len(self.saliency) + 1

    def bins(self, gate: Gate) -> tuple[int, int]:
        """Return the lowest cam bin and saliency bin that pass `gate`; ValueError for thresholds off the grid."""
        return self.cam.index(gate.cam) + 1, 0 if gate.saliency is None else self.saliency.index(gate.saliency) + 1


class Cells(NamedTuple):
    """Where counted pixels lie: arrays of winning ids (0 = image without classes), true ids, cam and saliency bins."""

    winner: Array
    truth: Array
    cam: Array
    saliency: Array


class ImageMaps(NamedTuple):
    """One image: maps [K,H,W] of 0-based classes [K], ground truth and (for a grid with it) saliency uint8 [H,W]."""

    name: str
    cams: Array
    classes: Array
    truth: Mask
    saliency: Mask | None


def count_cells(image: ImageMaps, num_ids: int, grid: Grid) -> tuple[Array, Array]:
    """Return the non-zero counts of one image: codes int32 [M] (of `Cells`, by `numpy.ravel_multi_index`) and counts.

    Raises UserError naming the image when sizes differ, an id is unknown or a map holds NaN.
    """
    _check_sizes(image, grid)
    winners = np.sort(np.asarray(image.classes)) + 1 if len(image.classes) else np.zeros(1, np.int64)
    with named(image.name):
        score, rank = strongest(image.cams, np.searchsorted(winners, np.asarray(image.classes) + 1))
    truth = image.truth + np.uint8(1)  # wraps: 0 = ignore
    if truth.max(initial=0) > num_ids:
        raise _unknown_ids(image, num_ids)
    # One number per pixel, then one count. A winner is its rank in this image, so that the counting array is small.
    block = math.prod(grid.shape)
    stride = (num_ids + 1) * block
    cell = np.multiply(truth, block, dtype=np.int32)
    cell += np.multiply(rank, stride, dtype=np.int32)
    cell += _cam_bins(grid, score)
    if image.saliency is not None and grid.saliency:
        cell += _lookups(grid)[1].take(image.saliency)
    counts = np.bincount(cell.ravel())
    occupied = np.flatnonzero(counts)
    occupied = occupied[occupied % stride >= block]  # the ground truth is not ignore
    position, rest = np.divmod(occupied, stride)
    codes = winners[position] * (num_ids * block) + rest - block
    return codes.astype(np.int32), counts[occupied].astype(np.int32)


def _cam_bins(grid: Grid, score: npt.NDArray[np.float32]) -> Array:
    """Return the cam bin times the number of saliency bins, int32 [H,W]."""
    bits = score.view(np.uint32)
    if np.bitwise_or.reduce(bits, axis=None) & (2**_UNUSED_BITS - 1):  # finer than a float16
        return _bins(grid.cam, score) * np.int32(grid.shape[1])
    return _lookups(grid)[0].take(bits >> _UNUSED_BITS)


@functools.lru_cache(maxsize=4)
def _lookups(grid: Grid) -> tuple[Array, Array]:
    """Return what a pixel adds to its cell's number, by the upper bits of its score and by its saliency."""
    float16s = (np.arange(2 ** (32 - _UNUSED_BITS), dtype=np.uint32) << _UNUSED_BITS).view(np.float32)
    return _bins(grid.cam, float16s) * np.int32(grid.shape[1]), _bins(grid.saliency, SALIENCY_LEVELS)


def _bins(thresholds: tuple[float, ...], values: npt.NDArray[np.float32]) -> Array:
    """Count for each of the `values` the `thresholds` below it (int32)."""
    return np.searchsorted(np.array(thresholds, np.float32), values, side="left").astype(np.int32)


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
    def build(cls, images: Iterable[ImageMaps], num_ids: int, grid: Grid) -> Tables:
        """Count `images`, one at a time, for ids 0..num_ids-1. Errors as in `count_cells`."""
        ids, codes, counts = [], [], []
        for image in images:
            image_codes, image_counts = count_cells(image, num_ids, grid)
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

    def confusions_at(self, rule: str, values: Values) -> Counts:
        """Return the confusion matrix of every image, int64 [N,K,K+1], for `values` of `rule` on the grid.

        Layout as `seedbed.evaluate.confusion`. Raises ValueError for a threshold that is not on the grid.
        """
        inner, outer = _gates(rule, values)
        cells = Cells(*np.unravel_index(self.codes, self._shape))
        predicted = np.where(self._inside(cells, outer), self.num_ids, 0)
        predicted = np.where(self._inside(cells, inner), cells.winner, predicted)
        image = np.repeat(np.arange(len(self.ids)), np.diff(self.offsets))
        shape = (len(self.ids), self.num_ids, self.num_ids + 1)
        flat = np.ravel_multi_index((image, cells.truth, predicted), shape)
        return _weighted_bincount(flat, self.counts, shape)

    def totals(self) -> Totals:
        """Add up the images."""
        counts = _weighted_bincount(self.codes, self.counts, self._shape).transpose(2, 3, 1, 0)
        return Totals(self.grid, np.flip(np.flip(counts, (0, 1)).cumsum(axis=0).cumsum(axis=1), (0, 1)))

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return (self.num_ids, self.num_ids, *self.grid.shape)

    def _inside(self, cells: Cells, gate: Gate) -> npt.NDArray[np.bool_]:
        cam, saliency = self.grid.bins(gate)
        return (cells.cam >= cam) & (cells.saliency >= saliency)

    def save(self, path: Path) -> None:
        """Write a compressed .npz; equal tables give equal bytes."""
        arrays: dict[str, Any] = {
            "ids": np.array(self.ids, dtype=np.str_),
            "num_ids": np.int64(self.num_ids),
            "cam": np.array(self.grid.cam),
            "saliency": np.array(self.grid.saliency),
            "offsets": self.offsets,
            "codes": self.codes,
            "counts": self.counts,
        }
        write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))

    @classmethod
    def load(cls, path: Path) -> Tables:
        """Read what `save` wrote. Raises UserError when the file is missing or is no table."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                grid = Grid(tuple(stored["cam"].tolist()), tuple(stored["saliency"].tolist()))
                ids, num_ids = tuple(stored["ids"].tolist()), int(stored["num_ids"])
                return cls(ids, num_ids, grid, stored["offsets"], stored["codes"], stored["counts"])
        except FileNotFoundError:
            raise UserError(f"{path} does not exist", "seedbed study --method METHOD") from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
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
        return hashlib.sha256(repr((self.grid, self.exceeding.shape)).encode() + self.exceeding.tobytes()).hexdigest()

    def confusion_at(self, rule: str, values: Values) -> Counts:
        """Return the confusion matrix int64 [K,K+1] for `values` on the grid: a look-up."""
        inner, outer = _gates(rule, values)
        return self._confusion(self.exceeding[self.grid.bins(inner)], self.exceeding[self.grid.bins(outer)])

    def sweep(self, rule: str) -> Counts:
        """Return the confusion matrix of every band-free setting of `rule`: both gates at the same thresholds.

        int64 [T,K,K+1] over the T class score thresholds of the grid, or [T,S,K,K+1] over those and the S saliency
        thresholds for a rule that needs saliency.
        """
        inside = self.exceeding[1:, 1:] if find_gate_rule(rule).needs_saliency else self.exceeding[1:, 0]
        return self._confusion(inside, inside)

    def _confusion(self, inner: Counts, outer: Counts) -> Counts:
        """Return matrices [...,K,K+1] from the pixels [...,K,K] (true id, winning id) inside each gate."""
        conf = np.concatenate([inner, (outer - inner).sum(axis=-1, keepdims=True)], axis=-1)
        conf[..., 0] += self.exceeding[0, 0].sum(axis=-1) - outer.sum(axis=-1)
        return conf


def _gates(rule: str, values: Values) -> tuple[Gate, Gate]:
    entry = find_gate_rule(rule)
    return entry.gates(entry.resolve(values))


def _weighted_bincount(flat: Array, weights: Array, shape: tuple[int, ...]) -> Counts:
    # bincount adds in float64, exact for pixel counts below 2^53
    return np.bincount(flat, weights, minlength=math.prod(shape)).astype(np.int64).reshape(shape)
