"""Sliding-window multi-scale prediction, as the test code of MCIS does it (docs/methods.md, section Segmenters)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from seedbed.data.augment import scaled_size

Predict = Callable[[Tensor], Tensor]


def predict_windows(
    images: Tensor, predict: Predict, crop: int, scales: Sequence[float], flip: bool, published: bool
) -> Tensor:
    """Return the mean probabilities [N,K,H,W] of `images` [N,3,H,W] over `scales`, and with `flip` over mirror images.

    `images`: of any floating type, 0 = the mean colour, which pads them at the right and bottom up to the window.
    `predict` turns windows [N,3,crop,crop] into probabilities [N,K,crop,crop]. Windows stand two thirds of their side
    apart, the last one of a row or column shifted back inside. Sizes change by bicubic interpolation (a = -0.75, as
    OpenCV's), so single values may leave 0..1 by a little.

    Where windows overlap the result is their average, and the probabilities of a pixel add up to 1. With `published`
    it is the last window divided by the number of windows, and a scale at which a side is at most the third of the
    window that neighbours share has no window and counts as 0: probabilities may add up to less than 1, down to 0.
    """
    straight = _mean_over_scales(images, predict, crop, scales, published)
    if not flip:
        return straight
    return (straight + _mean_over_scales(images.flip(-1), predict, crop, scales, published).flip(-1)) / 2


def window_starts(side: int, crop: int) -> list[int]:
    """Return where the windows of `crop` pixels begin along a `side`; a side shorter than the window has one, at 0."""
    stride = _stride(crop)
    count = max(1, math.ceil((side - (crop - stride)) / stride))
    return [min(index * stride, max(side - crop, 0)) for index in range(count)]


def resize_by(images: Tensor, factor: float) -> Tensor:
    """Resize `images` [N,C,H,W] bicubically; sides are rounded half to even, samples stand exactly 1 / `factor` apart.

    As OpenCV does when given a factor. PyTorch rounds sides down: the border, repeated, makes room to round up, and
    changes nothing else since the interpolation repeats the border itself.
    """
    height, width = scaled_size((images.shape[-2], images.shape[-1]), factor)
    room = math.ceil(1 / factor)
    wider = functional.pad(images, (0, room, 0, room), mode="replicate")
    resized = functional.interpolate(
        wider, scale_factor=factor, mode="bicubic", align_corners=False, recompute_scale_factor=False
    )
    return resized[..., :height, :width]


def _stride(crop: int) -> int:
    return max(1, crop * 2 // 3)


def _mean_over_scales(images: Tensor, predict: Predict, crop: int, scales: Sequence[float], published: bool) -> Tensor:
    size = images.shape[-2:]
    maps = (_slide(resize_by(images, scale), predict, crop, published) for scale in scales)
    back = (functional.interpolate(found, size, mode="bicubic", align_corners=False) for found in maps)
    return functools.reduce(torch.add, back) / len(scales)


def _slide(images: Tensor, predict: Predict, crop: int, published: bool) -> Tensor:
    """Return the probabilities [N,K,h,w] of `images` [N,3,h,w], merged from windows."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (0, max(crop - width, 0), 0, max(crop - height, 0)))
    merged: Tensor | None = None
    count = images.new_zeros(padded.shape[-2:])
    for top, left in itertools.product(window_starts(height, crop), window_starts(width, crop)):
        window = (..., slice(top, top + crop), slice(left, left + crop))
        found = predict(padded[window])
        if merged is None:
            merged = found.new_zeros(*found.shape[:2], *count.shape)
        merged[window] = found if published else merged[window] + found
        count[window] += 1
    assert merged is not None  # there is at least one window
    if published and min(height, width) <= crop - _stride(crop):
        merged.zero_()  # the published code has no window here; ours has told how many classes there are
    return (merged / count)[..., :height, :width]
