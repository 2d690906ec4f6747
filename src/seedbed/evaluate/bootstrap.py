"""Bootstrap intervals of mIoU over images, and paired intervals of the difference between two methods.

The images are drawn with replacement, as many as there are; the mIoU of a draw is that of its added-up confusion
matrices. Since mIoU depends only on three areas per class, a draw is a row of multinomial weights times a small matrix
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.errors import UserError
from seedbed.evaluate.confusion import Confusions, PerImage
from seedbed.evaluate.scores import PRIMARY, VARIANTS, Areas, Array, Ignore, Variant, areas, mean_iou

PERCENTILES = (2.5, 97.5)
_WEIGHTS_AT_ONCE = 2**22  # bounds the memory at some 32 MB however many images


class Difference(NamedTuple):
    """Difference of two mIoU with its 95 % interval; the methods differ beyond chance when it excludes 0."""

    difference: float
    low: float
    high: float


def interval(per_image: PerImage, samples: int, seed: int, variant: str = PRIMARY) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (low, high) of the mIoU of `per_image` ([N,K,K+1]) over its images."""
    return interval_of(_areas(per_image, VARIANTS[variant].ignore), samples, seed, variant)


def interval_of(counted: Areas, samples: int, seed: int, variant: str = PRIMARY) -> tuple[float, float]:
    """Do what `interval` does, from the areas [N,K] of the images, counted as `variant` counts ignored pixels."""
    (drawn,) = _bootstrap([counted], samples, seed, VARIANTS[variant])
    return percentiles(drawn)


def paired(first: PerImage, second: PerImage, samples: int, seed: int, variant: str = PRIMARY) -> Difference:
    """Return mIoU of `first` minus mIoU of `second`, both [N,K,K+1], with the interval over draws of the same images.

    Raises UserError when the true classes show that the images or their order differ.
    """
    if not np.array_equal(_areas(first, "error").truth, _areas(second, "error").truth):
        raise UserError("two methods can only be compared on the same images in the same order", "dvc repro")
    chosen = VARIANTS[variant]
    counted = [_areas(per_image, chosen.ignore) for per_image in (first, second)]
    drawn_first, drawn_second = _bootstrap(counted, samples, seed, chosen)
    difference = _miou(counted[0], chosen) - _miou(counted[1], chosen)
    return Difference(difference, *percentiles(drawn_first - drawn_second))


def draws(num_images: int, samples: int, seed: int, at_once: int | None = None) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the `samples` random draws of images, `at_once` rows or fewer: how often each image occurs, [rows,N].

    The draws depend on the seed alone. Raises UserError when there is no image.
    """
    if num_images == 0:
        raise UserError("no image to score")
    rng = np.random.default_rng(seed)
    rows = max(1, min(at_once or samples, _WEIGHTS_AT_ONCE // num_images))
    for start in range(0, samples, rows):
        drawn = [rng.integers(num_images, size=num_images) for _ in range(min(rows, samples - start))]
        yield np.array([np.bincount(images, minlength=num_images) for images in drawn]).astype(np.float64)


def percentiles(drawn: Array) -> tuple[float, float]:
    """Return the ends of the 95 % interval of numbers by draw, undefined ones left out; NaN when all are."""
    defined = drawn[np.isfinite(drawn)]  # a draw of images without a single true pixel has no mIoU
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, PERCENTILES)
    return float(low), float(high)


def _areas(per_image: PerImage, ignore: Ignore) -> Areas:
    return per_image.areas(ignore) if isinstance(per_image, Confusions) else areas(per_image, ignore)


def _miou(counted: Areas, variant: Variant) -> float:
    return float(mean_iou(Areas(*(area.sum(axis=0) for area in counted)), variant.absent))


def _bootstrap(methods: list[Areas], samples: int, seed: int, variant: Variant) -> list[npt.NDArray[np.float64]]:
    """Return for each of the `methods`, areas [N,K], its mIoU [samples] in the same random draws of images."""
    # Floats are exact here: pixel counts stay far below 2^53.
    counted = [[np.asarray(area, np.float64) for area in method] for method in methods]
    drawn: list[list[Array]] = [[] for _ in methods]
    for weights in draws(len(counted[0][0]), samples, seed):
        for mious, method in zip(drawn, counted, strict=True):
            mious.append(mean_iou(Areas(*(weights @ area for area in method)), variant.absent))
    return [np.concatenate(mious) for mious in drawn]
