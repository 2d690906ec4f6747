"""The rules of MCIS and OAA: the background and the classes of an image contest every pixel.

Published code reads class maps from 8-bit files, so ours are brought to 8 bits first. Scores are float32 and so are
comparisons with them: the masks are those of GuoleiSun/MCIS_wsss Classifier/gen_gt.py, pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.seeds.rules import Array, Mask, Parameter, Rule, Values, check_numbers, strongest

_SMALLEST = 0.01  # share of the pixels that must belong to classes, or the whole mask is ignore
_LEVELS = np.arange(256)
_BACKGROUND = np.float32(1) - _LEVELS.astype(np.float32) / np.float32(255)  # score by level of saliency


@dataclass(frozen=True)
class ContestRule(Rule):
    """The highest score wins: of a class that of its map, stretched to 0..1; of the background 1 - saliency.

    A pixel is ignored where several scores are almost 1, and where the background wins although the pixel is salient
    or the peak of a class. Masks with fewer than 1 % of their pixels in classes are ignored as a whole, and so are
    those of images without any class.
    """

    @property
    def needs_saliency(self) -> bool:
        """Always: it is the score of the background."""
        return True

    def compact(self, cams: Array) -> Array:
        """Return the maps as 8-bit levels."""
        return quantise(np.asarray(cams))

    def _label(self, cams: Array, ids: Array, saliency: Mask | None, values: Values) -> Mask:
        assert saliency is not None  # checked in `apply`
        foreground, conflict, peak = (np.float32(values[name]) for name in ("foreground", "conflict", "peak"))
        maps = quantise(cams)
        planes = [saliency, *maps]
        scores = np.stack([_BACKGROUND, *(_stretch(one) for one in maps)])  # by level, not by pixel
        suspect = saliency >= values["salient"]
        for score, plane in zip(scores[1:], maps, strict=True):
            suspect |= (score > peak)[plane]
        scores[scores < foreground] = 0
        rivals = sum((score > conflict).view(np.uint8)[plane] for score, plane in zip(scores, planes, strict=True))
        _, mask = strongest(
            np.stack([score[plane] for score, plane in zip(scores, planes, strict=True)]), np.append(0, ids)
        )
        mask[rivals > 1] = IGNORE
        mask[(mask == 0) & suspect] = IGNORE
        if np.count_nonzero((mask > 0) & (mask < IGNORE)) / mask.size < _SMALLEST:
            mask[:] = IGNORE
        return mask


def quantise(cams: Array) -> Mask:
    """Return class maps [K,H,W] in 0..1 as levels of 8 bits; maps that are uint8 already as they are.

    Levels that were stored as level / 255 in float16 come back exactly. Raises UserError for NaN.
    """
    if cams.dtype == np.uint8:
        return cams
    check_numbers(cams)
    return np.rint(255 * cams.astype(np.float32).clip(0, 1)).astype(np.uint8)


def _stretch(levels: Mask) -> npt.NDArray[np.float32]:
    """Return the score of each of the 256 levels in the map `levels` [H,W]: 0 at its minimum, 1 at its maximum."""
    low, high = int(levels.min()), int(levels.max())
    return ((_LEVELS - low) / (high - low + 1e-8)).astype(np.float32)


def _parameters(conflict: float, peak: float) -> tuple[Parameter, ...]:
    return (
        Parameter("foreground", None, 0.0, 1.0, 0.3, "scores below this count as 0, that of the background too"),
        Parameter("conflict", None, 0.0, 1.0, conflict, "several scores above this: ignore"),
        Parameter("peak", None, 0.0, 1.0, peak, "background where a class scores above this: ignore"),
        Parameter(
            "salient", None, 0.0, 255.0, 32.0, "background of this saliency (grey level) or more: ignore", step=1.0
        ),
    )


_SUMMARY = "the highest of the stretched class scores and 1 - saliency, ignore where they contradict each other"

MCIS = ContestRule("mcis", _SUMMARY, _parameters(conflict=0.99, peak=0.95))
"""Source: Sun et al., Mining Cross-Image Semantics for WSSS, ECCV 2020, file gen_gt.py of its code."""

OAA = ContestRule("oaa", f"{_SUMMARY}; the values of OAA", _parameters(conflict=0.9, peak=0.8))
"""Source: Jiang et al., Integral Object Mining via Online Attention Accumulation, ICCV 2019, its code."""
