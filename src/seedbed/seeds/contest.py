"""Rules by which the background, scored 1 - saliency, contests every pixel with the classes: `mcis`, `oaa`, `argmax`.

The published code of the first two reads class maps from 8-bit files, so ours are brought to 8 bits first. Scores are
float32 and so are comparisons with them: the masks are those of GuoleiSun/MCIS_wsss Classifier/gen_gt.py, pixel by
pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seedbed.seeds.batch import Array, ClassMaps, MapBatch, ignore, look_up, strongest
from seedbed.seeds.gates import SALIENCY_LEVELS
from seedbed.seeds.rules import Parameter, Rule, Values

_SMALLEST = 0.01  # share of the pixels that must belong to classes, or the whole mask is ignore
_BACKGROUND = torch.from_numpy(np.float32(1) - SALIENCY_LEVELS)  # score by level of saliency


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
        batch = MapBatch.of([ClassMaps("", cams, np.arange(len(cams)))])
        levels: Array = quantise(batch)[0, : len(cams)].numpy()
        return levels

    def _label(self, batch: MapBatch, values: Values) -> Tensor:
        assert batch.saliency is not None  # checked in `label`
        scores, background = _stretch(quantise(batch), batch.inside), _background(batch.saliency)
        highest, winner = strongest(scores, batch.ids)
        # What is below `foreground` counts as 0, so it neither wins nor conflicts.
        labels = winner * ((highest > background) & (highest >= _float32(values["foreground"])))
        suspect = (batch.saliency >= math.ceil(values["salient"])) | (highest > _float32(values["peak"]))
        rival = max(_float32(values["foreground"]), _above(values["conflict"]))
        rivals = (scores >= rival).view(torch.uint8).sum(dim=1, dtype=torch.uint8) + (background >= rival)
        ignore(labels, (rivals > 1) | ((labels == 0) & suspect))
        return ignore(labels, _too_small(labels, batch)[:, None, None].expand_as(labels))


@dataclass(frozen=True)
class ArgmaxRule(Rule):
    """The highest score wins: of a class that of its map; of the background 1 - saliency, which wins ties."""

    @property
    def needs_saliency(self) -> bool:
        """Always: it is the score of the background."""
        return True

    def _label(self, batch: MapBatch, values: Values) -> Tensor:
        assert batch.saliency is not None  # checked in `label`
        highest, winner = strongest(batch.cams, batch.ids)
        batch.check_numbers(highest)
        return winner * (highest > _background(batch.saliency))


def quantise(batch: MapBatch) -> Tensor:
    """Return the class maps of a batch as levels of 8 bits, uint8 [N,K,H,W]; levels as they are.

    Levels that were stored as level / 255 in float16 come back exactly. Raises UserError for NaN.
    """
    if batch.cams.dtype == torch.uint8:
        return batch.cams
    scores = batch.cams.float()
    batch.check_numbers(scores)
    return scores.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def _stretch(levels: Tensor, inside: Tensor | None) -> Tensor:
    """Return maps of 8-bit levels [N,K,H,W] as float32 scores: 0 at the minimum of a map `inside`, 1 at its maximum."""
    low, high = levels.amin(dim=(2, 3)), levels.amax(dim=(2, 3))
    if inside is not None:  # padding is 0, which a maximum does not mind
        low = levels.masked_fill(~inside[:, None], 255).amin(dim=(2, 3))
    low, high = low.double()[..., None], high.double()[..., None]
    every = torch.arange(256, dtype=torch.float64, device=levels.device)
    return look_up(((every - low) / (high - low + 1e-8)).float(), levels)


def _background(saliency: Tensor) -> Tensor:
    """Return the score of the background, 1 - saliency in float32, [N,H,W]."""
    return look_up(_BACKGROUND.to(saliency.device), saliency)


def _too_small(labels: Tensor, batch: MapBatch) -> Tensor:
    """Return of which images less than 1 % belongs to classes: bool [N]."""
    areas = torch.tensor([height * width for height, width in batch.sizes], device=labels.device)
    return (labels + 1 > 1).flatten(1).sum(dim=1).double() / areas < _SMALLEST  # ignore wraps to 0


def _float32(value: float) -> float:
    return float(np.float32(value))


def _above(value: float) -> float:
    """Return the next float32 above `value` in float32."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


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

ARGMAX = ArgmaxRule("argmax", "the highest of the class scores and 1 - saliency", ())
"""The plainest contest, without any number to choose: what the thresholds of the other rules are worth."""
