"""Bootstrap intervals of mIoU over images, and paired intervals of the difference between two methods.

The images are drawn with replacement, as many as there are; the mIoU of a draw is that of its added-up confusion
matrices. Since mIoU depends only on three areas per class, a draw is a row of multinomial weights times a small matrix
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: percentile intervals).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.errors import UserError
from seedbed.evaluate.scores import PRIMARY, VARIANTS, Areas, Array, Variant, areas, mean_iou

_PERCENTILES = (2.5, 97.5)
_WEIGHTS_AT_ONCE = 2**22  # bounds the memory at some 32 MB however many images


class Difference(NamedTuple):
    """Difference of two mIoU with its 95 % interval; the methods differ beyond chance when it excludes 0."""

    difference: float
    low: float
    high: float


def interval(per_image: Array, samples: int, seed: int, variant: str = PRIMARY) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (low, high) of the mIoU of `per_image` [N,K,K+1] over its images."""
    (drawn,) = _bootstrap([per_image], samples, seed, VARIANTS[variant])
    return _interval(drawn)


def paired(first: Array, second: Array, samples: int, seed: int, variant: str = PRIMARY) -> Difference:
    """Return mIoU of `first` minus mIoU of `second`, both [N,K,K+1], with the interval over draws of the same images.

    Raises UserError when the true classes show that the images or their order differ.
    """
    if first.shape != second.shape or not np.array_equal(first.sum(axis=-1), second.sum(axis=-1)):
        raise UserError("two methods can only be compared on the same images in the same order", "dvc repro")
    chosen = VARIANTS[variant]
    drawn_first, drawn_second = _bootstrap([first, second], samples, seed, chosen)
    difference = _miou(first, chosen) - _miou(second, chosen)
    return Difference(difference, *_interval(drawn_first - drawn_second))


def _miou(per_image: Array, variant: Variant) -> float:
    return float(mean_iou(areas(per_image.sum(axis=0), variant.ignore), variant.absent))


def _bootstrap(methods: list[Array], samples: int, seed: int, variant: Variant) -> list[npt.NDArray[np.float64]]:
    """Return for each of the `methods` [N,K,K+1] its mIoU [samples] in the same random draws of images."""
    counted = [areas(per_image, variant.ignore) for per_image in methods]
    sums = _draw(np.stack(counted), samples, seed)
    return [mean_iou(Areas(*method), variant.absent) for method in sums]


def _draw(counted: Array, samples: int, seed: int) -> npt.NDArray[np.float64]:
    """Add up [M,3,N,K] over the images N of each draw: [M,3,samples,K]."""
    num_images = counted.shape[-2]
    if num_images == 0:
        raise UserError("no image to score")
    counted = counted.astype(np.float64)  # exact: pixel counts stay far below 2^53
    rng = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // num_images)
    sums = np.empty((*counted.shape[:2], samples, counted.shape[-1]))
    for start in range(0, samples, at_once):
        draws = range(start, min(start + at_once, samples))
        weights = np.array(
            [np.bincount(rng.integers(num_images, size=num_images), minlength=num_images) for _ in draws]
        )
        sums[:, :, draws.start : draws.stop] = weights.astype(np.float64) @ counted
    return sums


def _interval(drawn: npt.NDArray[np.float64]) -> tuple[float, float]:
    defined = drawn[np.isfinite(drawn)]  # a draw of images without a single true pixel has no mIoU
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, _PERCENTILES)
    return float(low), float(high)
